"""Reading and writing pseudo-depth; see the package."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.clips import Clip
from data.depth_files import MAX_UINT16, one_channel, read_array
from data.image_files import read_picture, write_picture
from util.errors import UserError
from util.files import write_text

KINDS = ("depth", "inverse")
SUFFIXES = (".png", ".npy")
PSEUDO_DEPTH_JSON = "pseudo_depth.json"
MIN_INVERSE = 1e-3  # of an image's largest inverse depth: what is farther is as far as that


def add_options(parser: ArgumentParser) -> None:
    """Where pseudo-depth is, and what it is."""
    parser.add_argument(
        "--pseudo_depth",
        type=Path,
        help="folder of pseudo-depth, a folder a clip in it (or the name of a folder in each clip); default: "
        "pseudo_depth/<clips' folder> beside the clips, where python -m data.pseudo_depth writes it",
    )
    parser.add_argument(
        "--pseudo_depth_kind",
        choices=("auto", *KINDS),
        default="auto",
        help=f"depth, or inverse depth as DPT, MiDaS and Depth Anything give; auto: as {PSEUDO_DEPTH_JSON} says, else "
        "depth",
    )


def default_folder(video_root: Path) -> Path:
    """Where pseudo-depth of the clips in ``video_root`` lies."""
    return video_root.parent / "pseudo_depth" / video_root.name


class PseudoDepth:
    """Reads pseudo-depth.

    Args:
        folder: see the package; a relative one may also be the name of a folder in each clip.
        kind: ``depth``, ``inverse``, or ``auto``.

    Raises:
        UserError: the folder's json is none of ours.
    """

    def __init__(self, folder: Path, kind: str = "auto") -> None:
        self.folder = folder
        self.kind = _told_kind(folder / PSEUDO_DEPTH_JSON) if kind == "auto" else kind

    @classmethod
    def from_options(cls, opt: Namespace, root: Path, clips: Sequence[Clip]) -> "PseudoDepth":
        """That of all clips in ``root``.

        Raises:
            FileNotFoundError: a frame has none; says how to make it.
        """
        reader = cls(opt.pseudo_depth or default_folder(root), opt.pseudo_depth_kind)
        reader.require(clips, root)
        return reader

    def require(self, clips: Sequence[Clip], root: Path) -> None:
        """
        Raises:
            FileNotFoundError: a frame of the clips in ``root`` has no pseudo-depth.
        """
        missing = [self.file(clip, index) for clip in clips for index in range(len(clip))]
        missing = [file for file in missing if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} frames have no pseudo-depth, e.g. {missing[0]} (or .npy); make it by a depth network: "
                f"python -m data.pseudo_depth --checkpoint checkpoints/RUN --video_root {root}, or give --pseudo_depth"
            )

    def file(self, clip: Clip, index: int) -> Path:
        """That of a frame, whether it is there or not."""
        folder = clip.place / self.folder
        if self.folder.is_absolute() or not folder.is_dir():
            folder = self.folder / clip.name
        stem = frame_stem(clip, index)
        known = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
        return next((file for file in known if file.is_file()), known[0])

    def read(self, clip: Clip, index: int) -> np.ndarray:
        """Depth of a frame in a scale of its own, larger is farther, float32 (H, W), 0 where unknown.

        Raises:
            UserError, FileNotFoundError: it cannot be read, or is 0 everywhere; names the file.
        """
        file = self.file(clip, index)
        stored = read_array(file) if file.suffix == ".npy" else one_channel(file, read_picture(file))
        stored = np.where(np.isfinite(stored), stored, 0).astype(np.float32)
        largest = stored.max()
        if largest <= 0:
            raise UserError(f"{file} is 0 everywhere: it says nothing of the depth")
        share = (stored / largest).clip(min=0)
        if self.kind == "inverse":
            return np.where(share > 0, MIN_INVERSE / share.clip(min=MIN_INVERSE), 0).astype(np.float32)
        return share


def frame_stem(clip: Clip, index: int) -> str:
    """What the pseudo-depth of a frame is called."""
    return f"{clip.files[0].stem}_{index}" if clip.side_by_side else clip.files[index].stem


def write_pseudo_depth(file: Path, depth: np.ndarray) -> None:
    """Write depth (H, W) of any unit as 16-bit PNG, its largest value being 65535; what is not above 0 is unknown."""
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0)
    largest = depth.max()
    write_picture(file, np.rint(depth * (MAX_UINT16 / largest if largest > 0 else 0)).astype(np.uint16))


def write_pseudo_depth_json(folder: Path, **facts: Any) -> None:
    """Write what the folder holds, and ``facts`` of how it was made."""
    write_text(folder / PSEUDO_DEPTH_JSON, json.dumps({"kind": "depth", **facts}, indent=1) + "\n")


def _told_kind(path: Path) -> str:
    if not path.is_file():
        return "depth"
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not say what it describes ({error!r}); give --pseudo_depth_kind") from None
    if kind not in KINDS:
        raise UserError(f"{path} says the kind {kind!r}, known are: {', '.join(KINDS)}; give --pseudo_depth_kind")
    return kind
