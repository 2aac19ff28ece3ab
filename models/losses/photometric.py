"""How much a synthesised view differs from the frame it should look like: difference and structural similarity.

All images here are standardised: (rgb in [0, 1] - 0.45) / 0.225, the same for the three channels.
Source: SC-Depth (Bian et al., NeurIPS 2019 and IJCV 2021).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

IMAGE_MEAN, IMAGE_STD = 0.45, 0.225
SSIM_WINDOW = 7
SSIM_SHARE, ABSOLUTE_SHARE = 0.85, 0.15
C1, C2 = 0.01**2, 0.03**2  # SSIM's constants for images in [0, 1], as published on standardised ones
GAIN_RANGE = (0.5, 2.0)  # of ``brightness_fit``: beyond, the two frames do not show the same


def standardise(images: Tensor) -> Tensor:
    """[-1, 1] to what the networks and losses of SC-Depth see, about -2 to 2.4."""
    return (images * 0.5 + (0.5 - IMAGE_MEAN)) / IMAGE_STD


def unstandardise(images: Tensor) -> Tensor:
    """The opposite of ``standardise``, to [0, 1]."""
    return images * IMAGE_STD + IMAGE_MEAN


def photometric_error(tgt: Tensor, view: Tensor, mask: Tensor, *, ssim: bool = True) -> Tensor:
    """Per pixel, the weighted sum of absolute difference and structural dissimilarity.

        P = mean_c (0.15 min(|T - V|, 1) + 0.85 (1 - SSIM(T, V)) / 2)

    Args:
        tgt: T, standardised, (B, 3, H, W).
        view: V, the other frame as the target camera sees it, (B, 3, H, W).
        mask: bool (B, 1, H, W). Where it is False, the images may be nan, and SSIM's windows leave them out.
        ssim: without it P is the clamped difference alone.

    Returns:
        (B, 1, H, W), 0 outside the mask.
    """
    _check(tgt, view, mask)
    tgt, view = torch.where(mask, tgt, 0.0), torch.where(mask, view, 0.0)
    error = (tgt - view).abs().clamp(max=1.0)
    if ssim:
        error = ABSOLUTE_SHARE * error + SSIM_SHARE * _dissimilarity(tgt, view, mask)
    return torch.where(mask, error.mean(dim=1, keepdim=True), 0.0)


def colour_difference(tgt: Tensor, view: Tensor) -> Tensor:
    """Mean absolute difference over the channels: (B, 3, H, W) twice to (B, 1, H, W)."""
    return (tgt - view).abs().mean(dim=1, keepdim=True)


def brightness_fit(img: Tensor, tgt: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset that bring one frame to the exposure of another.

        a, b = argmin sum_M |a I + b - T|^2

    over the pixels of M and all channels, an image at a time, a kept within ``GAIN_RANGE``. No gradient goes through:
    else a darker depth could be paid for by a flatter picture. Where nothing can be fitted it is 1 and 0.

    Args:
        img, tgt: I and T, (B, C, H, W).
        mask: M, bool (B, 1, H, W).

    Returns:
        a and b, (B, 1, 1, 1) each.
    """
    img, tgt = (torch.where(mask, x.detach(), 0.0) for x in (img, tgt))
    count = (mask.sum(dim=(1, 2, 3), keepdim=True) * img.shape[1]).clamp(min=1)
    mean_img, mean_tgt = (x.sum(dim=(1, 2, 3), keepdim=True) / count for x in (img, tgt))
    centred = torch.where(mask, img - mean_img, 0.0)
    variance = centred.square().sum(dim=(1, 2, 3), keepdim=True)
    covariance = (centred * (tgt - mean_tgt)).sum(dim=(1, 2, 3), keepdim=True)
    flat = variance <= 1e-6 * count
    gain = torch.where(flat, 1.0, (covariance / torch.where(flat, 1.0, variance)).clamp(*GAIN_RANGE))
    return gain, mean_tgt - gain * mean_img


def _dissimilarity(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """(1 - SSIM) / 2 per channel, (B, C, H, W), with means over the masked pixels of each window.

    x and y must be 0 outside the mask. Windows over the border mirror it.
    """
    weight = mask.to(x.dtype)
    stack = torch.cat((weight, x, y, x * x, y * y, x * y), dim=1)
    half = SSIM_WINDOW // 2
    padded = F.pad(stack, (half,) * 4, mode="reflect")
    means = F.avg_pool2d(
        F.avg_pool2d(padded, (SSIM_WINDOW, 1), stride=1), (1, SSIM_WINDOW), stride=1
    )  # 14 sums, not 49
    share = means[:, :1].clamp(min=0.5 / SSIM_WINDOW**2)  # below one pixel of the window: none
    mean_x, mean_y, xx, yy, xy = (means[:, 1:] / share).chunk(5, dim=1)
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + C1) * (2 * cov + C2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))
    return ((1 - similarity) / 2).clamp(0, 1)


def _check(tgt: Tensor, view: Tensor, mask: Tensor) -> None:
    B, _, H, W = tgt.shape
    if view.shape != tgt.shape or mask.shape != (B, 1, H, W):
        shapes = tuple(tgt.shape), tuple(view.shape), tuple(mask.shape)
        raise ValueError(f"tgt and view must have one shape and mask be (B, 1, H, W), got {shapes}")
