"""Clips of video on disk: folders of frames, or files with two frames side by side."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.image_files import list_images, read_rgb
from util.errors import UserError
from util.files import atomic_path
from util.intrinsics import Intrinsics

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".wmv")
FRAMES_SIDE_BY_SIDE = 2
VIEW_FILE = "view.npy"  # beside frames: bool (H, W), where they show what the camera sees
MIN_ASPECT = 0.9  # width / height of each of two frames side by side; half of a single 16:9 frame has 0.89


@dataclass(frozen=True)
class Clip:
    """Consecutive frames: one file each, or one file with ``FRAMES_SIDE_BY_SIDE`` of them beside each other."""

    name: str
    files: tuple[Path, ...]
    side_by_side: bool = False
    camera: Intrinsics | None = field(default=None, compare=False)
    reader: Callable[[Path], np.ndarray] = field(default=read_rgb, compare=False)  # file -> RGB in [0, 1] (H, W, 3)
    view_file: Path | None = field(default=None, compare=False)  # of ``write_clip_view``

    def __len__(self) -> int:
        return FRAMES_SIDE_BY_SIDE if self.side_by_side else len(self.files)

    @property
    def place(self) -> Path:
        """The folder of the frames, or the side-by-side file."""
        return self.files[0] if self.side_by_side else self.files[0].parent

    def view(self) -> np.ndarray | None:
        """Where the frames show what the camera sees, bool (H, W), when a file says so."""
        return None if self.view_file is None else read_clip_view(self.view_file)

    def stats(self) -> list[tuple[Path, os.stat_result]]:
        """Each frame's path, and what the system says of the file that it is in (``data.formats.packed``)."""
        return [(path, (path if path.is_file() else path.parent).stat()) for path in self.files]

    def read(self, start: int, count: int, step: int = 1) -> list[np.ndarray]:
        """Frames ``start``, ``start + step``, ... as RGB in [0, 1] (H, W, 3)."""
        if self.side_by_side:
            frames = split_side_by_side(self.files[0], self.reader(self.files[0]))
        else:
            frames = {index: self.reader(self.files[index]) for index in range(start, start + count * step, step)}
        picked = [frames[index] for index in range(start, start + count * step, step)]
        sizes = {frame.shape for frame in picked}
        if len(sizes) > 1:
            raise UserError(f"the frames of clip {self.place} differ in size: {sorted(sizes)}")
        return picked


def split_side_by_side(path: Path, rgb: np.ndarray) -> list[np.ndarray]:
    """Cut (H, 2 W, 3) into two frames, left first, as the published data set stores them."""
    width = rgb.shape[1] // FRAMES_SIDE_BY_SIDE
    if rgb.shape[1] % FRAMES_SIDE_BY_SIDE or width < MIN_ASPECT * rgb.shape[0]:
        raise UserError(
            f"{path} ({rgb.shape[0]}x{rgb.shape[1]} pixels) does not hold two frames side by side; "
            "single frames belong in one folder per clip"
        )
    return [rgb[:, :width], rgb[:, width:]]


def read_clip_view(file: Path) -> np.ndarray:
    """What ``write_clip_view`` has written, bool (H, W).

    Raises:
        UserError: the file is something else, or damaged.
    """
    try:
        view = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{file} cannot be read ({error}); prepare the film again") from None
    if view.dtype != bool or view.ndim != 2:
        raise UserError(f"{file} holds {view.dtype} {view.shape}, not a mask of a frame; prepare the film again")
    return view


def write_clip_view(file: Path, view: np.ndarray) -> None:
    """Write a mask, bool (H, W)."""
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        np.save(stream, view, allow_pickle=False)


def find_clips(root: Path) -> list[Clip]:
    """The clips of one split: a folder each, or side-by-side files directly in ``root``.

    Raises:
        FileNotFoundError: no such folder, or nothing in it.
        UserError: video files that were not cut into frames yet, or two clips of one name.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root} with clips (a folder of frames each)")
    videos = list_images(root, VIDEO_SUFFIXES)
    if videos:
        raise UserError(
            f"{root} holds videos ({', '.join(video.name for video in videos[:3])}); make clips of them and move them "
            f"away: python -m data.prepare_video {videos[0]} --out {root}"
        )
    clips = list_clips(root)
    if not clips:
        raise FileNotFoundError(f"no clips in {root}: expected a folder of frames each, or side-by-side pictures")
    twice = [name for name, count in Counter(clip.name for clip in clips).items() if count > 1]
    if twice:
        raise UserError(f"{root} has more than one clip called {', '.join(twice)}; rename them, flow is kept by name")
    return clips


def list_clips(root: Path) -> list[Clip]:
    """All clips in a folder, whatever else is there."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    clips = [
        Clip(folder.name, tuple(list_images(folder)), view_file=_if_there(folder / VIEW_FILE)) for folder in folders
    ]
    clips += [Clip(path.stem, (path,), side_by_side=True) for path in list_images(root)]
    return [clip for clip in clips if clip.files]


def _if_there(file: Path) -> Path | None:
    return file if file.is_file() else None
