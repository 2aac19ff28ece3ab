"""Consistency of depth over time: neighbouring predictions compared along the optical flow."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from data.view_mask import find_view
from evaluation.frame import Frame, PairFlow
from models.geometry.flow import FlowEstimator, forward_backward_mask, warp
from models.losses.gradient_warping import masked_gradient_warping_loss
from util.errors import UserError

MIN_DEPTH_MM = 1e-3  # divisors below are lifted to it
WHOLE = 0.999  # share of valid pixels around a point, but for rounding
WITH_UNIT = ("temporal_grad",)  # scores in the unit of depth
NOMINAL_DEPTH_MM = 50.0  # to which depth without a scale is brought, so that the floors above mean the same for it


def temporal_metrics(depth_src: np.ndarray, depth_tgt: np.ndarray, pair: PairFlow) -> dict[str, float] | None:
    """Differences of two neighbouring depth maps, over the pixels that both frames see.

    D~ and g~ are depth and its gradients of frame t + 1, looked up along the flow:

        temporal_grad     = mean |g_x(D) - g~_x| + |g_y(D) - g~_y|     [unit of depth / px]
        temporal_grad_rel = temporal_grad / mean (|g_x(D)| + |g_y(D)|)
        temporal_rel      = mean |D - D~ - o| / D,    o = median (D - D~)

    ``temporal_grad`` is the masked gradient warping loss without its edge weights: it forgives an offset, but favours
    flat depth, which ``temporal_grad_rel`` does not. ``o`` is the camera's advance, by which the depth of all points
    changes when it moves along its axis. What a turn of the camera changes is left in, so that true depth does not
    reach 0: compare with its scores where they are known.

    Args:
        depth_src, depth_tgt: of frame t and t + 1, (H, W), one unit; 0 is invalid and not compared.
        pair: flow from t to t + 1.

    Returns:
        None when no pixel is left to compare.
    """
    src, tgt = (torch.from_numpy(depth).float()[None, None] for depth in (depth_src, depth_tgt))
    flow = torch.from_numpy(pair.flow).float()[None]
    known_in_both = _has_gradient(src) & (warp(_has_gradient(tgt).float(), flow) > WHOLE)
    mask = torch.from_numpy(pair.mask)[None, None] & known_in_both
    if not mask.any():
        return None
    gradient = float(masked_gradient_warping_loss(src, tgt, flow, mask))
    # Against a frame of constant depth the loss is the mean size of the source's own gradients.
    steepness = float(masked_gradient_warping_loss(src, torch.zeros_like(src), flow, mask))
    difference = (src - warp(tgt, flow))[mask]
    relative = (difference - difference.median()).abs() / src[mask].clamp(min=MIN_DEPTH_MM)
    return {
        "temporal_grad": gradient,
        "temporal_grad_rel": gradient / max(steepness, MIN_DEPTH_MM),
        "temporal_rel": float(relative.mean()),
    }


class TemporalBoard:
    """Consistency between frames that follow each other, by method; remembers the frame before.

    Args:
        build_estimator: called for the first pair whose flow is not known: an estimator may have to be downloaded.
        device: where flow is estimated.
        metric: whether depth is in mm; otherwise the scores in the unit of depth are left out.
    """

    def __init__(
        self, build_estimator: Callable[[], FlowEstimator], device: torch.device, *, metric: bool = True
    ) -> None:
        self.scores: dict[str, list[dict[str, float]]] = {}
        self.metric = metric
        self._build_estimator, self._device = build_estimator, device
        self._estimator: FlowEstimator | None = None
        self._before: tuple[Frame, Mapping[str, np.ndarray]] | None = None

    @property
    def flow(self) -> str:
        """Where the flow came from: ``truth``, or the estimator's name."""
        return self._estimator.name if self._estimator else "truth"

    def add(self, frame: Frame, depths: Mapping[str, np.ndarray]) -> None:
        """Compare the depth maps (H, W) of a frame, by method, with those of the frame before in its clip.

        Raises:
            UserError: frames that are said to follow each other differ in size.
        """
        if self._before is not None and frame.clip is not None and self._before[0].clip == frame.clip:
            src, depths_src = self._before
            pair = self._flow_between(src, frame)
            for method in depths_src.keys() & depths.keys():
                score = self._score(depths_src[method], depths[method], pair)
                if score is not None:
                    self.scores.setdefault(method, []).append(score)
        self._before = frame, depths

    def means(self) -> dict[str, dict[str, float]]:
        """Mean of each score over the pairs, by method; empty when no two frames share a pixel."""
        return {
            method: {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
            for method, scores in sorted(self.scores.items(), key=_ours_first)
        }

    def _score(self, depth_src: np.ndarray, depth_tgt: np.ndarray, pair: PairFlow) -> dict[str, float] | None:
        if self.metric:
            return temporal_metrics(depth_src, depth_tgt, pair)
        known = depth_src[depth_src > 0]
        scale = NOMINAL_DEPTH_MM / np.median(known) if known.size else 1.0
        scores = temporal_metrics(depth_src * scale, depth_tgt * scale, pair)
        return scores and {name: value for name, value in scores.items() if name not in WITH_UNIT}

    def _flow_between(self, src: Frame, tgt: Frame) -> PairFlow:
        if src.flow_to_next is not None:
            return src.flow_to_next
        if src.rgb.shape != tgt.rgb.shape:
            raise UserError(f"{src.name} and {tgt.name} differ in size: no neighbours; leave --temporal out")
        self._estimator = self._estimator or self._build_estimator()
        return estimate_pair(src.rgb, tgt.rgb, self._estimator, self._device)


def estimate_pair(rgb_src: np.ndarray, rgb_tgt: np.ndarray, estimator: FlowEstimator, device: torch.device) -> PairFlow:
    """Flow between two frames, RGB in [0, 1] (H, W, 3), with the forward-backward mask inside the endoscope's view."""
    src, tgt = (_to_batch(rgb).to(device) for rgb in (rgb_src, rgb_tgt))
    flow_fwd, flow_bwd = estimator(src, tgt), estimator(tgt, src)
    mask = forward_backward_mask(flow_fwd, flow_bwd)[0, 0].cpu().numpy()
    return PairFlow(flow_fwd[0].cpu().numpy(), mask & find_view([rgb_src, rgb_tgt]))


def _has_gradient(depth: Tensor) -> Tensor:
    """Where a pixel and its right and lower neighbours are valid, bool in the shape of ``depth``."""
    valid = depth > 0
    right, lower = valid.roll(-1, -1), valid.roll(-1, -2)
    right[..., -1], lower[..., -1, :] = True, True  # the last column and row have no neighbour
    return valid & right & lower


def _to_batch(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None]


def _ours_first(item: tuple[str, object]) -> tuple[bool, str]:
    return item[0] != "ours", item[0]
