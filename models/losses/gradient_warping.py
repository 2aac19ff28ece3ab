"""Masked gradient warping: depth of neighbouring frames agrees in its gradients (MICCAI 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.geometry.flow import warp


def masked_gradient_warping_loss(
    depth_src: Tensor, depth_tgt: Tensor, flow: Tensor, mask: Tensor, image_src: Tensor | None = None
) -> Tensor:
    """Difference between the source's depth gradients and the target's, looked up along the flow.

        g~_a(p) = g_a(D_tgt)(p + flow(p)),    w_a = exp(-mean_c |g_a(I_src)|),    a = x, y
        L = sum_p M (w_x |g_x(D_src) - g~_x| + w_y |g_y(D_src) - g~_y|) / max(sum_p M, 1)

    an image, then the mean over the images. g are forward differences, 0 in the last column or row. Since gradients are
    compared and not depths, the frames may differ by an offset, as they do when the camera advances.
    Source: "Depth Estimation for Colonoscopy Images with Self-supervised Learning from Videos", MICCAI 2021.

    Args:
        depth_src: depth of the frame on whose grid everything is compared, any unit, (B, 1, H, W); gets gradient.
        depth_tgt: depth of the neighbour, (B, 1, H, W); gets gradient.
        flow: source to target [px], (B, 2, H, W); gets none.
        mask: M, bool or weights >= 0, (B, 1, H, W). Where it is 0 all may be nan, but a counted pixel reads its right
            and lower neighbours too, and in ``depth_tgt`` those of the four pixels around the place it goes to.
        image_src: I_src in [0, 1], (B, 3, H, W); without it the edge weights w are 1.

    Returns:
        Scalar; an image whose mask is empty counts as 0.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check_shapes(depth_src, depth_tgt, flow, mask, image_src)
    exact = torch.promote_types(depth_src.dtype, torch.float32)  # differences of half precision would be all rounding
    counts = mask > 0
    warped = warp(_gradients(depth_tgt.to(exact)), flow.detach())
    # Masked before the absolute value and the weights, since 0 * nan is nan, in the backward pass too.
    error = torch.where(counts, _gradients(depth_src.to(exact)) - warped, 0.0).abs()  # (B, 2, H, W)
    if image_src is not None:
        error = error * torch.where(counts, _edge_weights(image_src.detach().to(exact)), 0.0)
    weight = mask.to(exact)
    per_image = (weight * error).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1)
    return per_image.mean()


def _gradients(depth: Tensor) -> Tensor:
    """(B, 1, H, W) to (B, 2, H, W): g_x, g_y."""
    return torch.cat(_forward_differences(depth), dim=1)


def _edge_weights(image: Tensor) -> Tensor:
    """(B, C, H, W) in [0, 1] to (B, 2, H, W): w_x, w_y, small across edges of the image."""
    changes = [difference.abs().mean(dim=1, keepdim=True) for difference in _forward_differences(image)]
    return torch.cat(changes, dim=1).neg().exp()


def _forward_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """x(x+1, y) - x(x, y) and x(x, y+1) - x(x, y), the last column and row 0, each in the shape of ``x``."""
    along_x = F.pad(x[..., :, 1:] - x[..., :, :-1], (0, 1))
    along_y = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    return along_x, along_y


def _check_shapes(depth_src: Tensor, depth_tgt: Tensor, flow: Tensor, mask: Tensor, image_src: Tensor | None) -> None:
    B, H, W = depth_src.shape[0], *depth_src.shape[-2:]
    expected = {"depth_src": (B, 1, H, W), "depth_tgt": (B, 1, H, W), "flow": (B, 2, H, W), "mask": (B, 1, H, W)}
    given = {"depth_src": depth_src, "depth_tgt": depth_tgt, "flow": flow, "mask": mask}
    if image_src is not None:
        expected["image_src"], given["image_src"] = (B, 3, H, W), image_src
    for name, tensor in given.items():
        if tuple(tensor.shape) != expected[name]:
            raise ValueError(f"{name} must be {expected[name]}, got {tuple(tensor.shape)}")
