"""A clip whose camera path, depth and scale are known, and a method that can tell all of them from its frames."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from data.transforms import Preprocessing
from evaluation.predictor import Predictor
from models.base_model import BaseModel
from tests.tiny_run import FRAME, MM_PER_UNIT8, write_png

PINHOLE = {"model": "pinhole", "width": 44, "height": 36, "fx": 40.0, "fy": 38.0, "cx": 20.0, "cy": 17.0}


def spiral(count: int) -> np.ndarray:
    """world_from_cam (T, 4, 4) [mm]: round the z axis and along it, turning by 10 degrees a frame."""
    t = np.arange(count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("z", 10 * t[:, None], degrees=True).as_matrix()
    poses[:, :3, 3] = np.stack([20 * np.cos(0.3 * t), 15 * np.sin(0.3 * t), 4.0 * t], axis=1)
    return poses


def motions_of(world_from_cam: np.ndarray) -> np.ndarray:
    """next_from_this (T - 1, 4, 4) of a path."""
    return np.linalg.inv(world_from_cam[1:]) @ world_from_cam[:-1]


class Knowing(BaseModel):
    """Depth is brightness times the frame's ``scales``; motion is one of ``motions``, its translation times ``unit``.

    The first pixel of a frame says which one it is.
    """

    metric = False
    predicts_motion = True

    def __init__(self, motions=(), scales=None, unit=1.0):
        super().__init__(None)
        self.motions, self.scales, self.unit = motions, scales, unit
        self.asked = []  # (target, source, K) of each motion

    def predict(self, images):
        assert not self.training
        depth_mm = (images.mean(dim=1, keepdim=True) + 1) / 2 * 255 * MM_PER_UNIT8
        scales = [1.0 if self.scales is None else self.scales[index] for index in numbers(images)]
        return depth_mm * torch.tensor(scales)[:, None, None, None]

    def predict_motion(self, tgt, src, K):
        assert not self.training
        self.asked += zip(numbers(tgt), numbers(src), K.tolist(), strict=True)
        motions = torch.tensor(np.array([self.motions[index] for index in numbers(tgt)]))
        motions[:, :3, 3] *= self.unit
        return motions


def numbers(images: torch.Tensor) -> list[int]:
    return ((images[:, 0, 0, 0] + 1) / 2 * 255).round().int().tolist()


def knowing_predictor(**known) -> Predictor:
    return Predictor(Knowing(**known), Preprocessing("none"), torch.device("cpu"))


def write_moving_clip(dataroot: Path, poses: np.ndarray, clip: str = "clip", split: str = "video_test") -> Path:
    """Frames with a camera, and their truth: smooth depth, no motion in the picture, and these poses."""
    frames, truth = dataroot / split / clip, dataroot / "truth" / split / clip
    flow = np.full((*FRAME, 3), 2**15, np.uint16)
    flow[..., 0] = 1  # OpenCV's order: seen, v, u
    for number in range(len(poses)):
        noise = np.random.default_rng(number).uniform(0, 1, FRAME)
        stored = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 40, 120, cv2.NORM_MINMAX).astype(np.uint8)
        rgb = np.repeat(stored[..., None], 3, axis=2)
        rgb[0, 0], stored[0, 0] = number, 0
        write_png(frames / f"{number:04d}.png", rgb)
        write_png(truth / "depth" / f"{number:04d}.png", stored)
        write_png(truth / "flow_fwd" / f"{number:04d}.png", flow[..., ::-1])
    (frames / "intrinsics.json").write_text(json.dumps(PINHOLE))
    (truth / "depth" / "depth.json").write_text(json.dumps({"mm_per_unit": MM_PER_UNIT8}))
    (truth / "poses.json").write_text(json.dumps({"world_from_cam": poses.tolist(), "unit": "mm"}))
    return dataroot
