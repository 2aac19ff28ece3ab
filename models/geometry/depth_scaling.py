"""Depth map scaling layer: a prediction of unknown scale is brought to the scale of structure from motion (SfM)."""

from typing import NamedTuple

import torch
from torch import Tensor

MODES = ("mean_ratio", "ratio_of_sums")
MIN_WEIGHT = 1e-8  # a pixel of more weight holds a point; published
EPSILON = 1e-8  # of the published denominators


class ScaledDepth(NamedTuple):
    """A batch of maps in the scale of its sparse points; what belongs to a whole map is (B,)."""

    depth: Tensor  # s D, (B, 1, H, W)
    scale: Tensor  # s
    spread: Tensor  # standard deviation of the points' ratios over s: how far one factor is from enough; no gradient
    usable: Tensor  # bool: the map has a sparse point


def scale_to_sparse(
    depth: Tensor, sparse: Tensor, weight: Tensor, mode: str = "mean_ratio", *, outlier_share: float = 0.5
) -> ScaledDepth:
    """The map times one factor, from the sparse depths over the map's own at the same pixels.

        P = {weight > 1e-8, sparse > 0},    Q = {p in P: sparse > outlier_share * mean_P sparse}
        mean_ratio:     s = mean_Q ( sparse / (depth + 1e-8) )
        ratio_of_sums:  s = sum_P sparse / (1e-8 + sum_P depth)

    The factor is a function of the map and gradients flow through it, so that a factor on ``depth`` changes nothing in
    what is computed from the result, and the gradient with respect to ``depth`` is orthogonal to it. Source: Liu et
    al., CARE workshop at MICCAI 2018, which prints no formula; ``ratio_of_sums`` is its authors' code of 2018,
    ``mean_ratio`` their last (2022).

    Args:
        depth: raw prediction, > 0 and finite, any unit, (B, 1, H, W).
        sparse: depth of the points in the unit of the poses, 0 where there is none, (B, 1, H, W).
        weight: soft mask, 0 where there is no point, (B, 1, H, W); ``sparse`` may be nan there. Only which pixels have
            a weight matters, not how much.
        mode: one of ``MODES``.
        outlier_share: in [0, 1). Q leaves out what is much nearer than the rest. Both modes take the spread over Q.

    Returns:
        In at least float32. A map without a point keeps its scale: s = 1, spread 0 and not usable.

    Raises:
        ValueError: the shapes differ, the mode is unknown, or ``outlier_share`` lies outside [0, 1).
    """
    if depth.ndim != 4 or depth.shape[1] != 1 or not depth.shape == sparse.shape == weight.shape:
        shapes = [tuple(x.shape) for x in (depth, sparse, weight)]
        raise ValueError(f"depth, sparse and weight must have one shape (B, 1, H, W), got {shapes}")
    if mode not in MODES:
        raise ValueError(f"unknown scaling mode {mode!r}, known are: {', '.join(MODES)}")
    if not 0.0 <= outlier_share < 1.0:
        raise ValueError(f"outlier_share must lie in [0, 1), got {outlier_share}")

    exact = torch.promote_types(depth.dtype, torch.float32)  # half precision has no 1e-8
    depth, sparse = depth.to(exact), sparse.to(exact)
    points = (weight > MIN_WEIGHT) & (sparse > 0)
    counted = points & (sparse > outlier_share * _mean(sparse, points).view(-1, 1, 1, 1))
    ratio = sparse / (torch.where(points, depth, 1.0) + EPSILON)
    mean_ratio = _mean(ratio, counted)
    scale = mean_ratio if mode == "mean_ratio" else _sum(sparse, points) / (EPSILON + _sum(depth, points))

    usable = points.flatten(1).any(dim=1)
    scale = torch.where(usable, scale, 1.0)
    variance = _mean((ratio - mean_ratio.view(-1, 1, 1, 1)).detach().square(), counted)
    return ScaledDepth(scale.view(-1, 1, 1, 1) * depth, scale, variance.sqrt() / scale.detach(), usable)


def _sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum of each map over its mask, (B, 1, H, W) to (B,)."""
    return torch.where(mask, x, 0.0).sum(dim=(1, 2, 3))


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of each map over its mask, (B, 1, H, W) to (B,); 0 where the mask is empty."""
    return _sum(x, mask) / mask.sum(dim=(1, 2, 3)).clamp(min=1)
