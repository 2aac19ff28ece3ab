"""What every format of a data set tells: its frames with their depth, cameras and poses, split by split."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

import numpy as np

from data.clips import Clip
from data.depth_files import read_depth_mm
from data.formats.splits import PHASES, read_split
from data.image_files import natural_key, read_rgb
from data.pairing import Pairing
from util.errors import UserError
from util.intrinsics import Intrinsics


@dataclass(frozen=True)
class Item:
    """A frame with its depth map.

    Args:
        name: unique in the data set.
        image, depth: files, which may be the same one.
        sequence: frames of one sequence follow each other; "" where nothing is known of that.
    """

    name: str
    image: Path
    depth: Path
    sequence: str = ""

    @property
    def files(self) -> list[Path]:
        return list(dict.fromkeys([self.image, self.depth]))


@dataclass(frozen=True)
class Found:
    """Frames in their order, and files that belong to no pair."""

    items: list[Item]
    frames_alone: list[Path] = field(default_factory=list)
    depths_alone: list[Path] = field(default_factory=list)


def pair_items(pairing: Pairing, sequence: Callable[[str], str], prefix: str = "") -> Found:
    """Pairs as items; ``sequence`` is asked with a frame's stem, and ``prefix`` makes names unique."""
    items = [Item(prefix + frame.stem, frame, depth, sequence(frame.stem)) for frame, depth in pairing.pairs]
    return Found(items, pairing.frames_alone, pairing.depths_alone)


class DataFormat:
    """A data set on disk. A format is a subclass in a file of its own, registered in ``data.formats.FORMATS``.

    Args:
        root: folder of the data set.
        depth_format: see ``data.depth_files``; ``auto`` is what the set is known to have.
    """

    full_scale_mm: float | None = None  # depth beyond it cannot be in the files

    def __init__(self, root: Path, depth_format: str = "auto") -> None:
        self.root, self.depth_format = root, depth_format

    @classmethod
    def from_options(cls, opt: Namespace) -> "DataFormat":
        return cls(opt.dataroot, opt.depth_format)

    @staticmethod
    def add_options(parser: ArgumentParser) -> None:
        """Options that only this format has."""

    def phases(self) -> list[str]:
        """Splits that the data set has."""
        raise NotImplementedError

    def find(self, phase: str) -> Found:
        """The frames of a split.

        Raises:
            FileNotFoundError, UserError: there is no such split; says what is expected where.
        """
        raise NotImplementedError

    def items(self, phase: str) -> list[Item]:
        """The frames of a split, each with its depth.

        Raises:
            FileNotFoundError, UserError: there is none, or a file has no partner.
        """
        found = self.find(phase)
        alone = [*found.frames_alone, *found.depths_alone]
        if alone:
            listed = ", ".join(str(path) for path in alone[:5])
            raise UserError(
                f"{len(found.frames_alone)} frames of the split {phase} in {self.root} have no depth map and "
                f"{len(found.depths_alone)} depth maps no frame, e.g. {listed}; python -m data.check lists all"
            )
        if not found.items:
            raise FileNotFoundError(f"no frames of the split {phase} in {self.root}; is --dataroot right?")
        of_name: dict[str, Item] = {}
        for item in found.items:
            if of_name.setdefault(item.name, item) is not item:
                raise UserError(f"two frames have the name {item.name}: {of_name[item.name].image} and {item.image}")
        return found.items

    def clips(self, phase: str) -> list[Clip]:
        """The sequences of a split as video."""
        sequences: dict[str, list[Item]] = {}
        for item in self.items(phase):
            sequences.setdefault(item.sequence, []).append(item)
        return [self._clip(name, items) for name, items in sequences.items()]

    def _clip(self, name: str, items: list[Item]) -> Clip:
        size = self.read_frame(items[0].image).shape[:2]
        files = tuple(item.image for item in items)
        return Clip(name.replace("/", "_") or "all", files, camera=self.camera(items[0], size), reader=self.read_frame)

    def read_frame(self, file: Path) -> np.ndarray:
        """RGB in [0, 1], float32 (H, W, 3)."""
        return read_rgb(file)

    def read_depth_mm(self, item: Item) -> np.ndarray:
        """Depth along the optical axis [mm], float32 (H, W), 0 where invalid."""
        return read_depth_mm(item.depth, self.depth_format)

    def relative(self, item: Item) -> bool:
        """Whether depth has neither unit nor zero, so that only aligned scores mean something."""
        return False

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        """The pinhole camera of a frame as it is read, of ``size`` (H, W), where that is known."""
        return None

    def has_camera(self, item: Item) -> bool:
        """Whether ``camera`` knows one; reads no frame."""
        return self.camera(item, (1, 1)) is not None

    def pose(self, item: Item) -> np.ndarray | None:
        """Camera to world [mm], float64 (4, 4), where that is known."""
        return None


class SequenceFormat(DataFormat):
    """A data set of sequences, each of which belongs to one split as a whole.

    To which, is said by ``<root>/splits/<phase>.txt`` (a sequence a line) where there are such files, else by the split
    that was published with the set, or by ours.
    """

    def find_sequences(self) -> Mapping[str, Found]:
        """All sequences by name.

        Raises:
            FileNotFoundError: there is none; says what is expected.
            UserError: two have one name.
        """
        raise NotImplementedError

    def default_split(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        """The sequences of each split where the user has said nothing."""
        raise NotImplementedError

    @cached_property
    def sequences(self) -> dict[str, Found]:
        """In natural order of their names."""
        return dict(sorted(self.find_sequences().items(), key=lambda pair: natural_key(Path(pair[0]))))

    @cached_property
    def split(self) -> dict[str, list[str]]:
        """The sequences of each split."""
        names = list(self.sequences)
        said = read_split(self.root, names) or self.default_split(names)
        return {phase: list(said.get(phase, [])) for phase in PHASES}

    def phases(self) -> list[str]:
        return [phase for phase, names in self.split.items() if names]

    def find(self, phase: str) -> Found:
        if not self.split.get(phase):
            has = "; ".join(f"{name}: {', '.join(members)}" for name, members in self.split.items() if members)
            raise FileNotFoundError(
                f"{self.root} has no sequence for the split {phase} ({has}); to choose some, write their names into "
                f"{self.root}/splits/{phase}.txt, one a line"
            )
        parts = [self.sequences[name] for name in self.split[phase]]
        return Found(
            [item for part in parts for item in part.items],
            [path for part in parts for path in part.frames_alone],
            [path for part in parts for path in part.depths_alone],
        )


def read_numbers(file: Path, count: int, separator: str | None = None) -> np.ndarray:
    """The lines of a text file, or all of it where ``count`` numbers take several lines, float64 (T, count).

    Raises:
        UserError: it holds something else; says in which line.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    try:
        rows = [[float(word) for word in line.split(separator)] for line in lines if line.strip()]
    except ValueError as error:
        raise UserError(
            f"{file} holds something that is no number ({error}); expected {count} numbers a line"
        ) from None
    if sum(map(len, rows)) == count:
        rows = [[number for row in rows for number in row]]
    for number, row in enumerate(rows, start=1):
        if len(row) != count or not np.isfinite(row).all():
            raise UserError(f"{file}, line {number}: expected {count} finite numbers, got {len(row)} ({row[:4]} ...)")
    if not rows:
        raise UserError(f"{file} is empty; expected {count} numbers a line")
    return np.array(rows)


def files_under(root: Path, pattern: str) -> list[Path]:
    """Files of that name in the folders under ``root``, sorted; links to folders are followed, hidden ones left out."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder) / name for name in names if fnmatch(name, pattern) and not name.startswith(".")]
    return sorted(found, key=natural_key)
