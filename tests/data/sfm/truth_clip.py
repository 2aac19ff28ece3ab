"""A clip with true depth and poses on disk: the wall z = 200 + 0.2 x [mm], seen by a camera that moves along x."""

import json
from pathlib import Path

import numpy as np

from data.clip_truth import ClipTruth
from data.clips import Clip, find_clips
from data.depth_files import write_depth, write_depth_json
from tests.data.sfm.tiny_clip import CENTRE, FOCAL, SIZE, STEP, write_frame

VIEWS = 10


def wall_depth(x_camera: float) -> np.ndarray:
    """Depth [mm] seen from a camera at x: z = 200 + 0.2 (x + u z)."""
    u = (np.arange(SIZE[1]) - CENTRE[0]) / FOCAL[0]
    return np.broadcast_to((200 + 0.2 * x_camera) / (1 - 0.2 * u), SIZE)


def write_truth_clip(root: Path) -> tuple[Clip, ClipTruth]:
    """``root/video_train/a`` and ``root/truth/video_train/a``."""
    folder, truth = root / "video_train" / "a", root / "truth" / "video_train" / "a"
    poses = np.tile(np.eye(4), (VIEWS, 1, 1))
    poses[:, 0, 3] = 100 * STEP * np.arange(VIEWS)
    for view in range(VIEWS):
        write_frame(folder / f"{view:06d}.png", view)
        write_depth(truth / "depth" / f"{view:06d}.png", wall_depth(poses[view, 0, 3]).astype(np.float32), 0.01)
    write_depth_json(truth / "depth", 0.01)
    fields = {"width": SIZE[1], "height": SIZE[0], "fx": FOCAL[0], "fy": FOCAL[1], "cx": CENTRE[0], "cy": CENTRE[1]}
    (folder / "intrinsics.json").write_text(json.dumps(fields))
    (truth / "poses.json").write_text(json.dumps({"world_from_cam": poses.tolist()}))
    clip = find_clips(root / "video_train")[0]
    return clip, ClipTruth(root, "video_train", clip)
