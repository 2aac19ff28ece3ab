"""Data sets on disk, one file a format: ``--dataset NAME`` chooses one."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from data.clips import Clip, find_clips
from data.formats.base import DataFormat, Found, Item, SequenceFormat
from data.formats.c3vd import C3vdFormat
from data.formats.endosynth import EndosynthFormat
from data.formats.folder import FolderFormat
from data.formats.hamlyn import HamlynFormat
from data.formats.manifest import ManifestFormat
from data.formats.packed import PACKED_JSON, PackedFormat
from data.formats.scared import ScaredFormat
from data.formats.simcol3d import Simcol3dFormat
from data.formats.ucl import UclFormat

__all__ = [
    "FORMATS",
    "C3vdFormat",
    "DataFormat",
    "EndosynthFormat",
    "FolderFormat",
    "Found",
    "HamlynFormat",
    "Item",
    "ManifestFormat",
    "PackedFormat",
    "ScaredFormat",
    "SequenceFormat",
    "Simcol3dFormat",
    "UclFormat",
    "add_options",
    "open_clips",
    "open_format",
    "open_sequences",
]

FORMATS: dict[str, type[DataFormat]] = {
    "folder": FolderFormat,
    "phantom": FolderFormat,
    "ucl": UclFormat,
    "simcol3d": Simcol3dFormat,
    "c3vd": C3vdFormat,
    "endosynth": EndosynthFormat,
    "scared": ScaredFormat,
    "hamlyn": HamlynFormat,
    "manifest": ManifestFormat,
}


def add_options(parser: ArgumentParser) -> None:
    """``--dataset``, and what single formats have."""
    parser.add_argument("--dataset", choices=tuple(FORMATS), default="folder", help="layout and encoding of --dataroot")
    for kind in dict.fromkeys(FORMATS.values()):
        kind.add_options(parser)


def open_format(opt: Namespace) -> DataFormat:
    """The data set that ``--dataroot`` and ``--dataset`` name; a packed one says so itself."""
    if (opt.dataroot / PACKED_JSON).is_file():
        return PackedFormat(opt.dataroot)
    return FORMATS[opt.dataset].from_options(opt)


def open_sequences(opt: Namespace, root: Path) -> list[Clip]:
    """The sequences of ``opt.phase`` of a data set in ``root`` of the format ``--video_dataset``, as clips of video.

    Raises:
        FileNotFoundError, UserError: see ``DataFormat.items``.
    """
    return FORMATS[opt.video_dataset].from_options(Namespace(**vars(opt) | {"dataroot": root})).clips(opt.phase)


def open_clips(root: Path) -> list[Clip]:
    """The clips of a folder, or of a split of a packed data set.

    Raises:
        FileNotFoundError, UserError: see ``data.clips.find_clips``.
    """
    if (root.parent / PACKED_JSON).is_file():
        return PackedFormat(root.parent).clips(root.name)
    return find_clips(root)
