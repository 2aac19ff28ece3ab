"""A bumpy textured surface that a camera moves past, rendered; depth, poses and camera are known."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from tests.conftest import save_picture

SIZE = (200, 280)  # (H, W)
K = np.array([[240.0, 0.0, 148.0], [0.0, 232.0, 96.0], [0.0, 0.0, 1.0]])
TEXELS = 40.0  # of a unit of the surface
STEPS = 12  # of the search for the surface along a ray


@dataclass(frozen=True)
class Scene:
    """Frames of the surface.

    Args:
        folder: that they are in, with ``intrinsics.json``.
        poses: world_from_cam, (T, 4, 4).
        depths: (T, H, W).
    """

    folder: Path
    poses: np.ndarray
    depths: np.ndarray


def make_scene(folder: Path, count: int = 8, first: int = 20, seed: int = 4) -> Scene:
    """Write frames ``frame_<number>.png`` and the camera; each seed is another surface."""
    texture = _texture(seed)
    poses = np.stack([_pose(time) for time in np.linspace(-1, 1, count)])
    depths = []
    for number, pose in enumerate(poses, start=first):
        rgb, depth = _render(pose, texture)
        save_picture(folder / f"frame_{number:03d}.png", rgb)
        depths.append(depth)
    write_camera(folder / "intrinsics.json")
    return Scene(folder, poses, np.stack(depths))


def write_camera(file: Path, **more: object) -> Path:
    """That of the scene, as our files of intrinsics have it."""
    fields = {"width": SIZE[1], "height": SIZE[0], "fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    file.write_text(json.dumps(fields | more), encoding="utf-8")
    return file


def _pose(time: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [3 * time**2, -8 * time, 5 * time], degrees=True).as_matrix()
    pose[:3, 3] = (0.8 * time, 0.25 * time**2, 0.2 * time)
    return pose


def _height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 3.0 + 0.25 * np.sin(1.7 * x + 0.3) * np.cos(2.1 * y) + 0.15 * x


def _texture(seed: int) -> np.ndarray:
    """Blobs of several sizes, uint8 (N, N)."""
    rng = np.random.default_rng(seed)
    sheet = sum(scale * cv2.GaussianBlur(rng.standard_normal((512, 512)), (0, 0), scale) for scale in (1.0, 2.0, 4.0))
    return (127 + 127 * np.clip(sheet / (2.5 * sheet.std()), -1, 1)).astype(np.uint8)


def _render(pose: np.ndarray, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGB (H, W, 3) and depth (H, W) of the surface z = height(x, y)."""
    columns, rows = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    rays = np.stack([columns, rows, np.ones(SIZE)], axis=-1) @ np.linalg.inv(K).T @ pose[:3, :3].T
    depth = np.full(SIZE, 3.0)
    for _ in range(STEPS):  # the surface is nearly flat, so that this converges
        at = pose[:3, 3] + depth[..., None] * rays
        depth = (_height(at[..., 0], at[..., 1]) - pose[2, 3]) / rays[..., 2]
    at = pose[:3, 3] + depth[..., None] * rays
    maps = [(TEXELS * at[..., axis] + 256).astype(np.float32) for axis in (0, 1)]
    grey = cv2.remap(texture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.stack([grey, grey * 0.7 + 20, grey * 0.6 + 25], axis=-1).astype(np.uint8), depth
