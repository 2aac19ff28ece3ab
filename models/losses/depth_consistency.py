"""Two frames' depth maps agree once one is warped into the other (SfM-supervised depth).

The sums here are over the valid pixels of a sample: ``_sum`` of maps that are 0 elsewhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from models.geometry.camera import backproject

SHARE_OF_MEAN = 1e-5  # of the mean depth, in the normalised kinds' denominators; published


class _Pair(NamedTuple):
    """What is compared, 0 outside the valid pixels, and what one kind or another needs for it."""

    warped: Tensor  # D', (B, 1, H, W)
    depth: Tensor  # D
    valid: Tensor
    K: Tensor | None
    plus_one: bool
    by_translation: bool


def depth_consistency_loss(
    warped: Tensor,
    depth: Tensor,
    valid: Tensor,
    kind: str = "l1",
    *,
    K: Tensor | None = None,
    usable: Tensor | None = None,
    plus_one: bool = False,
    translation: Tensor | None = None,
) -> Tensor:
    """Difference of a frame's depth D and the neighbour's depth D' warped to it, over the pixels V that both see.

        l1:                   sum_V |D - D'| / |V|
        normalized_distance:  2 sum_V |P - P'|_1 / (sum_V (D + |D'|) + 1e-5 m),    P = D K^-1 p,  P' = D' K^-1 p
        normalized_l1:        sum_V |D - D'| / (0.5 sum_V (|D| + |D'|) + 1e-5 m)
        normalized_l2:        sum_V (D - D')^2 / (0.5 sum_V (D^2 + D'^2) + 1e-5 m^2)

    with m = sum_V D / (1e-5 + |V|), which gets no gradient. Each runs over the pixels of a sample, then over the batch:
    a sample with a small overlap counts as much as one with a large overlap. ``l1`` has the unit of the depths, so its
    weight means something only with that unit fixed; the others have none. Source: Liu et al., CARE workshop at MICCAI
    2018, eq. 4 (``l1``); the others are their later code (IEEE TMI 39(5), 2020).

    Args:
        warped: D', ``models.geometry.depth_warping.warp_depth``, (B, 1, H, W).
        depth: D > 0 in the same unit, (B, 1, H, W); both get gradient.
        valid: V, bool, (B, 1, H, W); elsewhere the maps may be nan.
        kind: one of ``KINDS``.
        K: (B, 3, 3) [px], needed by ``normalized_distance`` and read by no other.
        usable: bool or weight >= 0, (B,), of the samples in the mean over the batch: 0 leaves a sample out, as it must
            be when its scale is unknown.
        plus_one: ``l1`` divides by |V| + 1, as in the code of 2018.
        translation: (B, 3), for ``normalized_l2`` only: its other published form, with 1.0 [unit^2] in place of
            1e-5 m^2, and samples weighed by 1 / (1e-8 + |translation|).

    Returns:
        Scalar, in at least float32; 0 with zero gradient when no pixel is valid. A sample without a valid pixel counts
        as 0 in the mean, unless it is left out.

    Raises:
        ValueError: the shapes do not fit, the kind is unknown, or it lacks ``K`` or does not know an option.
    """
    _check_shapes(warped, depth, valid, K=K, usable=usable, translation=translation)
    _check_kind(kind, K, plus_one, translation)
    exact = torch.promote_types(depth.dtype, torch.float32)
    if usable is not None:
        valid = valid & (usable > 0).view(-1, 1, 1, 1)  # so that nothing of a sample that is left out is read
    warped, depth = (torch.where(valid, x.to(exact), 0.0) for x in (warped, depth))
    per_sample = KINDS[kind](_Pair(warped, depth, valid, K, plus_one, translation is not None))  # (B,)

    weight = torch.ones_like(per_sample) if usable is None else usable.to(exact)
    if translation is not None:
        weight = weight / (1e-8 + translation.detach().to(exact).norm(dim=1))
    total = weight.sum()
    return (weight * per_sample).sum() / torch.where(total > 0, total, 1.0)


def _l1(pair: _Pair) -> Tensor:
    count = pair.valid.sum(dim=(1, 2, 3))
    return _sum((pair.depth - pair.warped).abs()) / (count + 1 if pair.plus_one else count.clamp(min=1))


def _normalized_distance(pair: _Pair) -> Tensor:
    distance = backproject(pair.depth - pair.warped, pair.K).abs()  # P - P', (B, 3, H, W)
    return _ratio(2 * _sum(distance), _sum(pair.depth + pair.warped.abs()) + SHARE_OF_MEAN * _mean_depth(pair))


def _normalized_l1(pair: _Pair) -> Tensor:
    size = 0.5 * _sum(pair.depth.abs() + pair.warped.abs())
    return _ratio(_sum((pair.depth - pair.warped).abs()), size + SHARE_OF_MEAN * _mean_depth(pair))


def _normalized_l2(pair: _Pair) -> Tensor:
    size = 0.5 * _sum(pair.depth.square() + pair.warped.square())
    extra = 1.0 if pair.by_translation else SHARE_OF_MEAN * _mean_depth(pair).square()
    return _ratio(_sum((pair.depth - pair.warped).square()), size + extra)


KINDS: dict[str, Callable[[_Pair], Tensor]] = {
    "l1": _l1,
    "normalized_distance": _normalized_distance,
    "normalized_l1": _normalized_l1,
    "normalized_l2": _normalized_l2,
}


def _sum(x: Tensor) -> Tensor:
    return x.sum(dim=(1, 2, 3))


def _mean_depth(pair: _Pair) -> Tensor:
    """m, (B,)."""
    return _sum(pair.depth.detach()) / (1e-5 + pair.valid.sum(dim=(1, 2, 3)))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Of sums over the valid pixels; without any it is 0 / 0, which becomes 0 / 1."""
    return numerator / torch.where(denominator > 0, denominator, 1.0)


def _check_shapes(warped: Tensor, depth: Tensor, valid: Tensor, **others: Tensor | None) -> None:
    if depth.ndim != 4 or depth.shape[1] != 1 or not warped.shape == depth.shape == valid.shape:
        shapes = [tuple(x.shape) for x in (warped, depth, valid)]
        raise ValueError(f"warped, depth and valid must have one shape (B, 1, H, W), got {shapes}")
    batch = depth.shape[0]
    expected = {"K": (batch, 3, 3), "usable": (batch,), "translation": (batch, 3)}
    for name, tensor in others.items():
        if tensor is not None and tuple(tensor.shape) != expected[name]:
            raise ValueError(f"{name} must be {expected[name]}, got {tuple(tensor.shape)}")


def _check_kind(kind: str, K: Tensor | None, plus_one: bool, translation: Tensor | None) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown consistency kind {kind!r}, known are: {', '.join(KINDS)}")
    if kind == "normalized_distance" and K is None:
        raise ValueError("normalized_distance needs K: it compares points, not depths")
    if plus_one and kind != "l1":
        raise ValueError(f"plus_one belongs to kind l1, got {kind}")
    if translation is not None and kind != "normalized_l2":
        raise ValueError(f"translation belongs to kind normalized_l2, got {kind}")
