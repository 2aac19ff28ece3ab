"""An SfM clip that is small enough to be worked out by hand: a camera that moves along x before a tilted wall."""

from pathlib import Path

import cv2
import numpy as np

from data.sfm.clip import SfmClip
from util.intrinsics import Intrinsics

SIZE = (48, 64)  # (H, W)
FOCAL = (50.0, 40.0)  # fx, fy: not equal
CENTRE = (30.0, 22.0)  # cx, cy: off the middle
STEP = 0.1  # the camera's way from view to view


def make_clip(
    num_views: int = 8, num_points: int = 30, frames: Path | None = None, seed: int = 0, first_number: int = 100
) -> SfmClip:
    """A clip whose points lie on the wall z = 2 + 0.2 x and are seen in a few views in a row.

    Args:
        num_views, num_points: counts.
        frames: folder that gets a picture a view; None: there are no pictures.
        seed: of points and tracks.
        first_number: of the frames.
    """
    rng = np.random.default_rng(seed)
    K = np.array([[FOCAL[0], 0, CENTRE[0]], [0, FOCAL[1], CENTRE[1]], [0, 0, 1.0]])
    poses = np.tile(np.eye(4), (num_views, 1, 1))
    poses[:, 0, 3] = STEP * np.arange(num_views)
    x, y = rng.uniform(-0.6, 0.9, num_points), rng.uniform(-0.6, 0.6, num_points)
    points = np.stack([x, y, 2 + 0.2 * x], axis=1)
    tracks = []
    for point in range(num_points):
        length = int(rng.integers(2, min(6, num_views) + 1))
        start = int(rng.integers(0, num_views - length + 1))
        tracks += [(view, point) for view in range(start, start + length)]
    observations = np.array(sorted(tracks), np.int32)
    files: tuple[Path | None, ...] = (None,) * num_views
    if frames is not None:
        files = tuple(write_frame(frames / f"{first_number + view:08d}.png", view) for view in range(num_views))
    numbers = first_number + np.arange(num_views)
    mask = np.full(SIZE, 255, np.uint8)
    return SfmClip(
        "tiny", frames or Path("tiny"), files, numbers, Intrinsics(K, SIZE), poses, points, observations, mask
    )


def write_frame(file: Path, seed: int) -> Path:
    """A smooth picture, never black."""
    noise = np.random.default_rng(seed).uniform(0, 255, (*SIZE, 3))
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 60, 240, cv2.NORM_MINMAX).astype(np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), smooth)
    return file
