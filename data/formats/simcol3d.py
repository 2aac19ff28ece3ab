"""SimCol3D (Rau et al., MedIA 2024): colons rendered from CT, with depth, one camera and exact poses."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from data.depth_files import read_depth_mm
from data.formats.base import Found, Item, SequenceFormat, files_under, pair_items, read_numbers
from data.pairing import find_pairs
from util.errors import UserError
from util.intrinsics import Intrinsics

# The challenge's own split: numbers of trajectories of colons I (S) and II (B); colon III (O) is for testing alone.
NUMBERS = {"train": (1, 2, 3, 6, 7, 8, 11, 12, 13), "eval": (4, 9, 14), "test": (5, 10, 15)}
TEST_COLON = "O"
TRAJECTORY = re.compile(r"(?:Frames_)?([SBO])(\d+)")
SIZE = (475, 475)  # that cam.txt is for
CM = 10.0  # mm
# Unity's axes are x right, y up, z forward; turning y round makes them ours.
OUR_AXES = np.diag([1.0, -1.0, 1.0, 1.0])


class Simcol3dFormat(SequenceFormat):
    """``.../Frames_S1/FrameBuffer_0000.png`` and ``Depth_0000.png``.

    Depth is 16 bits, 65280 being 200 mm. In the folder of a trajectory or above it are ``cam.txt`` (K, 9 numbers), and
    ``SavedPosition_S1.txt`` [cm] with ``SavedRotationQuaternion_S1.txt`` (x, y, z, w), a line a frame.
    """

    full_scale_mm = 200.0

    def find_sequences(self) -> Mapping[str, Found]:
        folders = sorted({path.parent for path in files_under(self.root, "FrameBuffer_*.png")})
        if not folders:
            raise FileNotFoundError(f"{self.root} has no files like Frames_S1/FrameBuffer_0000.png under it")
        found: dict[str, Found] = {}
        for folder in folders:
            name = trajectory_of(folder)
            if name in found:
                raise UserError(f"{self.root} has the trajectory {name} twice; one of them is {folder}")
            found[name] = pair_items(find_pairs(folder, folder), lambda stem, name=name: name, prefix=f"{name}_")
        return found

    def default_split(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        return {phase: [name for name in names if _phase_of(name) == phase] for phase in NUMBERS}

    def read_depth_mm(self, item: Item) -> np.ndarray:
        return read_depth_mm(item.depth, "simcol3d" if self.depth_format == "auto" else self.depth_format)

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        file = self._near(item, "cam.txt")
        return None if file is None else Intrinsics(read_K(file), SIZE)

    def pose(self, item: Item) -> np.ndarray | None:
        places = self._near(item, f"SavedPosition_{item.sequence}.txt")
        turns = self._near(item, f"SavedRotationQuaternion_{item.sequence}.txt")
        if places is None or turns is None:
            return None
        poses, number = read_unity_poses(places, turns), int(item.image.stem.rsplit("_", 1)[1])
        if number >= len(poses):
            raise UserError(f"{places} has {len(poses)} lines, but there is a frame {item.image}")
        return poses[number]

    def _near(self, item: Item, name: str) -> Path | None:
        """A file of that name in the frames' folder or in those around it, up to the root."""
        folders = [item.image.parent, *item.image.parent.parents]
        around = folders[: folders.index(self.root) + 1]
        return next((folder / name for folder in around if (folder / name).is_file()), None)


def trajectory_of(folder: Path) -> str:
    """``Frames_S1`` is S1; any other folder keeps its name."""
    found = TRAJECTORY.fullmatch(folder.name)
    return f"{found[1]}{found[2]}" if found else folder.name


def _phase_of(name: str) -> str | None:
    found = TRAJECTORY.fullmatch(name)
    if found is None:
        return None
    if found[1] == TEST_COLON:
        return "test"
    return next((phase for phase, numbers in NUMBERS.items() if int(found[2]) in numbers), None)


@lru_cache(maxsize=64)
def read_unity_poses(places: Path, turns: Path) -> np.ndarray:
    """Camera-to-world poses (T, 4, 4) [mm] in our axes, from Unity's positions [cm] and quaternions (x, y, z, w).

    Raises:
        UserError: the files do not have as many lines as each other, or a line is no such numbers.
    """
    positions, quaternions = read_numbers(places, 3), read_numbers(turns, 4)
    if len(positions) != len(quaternions):
        raise UserError(f"{places} has {len(positions)} lines, but {turns} {len(quaternions)}")
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = Rotation.from_quat(quaternions).as_matrix(), positions * CM
    return OUR_AXES @ poses @ OUR_AXES


@lru_cache(maxsize=64)
def read_K(file: Path) -> np.ndarray:
    """K float64 (3, 3) [px] of a text file."""
    return read_numbers(file, 9)[0].reshape(3, 3)
