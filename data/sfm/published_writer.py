"""Writes clips in the layout of ``data.sfm.published``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from data.image_files import write_picture
from data.sfm.clip import SfmClip
from data.sfm.mask import MASKS
from data.sfm.published import CAMERA, MOTION, NEW_POINT, SELECTED, STRUCTURE, TRACKS, VISIBLE
from util.files import write_text

POSE = """\
  poses[{index}]:
    position:
      x: {}
      y: {}
      z: {}
    orientation:
      x: {}
      y: {}
      z: {}
      w: {}
"""
MOTION_HEADER = """\
header:
  seq: 0
  stamp: 0.000000000
  frame_id:
poses[]:
"""
PLY_HEADER = """\
ply
format ascii 1.0
comment unit: of the clip's own, SfM knows no scale
element vertex {count}
property float x
property float y
property float z
end_header
"""


def write_published(clip: SfmClip, folder: Path) -> None:
    """Write all of a clip but its frames, which belong beside it under their numbers (``%08d.jpg``).

    Reading it back gives the same numbers, to the rounding of float64.

    Raises:
        ValueError: a point has no track, or the camera has skew: the layout has no place for these.
        OSError: a file cannot be written.
    """
    K = clip.camera.K
    if not clip.track_lengths.all():
        raise ValueError(f"point {int(clip.track_lengths.argmin())} of {clip.name} has no track")
    if K[0, 1] != 0:
        raise ValueError(f"the camera of {clip.name} has skew {K[0, 1]}, which the layout cannot express")
    quaternions = Rotation.from_matrix(clip.poses[:, :3, :3]).as_quat()  # x, y, z, w
    poses = np.concatenate([clip.poses[:, :3, 3], quaternions], axis=1).tolist()
    motion = MOTION_HEADER + "".join(POSE.format(*pose, index=index) for index, pose in enumerate(poses))
    tracks: list[list[int]] = [[NEW_POINT] for _ in clip.points]
    for view, point in clip.observations.tolist():
        tracks[point].append(int(clip.numbers[view]))
    vertices = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in clip.points.tolist())
    for name in (SELECTED, VISIBLE):
        write_text(folder / name, _one_a_line(clip.numbers.tolist()))
    write_text(folder / CAMERA, _one_a_line([float(K[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))]))
    write_text(folder / MOTION, motion)
    write_text(folder / STRUCTURE, PLY_HEADER.format(count=len(clip.points)) + vertices)
    write_text(folder / TRACKS, _one_a_line([number for track in tracks for number in track]))
    write_picture(folder / MASKS[0], clip.mask)


def _one_a_line(values: Sequence[float]) -> str:
    return "".join(f"{value!r}\n" for value in values)
