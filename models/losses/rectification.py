"""What teaches the auto-rectify network of SC-DepthV2 to find the rotation between two frames.

Source: SC-DepthV2 (Bian et al., TPAMI 2022), its rotation consistency and rotation triplet.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ANGLE, MAX_ANGLE = 0.02, 0.1  # mean |angle| between which a predicted rotation serves as the known one [rad]
MAX_RANDOM_ANGLE = 0.05  # of the rotations that are made up otherwise [rad]
MARGIN = 0.05  # what should be left less after rectification [rad]


def known_angles(angles: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Rotations that the network shall find again in images that were turned by them.

    Where the angles of a pair are neither tiny nor large they serve themselves; else random ones are drawn, uniform in
    +-0.05. The published code decides once for the whole batch, by its mean.

    Args:
        angles: predicted, (B, 3) [rad].
        generator: draws; None is PyTorch's own, which checkpoints restore.

    Returns:
        Angles (B, 3) without gradient, and bool (B,): whether they are the given ones.
    """
    size = angles.detach().abs().mean(dim=1)
    usable = (size > MIN_ANGLE) & (size < MAX_ANGLE)
    drawn = torch.rand(angles.shape, generator=generator, device=angles.device, dtype=angles.dtype) * 2 - 1
    return torch.where(usable[:, None], angles.detach(), MAX_RANDOM_ANGLE * drawn), usable


def rotation_consistency(angles: Tensor, known: Tensor) -> Tensor:
    """Mean |r - r*| of the angles that were found and those that the image was turned by, (B, 3) [rad] each."""
    return F.l1_loss(angles, known.detach())


def rotation_triplet(before: Tensor, after: Tensor) -> Tensor:
    """Less rotation is left after rectification than was there before.

        L = mean max(0, |r_after| - max(0, |r_before| - 0.05))

    over angles and batch. For |r_before| >= 0.05 this is the published max(0, |r_after| - |r_before| + 0.05). That one
    cannot fall below 0.05 for a camera that hardly turns, and rewards predicting a rotation that is not there: here the
    margin ends at 0, and ``before`` gets no gradient.

    Args:
        before, after: angles predicted between the target and the neighbour, and the rectified one, (B, 3) [rad].
    """
    if before.shape != after.shape:
        raise ValueError(f"before and after must have one shape, got {tuple(before.shape)} and {tuple(after.shape)}")
    allowed = (before.detach().abs() - MARGIN).clamp(min=0)
    return (after.abs() - allowed).clamp(min=0).mean()
