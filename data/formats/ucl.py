"""UCL ColonoscopyDepth (Rau et al., IJCARS 2019): rendered colons of three textures (T) under three lights (L)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.depth_files import read_depth_mm
from data.formats.base import Found, Item, SequenceFormat, files_under, pair_items
from data.formats.splits import split_by_share
from data.pairing import is_depth_name, pair_files

SEQUENCE = re.compile(r"(?P<name>([A-Z]_)?T\d+_L\d+_(?P<path>\d+))_")  # T3_L1_1_resized_FrameBuffer_0294


class UclFormat(SequenceFormat):
    """``T3_L1_1_resized_FrameBuffer_0294.png`` and ``T3_L1_1_resized_Depth_0294.png``, in any folders under the root.

    Depth is 8 bits, 255 being 200 mm. All textures and lights of one camera path show the same surface from the same
    places, so they are in one split.
    """

    full_scale_mm = 200.0

    def find_sequences(self) -> Mapping[str, Found]:
        files: dict[str, list[Path]] = {}
        for path in files_under(self.root, "*_FrameBuffer_*.png") + files_under(self.root, "*_Depth_*.png"):
            if found := SEQUENCE.match(path.name):
                files.setdefault(found["name"], []).append(path)
        if not files:
            raise FileNotFoundError(f"{self.root} has no files like T3_L1_1_resized_FrameBuffer_0294.png under it")
        return {name: _pair(name, paths) for name, paths in files.items()}

    def default_split(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        return split_by_share(names, group=lambda name: SEQUENCE.match(f"{name}_")["path"])

    def read_depth_mm(self, item: Item) -> np.ndarray:
        return read_depth_mm(item.depth, "ucl8" if self.depth_format == "auto" else self.depth_format)


def _pair(name: str, files: list[Path]) -> Found:
    depths = [path for path in files if is_depth_name(path.stem)]
    frames = [path for path in files if not is_depth_name(path.stem)]
    return pair_items(pair_files(frames, depths), lambda stem: name)
