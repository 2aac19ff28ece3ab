"""A data set that ``python -m data.pack`` made: frames and depth at their size for training, in arrays on the disk.

``packed.json`` says how it was made and which splits there are. A split is a folder of shards: ``00000.image.npy``,
uint8 (N, H, W, 3), ``00000.depth.npy``, uint16 (N, H, W), where there is depth, and ``00000.json`` with name, sequence,
camera and pose of each frame and the checksums of the arrays. A frame's path is that of its array, with its number
behind it.
"""

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.array_files import mapped_array
from data.clips import Clip
from data.formats.base import DataFormat, Found, Item
from util.errors import UserError
from util.intrinsics import Intrinsics

PACKED_JSON = "packed.json"
FORMAT = 1
MM_PER_UNIT = 1 / 128  # up to 512 mm, in steps of 8 micrometres


class PackedFormat(DataFormat):
    """What any of the other formats became by ``data.pack``; ``--dataroot`` finds it by its ``packed.json``."""

    @cached_property
    def index(self) -> dict[str, Any]:
        """The content of ``packed.json``."""
        return _read_json(self.root / PACKED_JSON)

    def phases(self) -> list[str]:
        return [phase for phase, facts in self.index["phases"].items() if facts["depth"]]

    def find(self, phase: str) -> Found:
        if phase not in self.index["phases"]:
            raise FileNotFoundError(f"{self.root} has no split {phase}; packed were {', '.join(self.index['phases'])}")
        return Found([item for item, _ in self._rows(phase).values()])

    def _clip(self, name: str, items: list[Item]) -> Clip:
        file = packed_view_file(items[0].image.parents[1], name)
        return replace(super()._clip(name, items), view_file=file if file.is_file() else None)

    def read_frame(self, file: Path) -> np.ndarray:
        return mapped_array(file.parent)[int(file.name)].astype(np.float32) / 255.0

    def read_depth_mm(self, item: Item) -> np.ndarray:
        return mapped_array(item.depth.parent)[int(item.depth.name)].astype(np.float32) * MM_PER_UNIT

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        K = self._facts(item)["K"]
        return None if K is None else Intrinsics(np.array(K), size)

    def pose(self, item: Item) -> np.ndarray | None:
        pose = self._facts(item)["pose"]
        return None if pose is None else np.array(pose)

    def _facts(self, item: Item) -> dict[str, Any]:
        return self._rows(item.image.parents[1].name)[item.image][1]

    def _rows(self, phase: str) -> dict[Path, tuple[Item, dict[str, Any]]]:
        if phase not in self._read:
            self._read[phase] = {item.image: (item, facts) for item, facts in self._read_rows(phase)}
        return self._read[phase]

    @cached_property
    def _read(self) -> dict[str, dict[Path, tuple[Item, dict[str, Any]]]]:
        return {}

    def _read_rows(self, phase: str) -> list[tuple[Item, dict[str, Any]]]:
        rows = []
        for number in range(self.index["phases"][phase]["shards"]):
            shard = self.root / phase / f"{number:05d}"
            for row, facts in enumerate(_read_json(shard.with_suffix(".json"))["frames"]):
                image, depth = (Path(f"{shard}.{kind}.npy") / str(row) for kind in ("image", "depth"))
                rows.append((Item(facts["name"], image, depth, facts["sequence"]), facts))
        return rows


def packed_view_file(split: Path, clip: str) -> Path:
    """Where the view of a clip lies (``data.clips.write_clip_view``)."""
    return split / "views" / f"{clip}.npy"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); pack the data set again") from None
    if content.get("format") != FORMAT:
        raise UserError(f"{file} is of format {content.get('format')}, this version reads {FORMAT}; pack it again")
    return content
