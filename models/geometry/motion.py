"""Rigid motions from the numbers that a pose network gives: three angles, and three angles with a translation."""

import torch
from torch import Tensor


def rotation_from_angles(angles: Tensor) -> Tensor:
    """Rotation from three angles, the one about x outermost.

        R = R_x(a_x) R_y(a_y) R_z(a_z)

    each right-handed about its axis. Source: SC-Depth (Bian et al., IJCV 2021), as published.

    Args:
        angles: (..., 3), about x, y and z [rad].

    Returns:
        (..., 3, 3) in at least float32.
    """
    if angles.shape[-1:] != (3,):
        raise ValueError(f"angles must be (..., 3), got {tuple(angles.shape)}")
    angles = angles.to(torch.promote_types(angles.dtype, torch.float32))
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = (
        (cy * cz, -cy * sz, sy),
        (cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy),
        (sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def motion_from_vector(vector: Tensor) -> Tensor:
    """Rigid motion (..., 4, 4) from (..., 6): translation (x, y, z), then the angles of ``rotation_from_angles``."""
    if vector.shape[-1:] != (6,):
        raise ValueError(f"vector must be (..., 6), got {tuple(vector.shape)}")
    rotation = rotation_from_angles(vector[..., 3:])
    return _assemble(rotation, vector[..., :3].to(rotation.dtype))


def motion_from_rotation(rotation: Tensor) -> Tensor:
    """Rigid motion (..., 4, 4) that turns by (..., 3, 3) and does not move."""
    return _assemble(rotation, torch.zeros_like(rotation[..., 0]))


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """outer inner, (..., 4, 4); sums and not a matrix product, which mixed precision would cut to 8 bits."""
    return (outer[..., None] * inner[..., None, :, :]).sum(dim=-2)


def inverse_motion(motion: Tensor) -> Tensor:
    """The way back of a rigid motion (..., 4, 4):  R^T, -R^T t."""
    back = motion[..., :3, :3].mT
    return _assemble(back, -(back * motion[..., None, :3, 3]).sum(dim=-1))


def _assemble(rotation: Tensor, translation: Tensor) -> Tensor:
    last = torch.zeros_like(rotation[..., :1, :])
    top = torch.cat((rotation, translation[..., None]), dim=-1)
    bottom = torch.cat((last, torch.ones_like(last[..., :1])), dim=-1)
    return torch.cat((top, bottom), dim=-2)
