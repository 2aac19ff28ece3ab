"""Any data set, by a table: ``manifest.csv`` names the files, and says what is known of each frame."""

import csv
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from data.depth_files import find_encoding
from data.formats.base import DataFormat, Found, Item
from util.errors import UserError
from util.intrinsics import Intrinsics

MANIFEST = "manifest.csv"
NEEDED = ("image", "depth")
CAMERA = ("fx", "fy", "cx", "cy")
POSE = ("tx", "ty", "tz", "qx", "qy", "qz", "qw")
KNOWN = (*NEEDED, "split", "sequence", "time", *CAMERA, *POSE)


class ManifestFormat(DataFormat):
    """A CSV with a line of names and a line a frame; paths are relative to the table's folder.

    Columns: ``image``, ``depth``; optional ``split`` (default train), ``sequence``, ``time`` [s], by which frames of a
    sequence are ordered, ``fx, fy, cx, cy`` [px], and ``tx, ty, tz`` [mm] with ``qx, qy, qz, qw``: camera to world.
    Depth is encoded as ``--depth_format`` or a ``depth.json`` beside the files says.
    """

    def phases(self) -> list[str]:
        return sorted({row.get("split") or "train" for row in self._rows})

    def find(self, phase: str) -> Found:
        rows = [row for row in self._rows if (row.get("split") or "train") == phase]
        if not rows:
            raise FileNotFoundError(f"{self.file} has no frame of the split {phase}; it has {', '.join(self.phases())}")
        items = [self._item(row) for row in sorted(rows, key=lambda row: (row.get("sequence") or "", _time(row)))]
        return Found(items)

    def relative(self, item: Item) -> bool:
        return find_encoding(item.depth, self.depth_format, bits=8).relative

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        numbers = self._numbers(item, CAMERA)
        if numbers is None:
            return None
        fx, fy, cx, cy = numbers
        return Intrinsics(np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]), size)

    def pose(self, item: Item) -> np.ndarray | None:
        numbers = self._numbers(item, POSE)
        if numbers is None:
            return None
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = Rotation.from_quat(numbers[3:]).as_matrix(), numbers[:3]
        return pose

    @property
    def file(self) -> Path:
        return self.root if self.root.is_file() else self.root / MANIFEST

    @cached_property
    def _rows(self) -> list[dict[str, str]]:
        if not self.file.is_file():
            raise FileNotFoundError(f"there is no table {self.file}; its columns are {', '.join(KNOWN)}")
        with self.file.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            missing = [name for name in NEEDED if name not in columns]
            unknown = [name for name in columns if name not in KNOWN]
            if missing or unknown:
                fault = (
                    f"lacks the columns {', '.join(missing)}" if missing else f"has the columns {', '.join(unknown)}"
                )
                raise UserError(f"{self.file} {fault}; known are {', '.join(KNOWN)}")
            rows = [row | {"line": str(reader.line_num)} for row in reader]
        for row in rows:
            if None in row or not all(row[name] for name in NEEDED):
                fault = "more cells than columns" if None in row else "image or depth is empty"
                raise UserError(f"{self.file}, line {row['line']}: {fault}")
        return [{name: (value or "").strip() for name, value in row.items()} for row in rows]

    @cached_property
    def _row_of(self) -> Mapping[Path, dict[str, str]]:
        return {self.file.parent / row["image"]: row for row in self._rows}

    def _item(self, row: dict[str, str]) -> Item:
        image, depth = (self.file.parent / row[name] for name in NEEDED)
        name = str(Path(row["image"]).with_suffix("")).replace("/", "_")
        return Item(name, image, depth, row.get("sequence", ""))

    def _numbers(self, item: Item, columns: tuple[str, ...]) -> list[float] | None:
        """The values of a row's columns; None where all of them are empty."""
        row = self._row_of[item.image]
        texts = [row.get(name, "") for name in columns]
        if not any(texts):
            return None
        try:
            return [float(text) for text in texts]
        except ValueError:
            raise UserError(
                f"{self.file}, line {row['line']}: {', '.join(columns)} must be numbers, got {texts}"
            ) from None


def _time(row: dict[str, str]) -> float:
    try:
        return float(row.get("time") or row["line"])
    except ValueError:
        raise UserError(f"line {row['line']} of the table: time must be a number, got {row['time']!r}") from None
