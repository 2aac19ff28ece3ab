"""Frames of a folder or a film, as numbered pinhole pictures of one size in a folder of their own, with their view."""

import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data.clips import VIEW_FILE, read_clip_view
from data.films.frames import FilmFrame, read_film
from data.films.look import SOFT_RIM, study_film
from data.films.writer import name_of
from data.image_files import list_images, read_picture, read_rgb, write_picture
from data.run_sfm.camera import Lens
from data.view_mask import find_view, largest_part
from util.errors import UserError
from util.intrinsics import Intrinsics
from util.progress import progress_bar

LARGEST_NUMBER = 10**8 - 1  # frames are named with eight digits
KEPT_SUFFIXES = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png"}  # and what they are called in the result
FULL = 0.98  # of a mask's largest value: what lossy compression leaves of it
RIM = 21 / 1920  # share of the longer side by which the view is made smaller before features are sought in it


class Picture(NamedTuple):
    """A frame that was read: its number, RGB uint8 (H, W, 3), and its file where that may be used as it is."""

    number: int
    rgb: np.ndarray
    file: Path | None = None


@dataclass(frozen=True)
class Frames:
    """Frames for SfM.

    Args:
        name: of the clip.
        folder: that they are in.
        numbers: of the frames, ascending.
        files: of the frames.
        camera: pinhole, at their size.
        view: bool (H, W), where they show what the camera sees.
    """

    name: str
    folder: Path
    numbers: tuple[int, ...]
    files: tuple[Path, ...]
    camera: Intrinsics
    view: np.ndarray

    def inner_view(self) -> np.ndarray:
        """Where features may be sought, bool (H, W): not on the rim, which stands still while the tissue moves.

        Raises:
            UserError: nothing is left.
        """
        radius = max(1, round(RIM * max(self.view.shape)))
        inner = _shrunk(self.view, radius)
        if not inner.any():
            raise UserError(f"the view of {self.name} is narrower than its rim of {radius} px; give another --mask")
        return inner


def collect_frames(
    source: Path,
    folder: Path,
    lens_of: Callable[[tuple[int, int]], Lens],
    *,
    every: int = 1,
    fps: float | None = None,
    mask: Path | None = None,
) -> tuple[Frames, Lens]:
    """Put the frames into ``folder``: unchanged where they may stay as they are, else as PNG, which loses nothing.

    The number of a frame is the last one in its name, or its place in the film.

    Args:
        source: folder of frames, or film.
        folder: exists.
        lens_of: the camera of frames of a size (H, W).
        every: take every n-th.
        fps: of a film: take about so many a second.
        mask: picture or NumPy file, brightest inside the view; where it is not given, ``view.npy`` beside the frames
            counts, then what stays dark in them.

    Raises:
        UserError: there are no frames, they differ in size, one cannot be read, or the mask or the camera does not fit.
    """
    pictures, known_view = _film(source, fps) if source.is_file() else (_folder_pictures(source), _view_beside(source))
    pictures = islice(pictures, 0, None, every)
    first = next(pictures)
    lens = lens_of(first.rgb.shape[:2])
    writer = _Writer(folder, lens)
    written = writer.write(chain([first], pictures))
    if mask is not None:
        known_view = read_mask(mask)
    view = _found_view(written) if known_view is None else known_view
    deque(written, maxlen=0)  # those that nobody had to look at for the view
    if view.shape != lens.camera.size:
        raise UserError(f"the mask of {source} has {view.shape} pixels, but the frames have {lens.camera.size}")
    view = lens.straighten_view(view)
    if not view.any():
        raise UserError(f"nothing is seen in {source}: its frames are black, or its mask is")
    return Frames(name_of(source), folder, tuple(writer.numbers), tuple(writer.files), lens.camera, view), lens


def numbered(files: list[Path]) -> list[tuple[int, Path]]:
    """Files with their frame numbers: the last number in each name, or their places where these do not tell them apart.

    Where some names have a number and others have none, the others are no frames (a mask, a title) and left out.
    """
    found = [(re.findall(r"\d+", file.stem), file) for file in files]
    with_numbers = [(int(digits[-1]), file) for digits, file in found if digits]
    numbers = {number for number, _ in with_numbers}
    if with_numbers and len(numbers) == len(with_numbers) and max(numbers) <= LARGEST_NUMBER:
        return sorted(with_numbers)
    return list(enumerate(files))


def read_mask(file: Path) -> np.ndarray:
    """Bool (H, W): where a mask has its largest value, whatever that is (1, 255, or nearly that in a JPEG).

    Raises:
        UserError: it cannot be read, or is all 0.
    """
    values = read_clip_view(file) if file.suffix == Path(VIEW_FILE).suffix else read_picture(file)
    values = values.max(axis=2) if values.ndim == 3 else values
    if not values.any():
        raise UserError(f"the mask {file} is 0 everywhere; it must be bright where the camera sees something")
    return values >= FULL * values.max()


def _film(film: Path, fps: float | None) -> tuple[Iterator[Picture], np.ndarray]:
    """Its frames, and where it shows what the camera sees: not in texts drawn over it, which stand still."""
    look = study_film(film)
    frames = read_film(film, interlaced=look.interlaced)
    chosen = frames if fps is None else _at_rate(frames, fps)
    return (Picture(frame.number, frame.rgb()) for frame in chosen), look.seen


def _at_rate(frames: Iterable[FilmFrame], fps: float) -> Iterator[FilmFrame]:
    """The first frame at or after each multiple of 1 / fps."""
    wanted = 0
    for frame in frames:
        passed = int(frame.time_s * fps + 1e-6)  # times such as 0.04 have no exact float
        if passed >= wanted:
            wanted = passed + 1
            yield frame


def _folder_pictures(folder: Path) -> Iterator[Picture]:
    if not folder.is_dir():
        raise UserError(f"there is no film or folder {folder}")
    found = list_images(folder)
    if not found:
        raise UserError(f"{folder} holds no frames")
    frames = numbered(found)
    left_out = sorted({file.name for file in found} - {file.name for _, file in frames})
    if left_out:
        sys.stderr.write(f"not taken for frames, as their names have no number: {', '.join(left_out)}\n")
    for number, file in frames:
        picture = read_picture(file)
        if file.suffix.lower() in KEPT_SUFFIXES and picture.dtype == np.uint8 and picture.shape[2:] == (3,):
            yield Picture(number, np.ascontiguousarray(picture[..., ::-1]), file)
        else:
            yield Picture(number, (read_rgb(file) * 255).round().astype(np.uint8))


def _view_beside(folder: Path) -> np.ndarray | None:
    """What ``data.prepare_video`` wrote beside its frames."""
    file = folder / VIEW_FILE
    return read_clip_view(file) if file.is_file() else None


def _found_view(frames: Iterable[np.ndarray]) -> np.ndarray:
    """What does not stay dark, without the texts beside it and the glow of its rim."""
    view = find_view(frames)
    return _shrunk(largest_part(view), round(SOFT_RIM * len(view))) if view.any() else view


def _shrunk(view: np.ndarray, radius: int) -> np.ndarray:
    """A view without its rim of ``radius`` px. The picture's edge is no rim: OpenCV takes nothing away there."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.erode(view.astype(np.uint8), disc) > 0


class _Writer:
    """Writes frames into a folder, and keeps their numbers and files."""

    def __init__(self, folder: Path, lens: Lens) -> None:
        self.folder, self.lens = folder, lens
        self.numbers: list[int] = []
        self.files: list[Path] = []

    def write(self, pictures: Iterable[Picture]) -> Iterator[np.ndarray]:
        """Write each picture, then give it as it was read, RGB in [0, 1] (H, W, 3)."""
        with progress_bar(None, "frames", "frames") as bar:
            for picture in pictures:
                self._require_size(picture)
                self.numbers.append(picture.number)
                self.files.append(self._write(picture))
                bar.update(1)
                yield picture.rgb.astype(np.float32) / 255

    def _require_size(self, picture: Picture) -> None:
        if picture.rgb.shape[:2] != self.lens.camera.size:
            raise UserError(
                f"frame {picture.number} has {picture.rgb.shape[:2]} pixels, others {self.lens.camera.size}; the "
                "frames of a clip are of one camera and one size"
            )

    def _write(self, picture: Picture) -> Path:
        if picture.file is None or self.lens.bends:
            target = self.folder / f"{picture.number:08d}.png"
            write_picture(target, self.lens.straighten(picture.rgb))
            return target
        target = self.folder / f"{picture.number:08d}{KEPT_SUFFIXES[picture.file.suffix.lower()]}"
        try:
            os.link(picture.file.resolve(), target)
        except OSError:  # on another disk, or on one that has no links
            shutil.copyfile(picture.file, target)
        return target
