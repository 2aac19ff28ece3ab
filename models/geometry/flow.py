"""Optical flow: sampling along it, where it is consistent, and the estimators that make it.

A flow (B, 2, H, W) holds (x, y) in pixels: what a frame shows at pixel p, the other frame shows at p + flow(p). Pixel
(0, 0) is the centre of the top-left pixel. This is the only file that calls ``grid_sample``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.geometry.flow_estimators import FlowEstimator, create_flow_estimator

__all__ = ["FlowEstimator", "create_flow_estimator", "forward_backward_mask", "inside_image", "pixel_grid", "warp"]

PADDINGS = ("border", "zeros", "reflection")
FAR = 1e4  # outside every image, in units of half an image


def warp(x: Tensor, flow: Tensor, padding: str = "border") -> Tensor:
    """Sample ``x`` where the flow points, bilinearly.

        out(p) = x(p + flow(p)),    grid = (2 (p + flow) + 1) / size - 1

    The grid is that of ``align_corners=False``: -1 and 1 are the outer edges of the border pixels, half a pixel from
    their centres. Zero flow returns ``x``. Positions and sampling are at least float32 whatever ``x`` is. A flow that
    is not finite leads outside the image.

    Args:
        x: frame that is sampled, (B, C, H, W).
        flow: on the pixel grid of the result [px], (B, 2, H, W).
        padding: what lies outside the image: ``border`` (its nearest pixel), ``zeros`` or ``reflection``.

    Returns:
        (B, C, H, W) in the type of ``x``; differentiable in ``x`` and in ``flow``.

    Raises:
        ValueError: the shapes do not fit, ``x`` is not floating point, or the padding is unknown.
    """
    _check_flow(flow)
    if x.ndim != 4 or x.shape[0] != flow.shape[0] or x.shape[-2:] != flow.shape[-2:]:
        raise ValueError(f"x {tuple(x.shape)} and flow {tuple(flow.shape)} must have one batch and image size")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point to be interpolated, got {x.dtype}")
    if padding not in PADDINGS:
        raise ValueError(f"unknown padding {padding!r}, known are: {', '.join(PADDINGS)}")

    height, width = x.shape[-2:]
    exact = torch.promote_types(x.dtype, torch.float32)  # float16 has no fractions of a pixel beyond 1024
    to_x, to_y = _target(flow.to(exact)).unbind(1)  # (B, H, W)
    grid = torch.stack(((2 * to_x + 1) / width - 1, (2 * to_y + 1) / height - 1), dim=-1)
    grid = grid.nan_to_num(nan=-FAR).clamp(-FAR, FAR)  # grid_sample reads outside its memory at inf and nan
    sampled = F.grid_sample(x.to(exact), grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.to(x.dtype)


def forward_backward_mask(flow_fwd: Tensor, flow_bwd: Tensor, threshold: float = 1.0) -> Tensor:
    """Where both frames see the point: the way there and back ends where it began.

        M(p) = inside(p + f(p))  and  |f(p) + b(p + f(p))|^2 < threshold

    Args:
        flow_fwd: f, on the frame whose mask is wanted [px], (B, 2, H, W).
        flow_bwd: b, on the other frame [px], (B, 2, H, W).
        threshold: [px^2].

    Returns:
        (B, 1, H, W) bool on the grid of ``flow_fwd``; False where a flow is nan.
    """
    if flow_fwd.shape != flow_bwd.shape:
        raise ValueError(f"flows must have one shape, got {tuple(flow_fwd.shape)} and {tuple(flow_bwd.shape)}")
    flow_fwd, flow_bwd = flow_fwd.detach().float(), flow_bwd.detach().float()
    error = (flow_fwd + warp(flow_bwd, flow_fwd)).square().sum(dim=1, keepdim=True)
    return inside_image(flow_fwd) & (error < threshold)


def inside_image(flow: Tensor, slack: float = 0.0) -> Tensor:
    """(B, 1, H, W) bool: p + flow(p) lies in [0, W - 1] x [0, H - 1], or at most ``slack`` [px] outside."""
    _check_flow(flow)
    height, width = flow.shape[-2:]
    x, y = _target(flow.to(torch.promote_types(flow.dtype, torch.float32))).split(1, dim=1)
    return (x >= -slack) & (x <= width - 1 + slack) & (y >= -slack) & (y <= height - 1 + slack)


def pixel_grid(height: int, width: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Pixel centres as (2, H, W): x along the columns, then y along the rows, both from 0 [px]."""
    rows = torch.arange(height, device=device, dtype=dtype)
    columns = torch.arange(width, device=device, dtype=dtype)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y))


def _target(flow: Tensor) -> Tensor:
    """p + flow(p), (B, 2, H, W) [px]."""
    return flow + pixel_grid(*flow.shape[-2:], device=flow.device, dtype=flow.dtype)


def _check_flow(flow: Tensor) -> None:
    if flow.ndim != 4 or flow.shape[1] != 2:
        raise ValueError(f"flow must be (B, 2, H, W), got {tuple(flow.shape)}")
