"""One clip of video with its reconstruction by structure from motion (SfM)."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from util.errors import UserError
from util.intrinsics import Intrinsics

INSIDE = 255  # of a mask: wholly inside the lens circle
MIN_POINTS, MIN_VIEWS = 3, 2  # with less there is nothing to learn from
SAME_CAMERA = 1e-6  # relative; views of one camera may differ by rounding


@dataclass(frozen=True)
class SfmClip:
    """What SfM knows of a clip. Length has a unit of the clip's own: SfM sees no scale.

    A view is a frame that SfM has registered; views are in the order of time.

    Args:
        name: of the clip.
        folder: that it was read from, for messages.
        frames: picture of each view; None where it is not there (poses and points of such a view still count).
        numbers: frame number of each view, ascending, int64 (V,).
        camera: of all views, at the size of the frames.
        poses: world_from_cam, float64 (V, 4, 4).
        points: in the world, float64 (N, 3).
        observations: which view a point was triangulated from, int32 (M, 2): (view, point), sorted, each once.
        mask: uint8 (H, W) of the frames' size: ``INSIDE`` in the lens circle, 0 outside, what is between on the rim.

    Raises:
        UserError: what is given contradicts itself, or is too little to learn from; names the folder.
    """

    name: str
    folder: Path
    frames: tuple[Path | None, ...]
    numbers: np.ndarray
    camera: Intrinsics
    poses: np.ndarray
    points: np.ndarray
    observations: np.ndarray
    mask: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        if len(self) < MIN_VIEWS or len(self.points) < MIN_POINTS:
            raise UserError(
                f"{self.folder} has {len(self)} registered views and {len(self.points)} points; a clip needs at least "
                f"{MIN_VIEWS} and {MIN_POINTS}"
            )
        if not (len(self.frames) == len(self.numbers) == len(self.poses)):
            counts = f"{len(self.frames)} frames, {len(self.numbers)} numbers and {len(self.poses)} poses"
            raise UserError(f"{self.folder} has {counts}; each view needs one of them")
        if not (np.isfinite(self.poses).all() and np.isfinite(self.points).all()):
            raise UserError(f"{self.folder} has poses or points that are not finite")
        if self.mask.shape != self.camera.size or self.mask.dtype != np.uint8:
            raise UserError(
                f"{self.folder}: the mask is {self.mask.dtype} {self.mask.shape}, but frames are {self.camera.size}"
            )

    def __len__(self) -> int:
        """Number of views."""
        return len(self.poses)

    @cached_property
    def cam_from_world(self) -> np.ndarray:
        """The extrinsics E = pose^-1, float64 (V, 4, 4):  X_cam = E X_world."""
        back = self.poses[:, :3, :3].transpose(0, 2, 1)
        extrinsics = np.tile(np.eye(4), (len(self), 1, 1))
        extrinsics[:, :3, :3] = back
        extrinsics[:, :3, 3] = -np.einsum("vij,vj->vi", back, self.poses[:, :3, 3])
        return extrinsics

    @cached_property
    def track_lengths(self) -> np.ndarray:
        """How many views each point was triangulated from, int64 (N,)."""
        return np.bincount(self.observations[:, 1], minlength=len(self.points))

    @cached_property
    def views_with_frames(self) -> np.ndarray:
        """Numbers of the views whose picture is there, int64."""
        return np.flatnonzero([frame is not None for frame in self.frames])

    def in_camera(self, view: int, points: np.ndarray) -> np.ndarray:
        """Points by number (M,) in the camera of a view, float64 (M, 3)."""
        extrinsic = self.cam_from_world[view]
        return self.points[points] @ extrinsic[:3, :3].T + extrinsic[:3, 3]


def project_points(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Pixels (x, y) of points (..., 3) in camera coordinates, (..., 2); nan at or behind the camera.

    (x, y) = (fx X / Z + cx, fy Y / Z + cy)
    """
    depth = points[..., 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = np.where(depth > 0, points[..., :2] / depth, np.nan)
    return flat * (K[0, 0], K[1, 1]) + (K[0, 2], K[1, 2])


def keep_points(points: np.ndarray, observations: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points (N, 3) that are kept, bool (N,), and what was observed of these, int32 (M, 2): sorted, each once."""
    observations = observations[kept[observations[:, 1]]]
    observations[:, 1] = (np.cumsum(kept) - 1)[observations[:, 1]]
    return points[kept], np.unique(observations, axis=0).astype(np.int32)
