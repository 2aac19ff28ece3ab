"""Estimators of optical flow: torchvision's RAFT, and OpenCV's DIS, which needs no weights and no GPU.

An estimator is called with two batches of frames (B, 3, H, W) in [0, 1] and returns the flow from the first to the
second, (B, 2, H, W) float32 [px], without gradient, on the frames' device.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights, raft_large, raft_small

from util.colour import luminance
from util.errors import UserError
from util.padding import crop, pad_to_multiple
from util.weight_files import load_strictly, read_or_download

RAFT = {  # name: (network, published weights)
    "raft_large": (raft_large, Raft_Large_Weights.DEFAULT),
    "raft_small": (raft_small, Raft_Small_Weights.DEFAULT),
}


class FlowEstimator(Protocol):
    """What every estimator offers."""

    name: str
    fingerprint: str  # of the name, the settings and the weights: two that are equal give the same flow

    def __call__(self, images_src: Tensor, images_tgt: Tensor) -> Tensor: ...


class RaftEstimator:
    """RAFT (Teed and Deng, ECCV 2020) as torchvision has it, in float32 (TF32 with ``--precision tf32``)."""

    stride = 8  # RAFT correlates maps of an eighth of the size
    min_side = 128  # below, the coarsest of its correlation maps would be empty [px]
    num_updates = 12

    def __init__(self, name: str, weights: Path | None = None) -> None:
        build, published = RAFT[name]
        advice = f"give a local file with --flow_weights FILE (from {published.url}) or use --flow dis"
        state = read_or_download(weights, published, advice)
        self.name = name
        self.network = build(weights=None, progress=False).eval().requires_grad_(False)
        load_strictly(self.network, state, source=weights or published.url)
        self.fingerprint = f"{name}:updates={self.num_updates}:weights={_digest(self.network.state_dict())}"

    @torch.no_grad()
    def __call__(self, images_src: Tensor, images_tgt: Tensor) -> Tensor:
        _check_images(images_src, images_tgt)
        network = self.network.to(images_src.device)
        both = torch.cat((images_src.float(), images_tgt.float())) * 2 - 1  # as torchvision's OpticalFlow transform
        padded, place = pad_to_multiple(both, self.stride, self.min_side)
        with torch.autocast(images_src.device.type, enabled=False):
            flow = network(*padded.chunk(2), num_flow_updates=self.num_updates)[-1]
        return crop(flow, place).contiguous()


class DisEstimator:
    """Dense inverse search (Kroeger et al., ECCV 2016) by OpenCV, medium preset, a pair at a time on the CPU."""

    name = "dis"
    fingerprint = "dis:preset=medium:finest_scale=0"
    min_side = 32  # its patches and pyramid need some room [px]

    def __init__(self, name: str = name, weights: Path | None = None) -> None:
        if weights is not None:
            raise UserError(f"flow {name} has no weights, but got {weights}; leave --flow_weights out")

    @torch.no_grad()
    def __call__(self, images_src: Tensor, images_tgt: Tensor) -> Tensor:
        _check_images(images_src, images_tgt)
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        dis.setFinestScale(0)  # full size: the preset stops at half; the error of its flow is larger
        padded, place = pad_to_multiple(torch.cat((images_src.float(), images_tgt.float())), 1, self.min_side)
        grey_src, grey_tgt = np.split(_to_grey(padded), 2)
        flows = [dis.calc(src, tgt, None) for src, tgt in zip(grey_src, grey_tgt, strict=True)]  # (H, W, 2) each
        flow = torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2)
        return crop(flow, place).contiguous().to(images_src.device)


ESTIMATORS = {"raft_large": RaftEstimator, "raft_small": RaftEstimator, "dis": DisEstimator}


def create_flow_estimator(name: str, weights: Path | None = None) -> FlowEstimator:
    """The estimator of that name.

    Args:
        name: one of ``ESTIMATORS``.
        weights: file of RAFT weights; without it torchvision's are downloaded.

    Raises:
        UserError: the name is unknown, the weights do not fit or cannot be downloaded.
        FileNotFoundError: there is no file ``weights``.
    """
    if name not in ESTIMATORS:
        raise UserError(f"unknown flow estimator {name!r}, known are: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name](name, weights)


def _check_images(images_src: Tensor, images_tgt: Tensor) -> None:
    if images_src.ndim != 4 or images_src.shape[1] != 3 or images_src.shape != images_tgt.shape:
        shapes = [tuple(images.shape) for images in (images_src, images_tgt)]
        raise ValueError(f"images_src and images_tgt must both be (B, 3, H, W), got {shapes}")


def _to_grey(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [0, 1] to (B, H, W) uint8."""
    return (luminance(images)[:, 0] * 255).round().clamp(0, 255).byte().cpu().numpy()


def _digest(state: Mapping[str, Tensor]) -> str:
    """The same for the same weights, whichever file they came from."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
