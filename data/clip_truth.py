"""What only judging may see of a clip: true depth, flow with visibility and poses, as the phantom writes them.

``<dataroot>/truth/<split>/<clip>/`` holds ``depth/NNNNNN.png`` (with ``depth.json``), ``flow_fwd/NNNNNN.png`` (frame t
to t + 1, called as frame t) and ``flow_bwd/NNNNNN.png`` (t to t - 1, called as frame t) in KITTI's encoding, 16-bit
RGB: (u, v) = (value - 2^15) / 64 px, third channel 1 where the other frame sees the point; and ``poses.json``:
``world_from_cam``, a 4 x 4 matrix for each frame [mm].
"""

import json
from pathlib import Path

import numpy as np

from data.clips import Clip
from data.depth_files import read_depth_mm
from data.image_files import read_picture
from util.errors import UserError

FLOW_ZERO, FLOW_SCALE = 2**15, 64.0  # KITTI 2015
POSES_JSON = "poses.json"


class ClipTruth:
    """The truth of one clip of ``<dataroot>/<split>/``."""

    def __init__(self, dataroot: Path, split: str, clip: Clip) -> None:
        self.folder = dataroot / "truth" / split / clip.name
        self.stems = [path.stem for path in clip.files]
        self.count = len(clip)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def depth_mm(self, index: int) -> np.ndarray:
        """(H, W) [mm], 0 where invalid or outside the view."""
        return read_depth_mm(self.folder / "depth" / f"{self.stems[index]}.png")

    def flow_fwd(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Flow of frame ``index`` to the next [px], (2, H, W), and where the next sees the point, bool (H, W)."""
        return read_kitti_flow(self.folder / "flow_fwd" / f"{self.stems[index]}.png")

    def poses(self) -> np.ndarray | None:
        """Camera to world of each frame [mm], float64 (T, 4, 4), where the set has them.

        Raises:
            UserError: the file holds something else, or poses of more or fewer frames.
        """
        file = self.folder / POSES_JSON
        if not file.is_file():
            return None
        poses = read_poses_json(file)
        if len(poses) != self.count:
            raise UserError(
                f"{file} has {len(poses)} poses, but the clip has {self.count} frames; it needs one a frame"
            )
        return poses


def read_poses_json(file: Path) -> np.ndarray:
    """Camera to world [mm], float64 (T, 4, 4).

    Raises:
        UserError: the file holds something else.
    """
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        poses, unit = np.array(fields["world_from_cam"], dtype=np.float64), fields.get("unit", "mm")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} does not hold poses ({error!r}); it needs world_from_cam, 4x4 for each frame"
        ) from None
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not np.isfinite(poses).all():
        raise UserError(f"{file}: world_from_cam must be finite and (frames, 4, 4), got {poses.shape}")
    if not np.allclose(poses[:, 3], [0, 0, 0, 1]):
        raise UserError(f"{file}: the last row of a pose must be 0 0 0 1; is it written row by row?")
    if unit != "mm":
        raise UserError(f"{file}: poses must be in mm, got {unit!r}")
    return poses


def read_kitti_flow(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Flow (2, H, W) float32 [px] and its mask, bool (H, W).

    Raises:
        UserError: the file is no 16-bit picture of three channels.
    """
    stored = read_picture(path)
    if stored.dtype != np.uint16 or stored.ndim != 3 or stored.shape[2] != 3:
        raise UserError(
            f"{path} is no flow in KITTI's encoding (16 bits, three channels), it is {stored.dtype} {stored.shape}"
        )
    mask, v, u = np.moveaxis(stored, 2, 0)  # OpenCV gives blue, green, red
    flow = (np.stack([u, v]).astype(np.float32) - FLOW_ZERO) / FLOW_SCALE
    return flow, mask > 0
