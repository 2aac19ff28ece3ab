"""Depth is smooth where the image is."""

import torch
from torch import Tensor


def edge_aware_smoothness(depth: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Gradients of the depth, divided by its mean, less so across edges of the image.

        d = D / mean(D),    L = mean |d_x| exp(-mean_c |T_x|) + mean |d_y| exp(-mean_c |T_y|)

    with forward differences; a factor on the depth changes nothing. Source: Monodepth2 (Godard et al., ICCV 2019,
    eq. 3), on depth instead of disparity as in SC-Depth (Bian et al., IJCV 2021).

    Args:
        depth: D > 0, (B, 1, H, W).
        image: T, standardised, (B, 3, H, W); gets no gradient.
        mask: bool (B, 1, H, W); a difference counts when both its pixels do, all else may be nan.

    Returns:
        Scalar; 0 when no pixel counts.
    """
    if depth.shape != mask.shape or image.shape[-2:] != depth.shape[-2:]:
        shapes = tuple(depth.shape), tuple(image.shape), tuple(mask.shape)
        raise ValueError(f"depth and mask must be (B, 1, H, W), image (B, 3, H, W), got {shapes}")
    depth = torch.where(mask, depth, 0.0)
    count = mask.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    mean = (depth.sum(dim=(1, 2, 3), keepdim=True) / count).clamp(min=1e-7)
    depth, image = depth / mean, torch.where(mask, image.detach(), 0.0)
    return sum(_along(axis, depth, image, mask) for axis in (-1, -2))


def _along(axis: int, depth: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    size = depth.shape[axis] - 1
    both = mask.narrow(axis, 1, size) & mask.narrow(axis, 0, size)
    weight = image.diff(dim=axis).abs().mean(dim=1, keepdim=True).neg().exp() * both
    return (depth.diff(dim=axis).abs() * weight).sum() / both.sum().clamp(min=1)
