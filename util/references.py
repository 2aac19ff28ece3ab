"""References: the mean depth, and depth from brightness alone. A method that does no better has learned nothing.

Both are fitted on training pairs, an iterable of batches, so that no set has to fit into memory.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from util.colour import luminance
from util.errors import UserError

MIN_INTENSITY = 1 / 255  # one step of an 8-bit image: black is not infinitely far


def fit_constant(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Mean of all valid training depths [mm], each pixel of the set counting once.

    Args:
        pairs: ``depth_mm`` (B, 1, H, W) and ``valid`` bool (B, 1, H, W).

    Raises:
        UserError: no pixel of the set is valid.
    """
    total, count = 0.0, 0
    for depth_mm, valid in pairs:
        depths = _valid_depths(depth_mm, valid)
        total, count = total + depths.sum().item(), count + depths.numel()
    if count == 0:
        raise UserError("no pixel of the training pairs is valid, so they have no mean depth")
    return total / count


def fit_brightness_scale(triples: Iterable[tuple[Tensor, Tensor, Tensor]]) -> float:
    """k of the inverse-square law depth = k / sqrt(intensity), with the light at the camera.

        k = argmin sum (k b / g - 1)^2 = sum (b / g) / sum (b / g)^2,    b = 1 / sqrt(intensity)

    the least squares of the relative error, over all valid pixels of the set.

    Args:
        triples: ``image`` (B, 3, H, W) in [0, 1], ``depth_mm`` (B, 1, H, W) and ``valid`` bool (B, 1, H, W).

    Returns:
        k [mm].

    Raises:
        UserError: no pixel of the set is valid.
    """
    ratio_sum, square_sum = 0.0, 0.0
    for image, depth_mm, valid in triples:
        depths = _valid_depths(depth_mm, valid)
        ratio = brightness_depth(image, 1.0)[valid & (depth_mm > 0)].double() / depths
        ratio_sum, square_sum = ratio_sum + ratio.sum().item(), square_sum + ratio.square().sum().item()
    if square_sum == 0:
        raise UserError("no pixel of the training pairs is valid, so brightness cannot be scaled to depth")
    return ratio_sum / square_sum


def constant_depth(image: Tensor, mean_mm: float) -> Tensor:
    """(B, 3, H, W) to (B, 1, H, W) [mm]: the same depth everywhere."""
    return torch.full_like(image[:, :1], mean_mm)


def brightness_depth(image: Tensor, k_mm: float) -> Tensor:
    """k / sqrt(luminance) [mm], luminance being at least 1/255: (B, 3, H, W) in [0, 1] to (B, 1, H, W)."""
    return k_mm * luminance(image).clamp(min=MIN_INTENSITY).rsqrt()


def _valid_depths(depth_mm: Tensor, valid: Tensor) -> Tensor:
    """(N,) float64 [mm]; 0 is never valid."""
    if depth_mm.shape != valid.shape:
        raise ValueError(f"depth_mm {tuple(depth_mm.shape)} and valid {tuple(valid.shape)} must have one shape")
    return depth_mm[valid & (depth_mm > 0)].double()
