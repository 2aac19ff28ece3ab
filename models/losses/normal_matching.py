"""The surface has the normals of the pseudo-depth (SC-DepthV3)."""

import torch
from torch import Tensor


def normal_matching_loss(normals: Tensor, normals_pseudo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pixels and components of |n - n*|.

    Source: SC-DepthV3 (Sun et al., TPAMI 2023), where all pixels count, also those without pseudo-depth.

    Args:
        normals: of the predicted depth, (B, 3, H, W); gets gradient.
        normals_pseudo: of the pseudo-depth, (B, 3, H, W); gets none.
        mask: bool (B, 1, H, W), where both are defined; elsewhere they may be nan.

    Returns:
        Scalar; 0 when no pixel counts.
    """
    if normals.shape != normals_pseudo.shape or mask.shape != normals[:, :1].shape:
        shapes = tuple(normals.shape), tuple(normals_pseudo.shape), tuple(mask.shape)
        raise ValueError(f"normals must have one shape and mask be (B, 1, H, W), got {shapes}")
    error = torch.where(mask, normals - normals_pseudo.detach(), 0.0).abs()
    return error.sum() / (normals.shape[1] * mask.sum()).clamp(min=1)
