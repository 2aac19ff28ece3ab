"""EndoSynth: rendered laparoscopy with instruments, a sample a file."""

import zipfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.depth_files import DepthEncoding
from data.formats.base import Found, Item, SequenceFormat
from data.formats.splits import split_by_share
from data.image_files import list_images
from util.errors import UserError

KEYS = ("rgb", "depth", "seg")
METRE = DepthEncoding(1000.0)  # mm
BLOCK = 100  # samples by number that are split together, since neighbours may show one scene
BACKGROUND = 0  # of the classes in seg; the others are instruments


class EndosynthFormat(SequenceFormat):
    """``samples/000000.npz`` with ``rgb`` uint8 (H, W, 3), ``depth`` float16 (H, W) [m] and ``seg`` uint8 (H, W).

    The set has no split, sequences or cameras; blocks of 100 samples stand for sequences. Depth that is 0, nan or
    infinite is invalid, and so are instruments with ``--mask_instruments``.
    """

    full_scale_mm = 300.0  # what the published models reach; the set promises no bound

    def __init__(self, root: Path, depth_format: str = "auto", mask_instruments: bool = False) -> None:
        super().__init__(root, depth_format)
        self.mask_instruments = mask_instruments

    @classmethod
    def from_options(cls, opt: Namespace) -> "EndosynthFormat":
        return cls(opt.dataroot, opt.depth_format, opt.mask_instruments)

    @staticmethod
    def add_options(parser: ArgumentParser) -> None:
        parser.add_argument(
            "--mask_instruments", action="store_true", help="endosynth: depth of instruments counts as invalid"
        )

    def find_sequences(self) -> Mapping[str, Found]:
        folder = self.root / "samples" if (self.root / "samples").is_dir() else self.root
        files = list_images(folder, (".npz",))
        if not files:
            raise FileNotFoundError(f"{self.root} has no files like samples/000000.npz")
        blocks: dict[str, list[Item]] = {}
        for number, file in enumerate(files):
            name = f"block_{number // BLOCK:03d}"
            blocks.setdefault(name, []).append(Item(file.stem, file, file, name))
        return {name: Found(items) for name, items in blocks.items()}

    def default_split(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        return split_by_share(names)

    def read_frame(self, file: Path) -> np.ndarray:
        rgb = _read(file, "rgb")
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise UserError(f"{file}: rgb is {rgb.dtype} {rgb.shape}; expected uint8 (H, W, 3)")
        return rgb.astype(np.float32) / 255.0

    def read_depth_mm(self, item: Item) -> np.ndarray:
        depth = _read(item.depth, "depth")
        if not np.issubdtype(depth.dtype, np.floating) or depth.ndim != 2:
            raise UserError(f"{item.depth}: depth is {depth.dtype} {depth.shape}; expected float16 (H, W) in metres")
        depth_mm = METRE.decode(depth)
        return np.where(_read(item.depth, "seg") == BACKGROUND, depth_mm, 0.0) if self.mask_instruments else depth_mm


def _read(file: Path, key: str) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return archive[key]
    except KeyError:
        raise UserError(f"{file} has no array {key!r}; EndoSynth's files have {', '.join(KEYS)}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} cannot be read as an archive of arrays ({error}); copy it again") from None
