"""Hamlyn, rectified by Endo-Depth-and-Motion (Recasens et al., RA-L 2021): laparoscopy with depth from stereo."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.depth_files import DepthEncoding, decode_picture
from data.formats.base import Found, Item, SequenceFormat, files_under, pair_items, read_numbers
from data.pairing import find_pairs
from util.errors import UserError
from util.intrinsics import Intrinsics

DEPTH_OF = {"image01": "depth01", "color": "depth"}  # folders of the set, and of its test sequences
ENCODING = DepthEncoding(1.0, bits=16)
CAMERA = "intrinsics.txt"


class HamlynFormat(SequenceFormat):
    """``rectified01/image01/0000000001.jpg`` and ``rectified01/depth01/0000000001.png``, or ``color/`` and ``depth/``.

    Beside the folders ``intrinsics.txt`` has the camera (3x3 or 3x4).
    Depth is 16 bits in mm, 0 being invalid. All sequences are for testing, as the set is used for models that were
    trained on others.
    """

    full_scale_mm = None

    def find_sequences(self) -> Mapping[str, Found]:
        frames = sorted({path.parent for path in files_under(self.root, "*.jpg") if path.parent.name in DEPTH_OF})
        if not frames:
            raise FileNotFoundError(f"{self.root} has no folders like rectified01/image01 and rectified01/depth01")
        found = {}
        for folder in frames:
            name, depths = folder.parent.resolve().name, folder.with_name(DEPTH_OF[folder.name])
            if not depths.is_dir():
                raise UserError(f"{folder} has frames, but there is no folder {depths} with their depth")
            found[name] = pair_items(find_pairs(folder, depths), lambda stem, name=name: name, prefix=f"{name}_")
        return found

    def default_split(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        return {"test": list(names)}

    def read_depth_mm(self, item: Item) -> np.ndarray:
        return decode_picture(item.depth, ENCODING, "Hamlyn")

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        file = item.image.parent.parent / CAMERA
        return Intrinsics(read_K(file), size) if file.is_file() else None


@lru_cache(maxsize=64)
def read_K(file: Path) -> np.ndarray:
    """K float64 (3, 3) [px] of a 3x3 or 3x4 matrix."""
    count = 12 if len(file.read_text(encoding="utf-8").split()) == 12 else 9
    return read_numbers(file, count)[0].reshape(3, -1)[:, :3]
