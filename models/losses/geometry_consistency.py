"""Depth of neighbouring frames agrees, so that a video has one scale (SC-Depth)."""

import torch
from torch import Tensor


def depth_inconsistency(depth_computed: Tensor, depth_projected: Tensor, mask: Tensor) -> Tensor:
    """Normalised difference of the depth that a point should have for a neighbour, and the depth predicted there.

        D_diff = |z' - D^| / (z' + D^)

    Symmetric, without a unit, in [0, 1). Source: SC-Depth (Bian et al., IJCV 2021, eq. 4). 1 - D_diff is its
    self-discovered mask (eq. 7): moving and occluded points disagree.

    Args:
        depth_computed: z', third coordinate of the moved point, (B, 1, H, W).
        depth_projected: D^, the neighbour's depth map where the point goes, (B, 1, H, W).
        mask: bool (B, 1, H, W), where both are above 0; elsewhere they may be anything.

    Returns:
        (B, 1, H, W), 0 outside the mask.
    """
    if not depth_computed.shape == depth_projected.shape == mask.shape:
        shapes = [tuple(x.shape) for x in (depth_computed, depth_projected, mask)]
        raise ValueError(f"depth_computed, depth_projected and mask must have one shape, got {shapes}")
    computed, projected = torch.where(mask, depth_computed, 1.0), torch.where(mask, depth_projected, 1.0)
    return (computed - projected).abs() / (computed + projected)
