"""Depth map warping layer: one frame's depth map as another frame sees it, and the flow that a depth map implies.

Source: Liu et al., CARE workshop at MICCAI 2018, and the public code of its authors.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.geometry.camera import MIN_Z_MM, backproject, flow_from_depth, project, transform
from models.geometry.flow import pixel_grid, warp
from models.geometry.motion import inverse_motion

SAMPLINGS = ("exact", "half_pixel", "legacy")
MIN_SHARE = 0.9  # of a sample that lies in the lens circle; published, also as the cut of a soft mask


class WarpedDepth(NamedTuple):
    """The source's depth map on the target's pixel grid."""

    depth: Tensor  # along the target camera's axis, (B, 1, H, W); 0 where the target's mask is empty
    valid: Tensor  # bool (B, 1, H, W): in both lens circles and both images


def warp_depth(
    depth_src: Tensor,
    depth_tgt: Tensor,
    src_from_tgt: Tensor,
    K: Tensor,
    mask: Tensor,
    sampling: str = "exact",
    *,
    occlusion_tolerance: float | None = None,
) -> WarpedDepth:
    """The source's depth map, looked up where the target's own depth leads, as depth in the target camera.

        X_tgt(p) = depth_tgt(p) K^-1 p,    u(p) = project(src_from_tgt X_tgt(p))
        Z(q) = M(q) [tgt_from_src depth_src(q) K^-1 q]_z,    D(p) = Z(u(p)), bilinear, 0 outside the image
        V(p) = M(p) M(u(p)) >= 0.9

    Z is sampled, and not ``depth_src``: a depth means something in its own camera only, and the two differ as soon as
    the camera moves along its axis. Where both maps are right, D = depth_tgt, except on the rim of V: there up to a
    tenth of a sample lies outside the lens circle and counts as 0, as published. Occlusion is not tested unless asked.

    All depths and translations are in one unit. A point nearer to the source camera than ``MIN_Z_MM``, 0.001 of that
    unit, counts as behind it. So depths must be far above 0.001: those of a clip divided by its global scale are
    typically 0.1 to 1.

    Args:
        depth_src, depth_tgt: > 0, (B, 1, H, W); both get gradient. May be nan outside the mask.
        src_from_tgt: points of the target camera to the source camera, (B, 4, 4).
        K: of both frames, (B, 3, 3) [px].
        mask: M, the lens circle of both frames, bool or in [0, 1], (B, 1, H, W); inside is 0.9 and more.
        sampling: ``exact`` reads at (u, v). The published layer reads at (u - 0.5, v - 0.5) with PyTorch 1.3 and later
            (``half_pixel``) and at (u (W - 1) / W, v (H - 1) / H) before (``legacy``).
        occlusion_tolerance: leave out of V what the source sees nearer than ``depth_tgt`` by more than this share of
            it: D < (1 - tolerance) depth_tgt.

    Returns:
        In at least float32; V gets no gradient.

    Raises:
        ValueError: the shapes do not fit, the sampling is unknown, or the tolerance is negative.
    """
    _check_maps(depth_src=depth_src, depth_tgt=depth_tgt, mask=mask)
    if sampling not in SAMPLINGS:
        raise ValueError(f"unknown sampling {sampling!r}, known are: {', '.join(SAMPLINGS)}")
    if occlusion_tolerance is not None and occlusion_tolerance < 0:
        raise ValueError(f"occlusion_tolerance must not be negative, got {occlusion_tolerance}")

    inside = mask >= MIN_SHARE
    depth_src, depth_tgt = torch.where(inside, depth_src, 0.0), torch.where(inside, depth_tgt, 0.0)
    flow = _sampled_at(flow_from_depth(depth_tgt, K, src_from_tgt), sampling)
    depth_in_tgt = transform(backproject(depth_src, K), inverse_motion(src_from_tgt))[:, 2:3]
    depth_in_tgt = torch.where(inside, depth_in_tgt, 0.0)
    sampled = warp(torch.cat((depth_in_tgt, inside.to(depth_in_tgt.dtype)), dim=1), flow, padding="zeros")
    depth, share = torch.where(inside, sampled, 0.0).split(1, dim=1)
    valid = share >= MIN_SHARE
    if occlusion_tolerance is not None:
        valid = valid & (depth >= (1 - occlusion_tolerance) * depth_tgt)
    return WarpedDepth(depth, valid)


class RelativeFlow(NamedTuple):
    """Where the target's pixels are in the source, on the target's pixel grid."""

    flow: Tensor  # (x, y) as fractions of W and H, (B, 2, H, W); 0 where not seen
    seen: Tensor  # bool (B, 1, H, W): in the target's lens circle and before the source camera


def relative_flow(depth_tgt: Tensor, src_from_tgt: Tensor, K: Tensor, mask: Tensor) -> RelativeFlow:
    """Displacement from the target to the source that the target's depth and the motion imply.

        (u, v) = project(src_from_tgt depth_tgt(p) K^-1 p),    flow(p) = M(p) ((u - x) / W, (v - y) / H)

    A point that is not before the source camera (nearer than ``MIN_Z_MM``, see ``warp_depth``) gets 0 and no gradient;
    the published code divides by its depth and has no bound there.

    Args:
        depth_tgt: > 0, (B, 1, H, W); gets gradient. May be nan outside the mask.
        src_from_tgt, K, mask: as ``warp_depth``.

    Returns:
        In at least float32. ``seen`` says nothing about the source's image: the flow may lead out of it.
    """
    _check_maps(depth_tgt=depth_tgt, mask=mask)
    inside = mask >= MIN_SHARE
    points = transform(backproject(torch.where(inside, depth_tgt, 0.0), K), src_from_tgt)
    pixels = project(points, K)
    flow = _fractions(pixels - pixel_grid(*pixels.shape[-2:], device=pixels.device, dtype=pixels.dtype))
    seen = inside & (points[:, 2:3] >= MIN_Z_MM)
    return RelativeFlow(torch.where(seen, flow, 0.0), seen)


def _sampled_at(flow: Tensor, sampling: str) -> Tensor:
    """The flow [px] to the place that is read instead of (u, v)."""
    if sampling == "half_pixel":
        return flow - 0.5
    if sampling == "legacy":  # u (W - 1) / W = u - u / W
        return flow - _fractions(flow + pixel_grid(*flow.shape[-2:], device=flow.device, dtype=flow.dtype))
    return flow


def _fractions(xy: Tensor) -> Tensor:
    """(B, 2, H, W) [px] as fractions of the image's width and height."""
    height, width = xy.shape[-2:]
    return torch.cat((xy[:, :1] / width, xy[:, 1:] / height), dim=1)


def _check_maps(**maps: Tensor) -> None:
    first = next(iter(maps.values()))
    if first.ndim != 4 or first.shape[1] != 1 or any(x.shape != first.shape for x in maps.values()):
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in maps.items())
        raise ValueError(f"maps must have one shape (B, 1, H, W), got {shapes}")
