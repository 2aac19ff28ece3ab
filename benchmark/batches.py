"""Batches of made-up tensors: what a step costs does not depend on what it sees."""

import torch
import torch.nn.functional as F
from torch import Tensor

from data.flow_cache import flow_both_ways
from models.base_model import Batch
from models.geometry.flow import FlowEstimator, forward_backward_mask

CLIP_LENGTH = 3
MOTION = (2, 1)  # (x, y) from frame to frame [px]
GRAIN = 8  # size of what is seen in a picture [px]; flow needs some texture
NEAR_MM, FAR_MM = 20.0, 120.0


def synthetic_batch(size: int, batch: int, device: torch.device) -> Batch:
    """Pairs as the ``synthetic`` stream has them; a corner of each depth map is invalid."""
    images, depth = make_pictures(batch, 3, size, size, seed=0), make_pictures(batch, 1, size, size, seed=1)
    valid = torch.ones(batch, 1, size, size, dtype=torch.bool)
    valid[..., : size // 8, : size // 8] = False
    depth_mm = torch.where(valid, NEAR_MM + (FAR_MM - NEAR_MM) * depth, 0.0)
    sample = {"image": images * 2 - 1, "depth_mm": depth_mm, "valid": valid}
    return {"synthetic": {name: tensor.to(device) for name, tensor in sample.items()}}


def video_batch(size: int, batch: int, device: torch.device, estimator: FlowEstimator) -> Batch:
    """Clips of a moving picture as the ``video`` stream has them, with flow and masks."""
    room = CLIP_LENGTH - 1
    whole = make_pictures(batch, 3, size + room * MOTION[1], size + room * MOTION[0], seed=2)
    views = [(t * MOTION[0], t * MOTION[1]) for t in range(CLIP_LENGTH)]
    frames = torch.stack([whole[..., y : y + size, x : x + size] for x, y in views], dim=1).to(device)  # in [0, 1]
    flow = torch.stack([_clip_flow(clip, estimator) for clip in frames])  # (B, T-1, 2, 2, H, W)
    flow_fwd, flow_bwd = flow.unbind(2)
    masks = {"mask_fwd": _masks(flow_fwd, flow_bwd), "mask_bwd": _masks(flow_bwd, flow_fwd)}
    return {"video": {"frames": frames * 2 - 1, "flow_fwd": flow_fwd, "flow_bwd": flow_bwd, **masks}}


def make_pictures(batch: int, channels: int, height: int, width: int, seed: int) -> Tensor:
    """(B, C, H, W) in [0, 1], smooth and different everywhere."""
    coarse = max(2, height // GRAIN), max(2, width // GRAIN)
    noise = torch.rand(batch, channels, *coarse, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


def _clip_flow(clip: Tensor, estimator: FlowEstimator) -> Tensor:
    """Forward and backward flow of each pair of neighbours, (T-1, 2, 2, H, W) [px]."""
    pairs = zip(clip[:-1], clip[1:], strict=True)
    return torch.stack([flow_both_ways(estimator, src[None], tgt[None]) for src, tgt in pairs])


def _masks(flow: Tensor, flow_back: Tensor) -> Tensor:
    """(B, T-1, 1, H, W) bool."""
    return forward_backward_mask(flow.flatten(0, 1), flow_back.flatten(0, 1)).unflatten(0, flow.shape[:2])
