"""Consistency of depth over time: neighbouring predictions compared along the optical flow."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.view_mask import find_view
from models.geometry.flow import FlowEstimator, forward_backward_mask, warp
from models.losses.gradient_warping import masked_gradient_warping_loss

MIN_DEPTH_MM = 1e-3  # divisors below are lifted to it


class PairFlow(NamedTuple):
    """Flow from a frame to the next [px], (2, H, W), and where both see the point, bool (H, W)."""

    flow: np.ndarray
    mask: np.ndarray


FlowOfPair = Callable[[int], PairFlow]  # of the frames i and i + 1


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
        depth_src, depth_tgt: of frame t and t + 1, (H, W), one unit.
        pair: flow from t to t + 1.

    Returns:
        None when the mask is empty.
    """
    if not pair.mask.any():
        return None
    src, tgt = (torch.from_numpy(depth).float()[None, None] for depth in (depth_src, depth_tgt))
    flow = torch.from_numpy(pair.flow).float()[None]
    mask = torch.from_numpy(pair.mask)[None, None]
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


def score_clip(depths: Sequence[np.ndarray], flow_of: FlowOfPair) -> dict[str, float] | None:
    """Mean of ``temporal_metrics`` over the neighbours of a clip; None when no pair shares a pixel."""
    pairs = [temporal_metrics(depths[i], depths[i + 1], flow_of(i)) for i in range(len(depths) - 1)]
    return mean_scores([pair for pair in pairs if pair is not None])


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Mean of each score, or None of no scores."""
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]} if scores else None


def estimate_pair(rgb_src: np.ndarray, rgb_tgt: np.ndarray, estimator: FlowEstimator, device: torch.device) -> PairFlow:
    """Flow between two frames, RGB in [0, 1] (H, W, 3), with the forward-backward mask inside the endoscope's view."""
    src, tgt = (_to_batch(rgb).to(device) for rgb in (rgb_src, rgb_tgt))
    flow_fwd, flow_bwd = estimator(src, tgt), estimator(tgt, src)
    mask = forward_backward_mask(flow_fwd, flow_bwd)[0, 0].cpu().numpy()
    return PairFlow(flow_fwd[0].cpu().numpy(), mask & find_view([rgb_src, rgb_tgt]))


def _to_batch(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None]
