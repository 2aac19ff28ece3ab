"""Depth judged by sparse structure from motion: at its points, and between frames whose motion it knows.

SfM has one unknown scale a clip, so each depth map is brought to the scale of its frame's points first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from evaluation.frame import Frame, SparseTruth
from evaluation.sequence_scale import scale_spread
from models.geometry.depth_warping import warp_depth
from util.intrinsics import scale_intrinsics
from util.metrics import align_depth, depth_metrics

SPARSE_METRICS = ("abs_rel", "rmse_log", "delta1", "delta2", "delta3")  # of depth_metrics: those without a unit
MIN_POINTS = 3
MIN_GAP, MAX_GAP = 5, 30  # registered views between two frames that are compared
COMPARED_WIDTH = 480  # that depth maps are reduced to before they are compared [px]
SMOOTHING = 9 / 1920  # sigma of the brightness floor, as a share of the frame's width
MIN_BRIGHTNESS = 1 / 255
MIN_INTERPOLATED = 4  # points that a triangulation needs

Depths = Mapping[str, np.ndarray]
Scores = dict[str, float]


@dataclass
class _Kept:
    """A frame of the present clip, reduced, for the comparison with others."""

    view: int
    pose: np.ndarray
    K: np.ndarray
    mask: np.ndarray
    depths: dict[str, np.ndarray]  # at the scale of the frame's points


@dataclass
class SparseBoard:
    """Scores of frames at their SfM points, and of pairs of frames of a clip, by method.

    Methods are ours, and floors that know nothing of the frame but its brightness. Frames without SfM are left out,
    those with fewer than ``MIN_POINTS`` points are named in ``unscored``.
    """

    names: list[str] = field(default_factory=list)
    rows: dict[str, list[Scores]] = field(default_factory=dict)
    scales: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # clip, method
    agreement: dict[str, list[Scores]] = field(default_factory=dict)
    unscored: list[str] = field(default_factory=list)
    _clip: str | None = None
    _kept: list[_Kept] = field(default_factory=list)

    def add(self, frame: Frame, depth: np.ndarray) -> None:
        """Score a frame's predicted depth (H, W); the frames of a clip follow each other."""
        if frame.clip != self._clip:
            self.finish()
        if frame.sparse is None or frame.clip is None:
            return
        self._clip = frame.clip
        if len(frame.sparse.depth) < MIN_POINTS:
            self.unscored.append(frame.name)
            return
        scaled = {}
        self.names.append(frame.name)
        for method, one in floors(frame.rgb, depth).items():
            scores, scale = sparse_scores(one, frame.sparse)
            self.rows.setdefault(method, []).append(scores)
            self.scales.setdefault(frame.clip, {}).setdefault(method, []).append(scale)
            scaled[method] = scale * one
        if frame.K is not None:
            self._kept.append(_reduced(scaled, frame.sparse, frame.K))

    def finish(self) -> None:
        """Compare the frames of the clip that has ended; to be called after the last frame."""
        least = min(MIN_GAP, max(1, len(self._kept) // 2))  # else a short block would have no pair
        for index, first in enumerate(self._kept):
            for second in self._kept[index + 1 :]:
                if least <= abs(second.view - first.view) <= MAX_GAP:
                    self._compare(first, second)
        self._clip, self._kept = None, []

    def of_frame(self, name: str) -> Scores:
        """Our scores of a frame; none where it has not been scored."""
        return self.rows["ours"][self.names.index(name)] if name in self.names else {}

    def means(self) -> dict[str, Scores]:
        """Mean of each score over the frames, and the spread of their scales within a clip, by method."""
        spread: dict[str, list[float]] = {}
        for scales in self.scales.values():
            for method, values in scales.items():
                spread.setdefault(method, []).append(scale_spread(np.array(values))["scale_spread"])
        return {
            method: _means(rows) | {"scale_spread_clip": float(np.mean(spread[method]))}
            for method, rows in self.rows.items()
        }

    def agreement_means(self) -> dict[str, Scores]:
        """Mean over the pairs of frames and directions, by method; empty where no two lie far enough apart."""
        return {method: _means(rows) for method, rows in self.agreement.items()}

    def _compare(self, first: _Kept, second: _Kept) -> None:
        for src, tgt in ((first, second), (second, first)):
            for method in tgt.depths:
                score = _disagreement(src, tgt, method)
                if score is not None:
                    self.agreement.setdefault(method, []).append(score)


def sparse_scores(depth: np.ndarray, sparse: SparseTruth) -> tuple[Scores, float]:
    """Scores at a frame's points, median-scaled, and the scale.

        scale = median(S) / median(D),    silog = std (ln D - ln S)

    Args:
        depth: D, (H, W), any scale.
        sparse: S, at least ``MIN_POINTS`` points.

    Returns:
        ``SPARSE_METRICS``, ``silog``, and ``num_points``; and the factor on D.
    """
    pred, truth = depth[tuple(sparse.pixels.T)][None].astype(np.float64), sparse.depth[None]
    scores = depth_metrics(pred, truth, align="median")
    log_error = np.log(pred.clip(min=np.finfo(float).tiny)) - np.log(truth)
    scale = float((align_depth(pred, truth, align="median") / pred)[0, 0])
    chosen = {name: scores[name] for name in SPARSE_METRICS}
    return chosen | {"silog": float(log_error.std()), "num_points": float(truth.size)}, scale


def floors(rgb: np.ndarray, depth: np.ndarray) -> dict[str, np.ndarray]:
    """The prediction, and what a method has to be better than: depth maps (H, W) by method, of any scale."""
    sigma = SMOOTHING * rgb.shape[1]
    light = cv2.GaussianBlur(rgb, (0, 0), sigma).max(axis=2).clip(min=MIN_BRIGHTNESS)
    return {"ours": depth, "constant": np.ones_like(depth), "smooth_brightness": light**-0.5}


def interpolated_depth(sparse: SparseTruth, size: tuple[int, int]) -> np.ndarray | None:
    """The points' depth, linear between them and that of the nearest one outside their hull, (H, W).

    It is what SfM alone says of a frame; None with too few points.
    """
    if len(sparse.depth) < MIN_INTERPOLATED:
        return None
    grid = np.stack(np.mgrid[: size[0], : size[1]], axis=-1).reshape(-1, 2)
    linear = LinearNDInterpolator(sparse.pixels, sparse.depth)(grid)
    nearest = NearestNDInterpolator(sparse.pixels, sparse.depth)(grid)
    return np.where(np.isnan(linear), nearest, linear).reshape(size).astype(np.float32)


def _disagreement(src: _Kept, tgt: _Kept, method: str) -> Scores | None:
    """|D_src->tgt - D_tgt| / D_tgt over the pixels that both see: its mean and median, and the share of the mask."""
    src_from_tgt = np.linalg.inv(src.pose) @ tgt.pose
    scale = float(np.median(tgt.depths[method]))  # lengths of about 1, whatever the clip's unit
    src_from_tgt[:3, 3] /= scale
    depth_src, depth_tgt = (_batch(kept.depths[method] / scale) for kept in (src, tgt))
    mask = _batch(tgt.mask.astype(np.float32))
    warped = warp_depth(depth_src, depth_tgt, _batch(src_from_tgt)[0], _batch(tgt.K)[0], mask)
    if not warped.valid.any():
        return None
    relative = ((warped.depth - depth_tgt).abs() / depth_tgt)[warped.valid]
    share = warped.valid.sum() / mask.sum()
    return {
        "pair_abs_rel": float(relative.mean()),
        "pair_median_rel": float(relative.median()),
        "overlap": float(share),
    }


def _reduced(depths: Depths, sparse: SparseTruth, K: np.ndarray) -> _Kept:
    height, width = sparse.mask.shape
    factor = min(1.0, COMPARED_WIDTH / width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = {name: cv2.resize(depth, size[::-1], interpolation=cv2.INTER_AREA) for name, depth in depths.items()}
    mask = cv2.resize(sparse.mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) > 0.99
    return _Kept(sparse.view, sparse.pose, scale_intrinsics(K, (height, width), size), mask, small)


def _batch(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).float()[None, None]


def _means(rows: list[Scores]) -> Scores:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
