"""Frames of a film as folders of pictures, which appear all at once."""

import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.clips import VIEW_FILE, write_clip_view
from data.films.chooser import ClipChooser, Place, Step
from data.films.frames import FilmFrame
from data.films.measures import SmallFrame
from data.films.sheet import PICTURES, remove_pictures, sheet_folder, write_thumbnail
from data.image_files import write_picture
from util.errors import UserError
from util.files import write_text
from util.intrinsics import INTRINSICS_JSON, Intrinsics, scale_intrinsics
from util.threads import map_ahead

STATE = ".prepare"  # folder, among the clips, of what is known of films
MADE_OF = ".film"  # file in each clip, with the name of its film


@dataclass(frozen=True)
class Cut:
    """What is written of each frame.

    Args:
        box: (top, bottom, left, right) [px].
        short_side: px that the box is scaled down to where it is larger; None leaves it.
        seen: bool (H, W), where the film shows what the camera sees.
        camera: of the whole frames.
    """

    box: tuple[int, int, int, int]
    short_side: int | None
    seen: np.ndarray
    camera: Intrinsics | None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of what is written [px]."""
        top, bottom, left, right = self.box
        height, width = bottom - top, right - left
        scale = 1.0 if self.short_side is None else min(1.0, self.short_side / min(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def picture(self, rgb: np.ndarray) -> np.ndarray:
        """The frame as it is written."""
        return self._resized(self._boxed(rgb), cv2.INTER_AREA)

    def view(self) -> np.ndarray:
        """``seen`` of what is written."""
        return self._resized(self._boxed(self.seen).astype(np.float32), cv2.INTER_AREA) > 0.99

    def written_camera(self) -> dict[str, float] | None:
        """Of what is written, as a file of intrinsics has it."""
        if self.camera is None:
            return None
        top, bottom, left, right = self.box
        K = scale_intrinsics(self.camera.K, self.camera.size, self.seen.shape)
        K = K - np.array([[0, 0, left], [0, 0, top], [0, 0, 0]])
        K = scale_intrinsics(K, (bottom - top, right - left), self.size)
        height, width = self.size
        fields = {"width": width, "height": height, "fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
        return {key: float(value) for key, value in fields.items()}

    def _boxed(self, picture: np.ndarray) -> np.ndarray:
        top, bottom, left, right = self.box
        return np.ascontiguousarray(picture[top:bottom, left:right])

    def _resized(self, picture: np.ndarray, how: int) -> np.ndarray:
        height, width = self.size
        same = picture.shape[:2] == self.size
        return picture if same else cv2.resize(picture, (width, height), interpolation=how)


def name_of(film: Path) -> str:
    """What its clips are named after."""
    return film.name if film.is_dir() else film.stem


class _Job(NamedTuple):
    frame: FilmFrame
    target: Path | None
    on_sheet: bool


class ClipWriter:
    """Writes the clips of one film.

    Args:
        film: their source.
        out: folder of all clips.
        cut: what is written of a frame.
        min_length: frames that a clip must have.
    """

    def __init__(self, film: Path, out: Path, cut: Cut, min_length: int) -> None:
        self.film, self.out, self.cut, self.min_length = film, out, cut, min_length
        self.name = name_of(film)
        self.partial = out / STATE / f"{self.name}.partial"
        self.pictures = self.partial / PICTURES
        self._rows: list[list[dict[str, Any]]] = []  # of each clip
        shutil.rmtree(self.partial, ignore_errors=True)

    def write(
        self,
        frames: Iterable[FilmFrame],
        chooser: ClipChooser,
        on_sheet: Collection[int],
        pool: ThreadPoolExecutor,
        ahead: int,
    ) -> list[dict[str, Any]]:
        """Write a folder for each clip, and thumbnails of frames on the sheet; ``publish`` makes them appear.

        Args:
            frames: all frames of the film.
            chooser: which are written.
            on_sheet: numbers of the frames that the sheet shows.
            pool: its threads scale and write, ``ahead`` frames at once.

        Returns:
            A row of the manifest for each frame that was written.
        """
        jobs = self._jobs(frames, chooser, on_sheet, pool, ahead)
        for _ in map_ahead(pool, self._do, jobs, ahead):
            pass
        return self._finish()

    def publish(self) -> None:
        """Put clips and thumbnails in the place of those that were made of the film before.

        Raises:
            UserError: a folder that was not made by this is in the way.
        """
        for folder in self._folders(self.out):
            if not _is_clip_of(folder, self.name):
                raise UserError(f"{folder} is in the way of a clip, and was not made by this; move it away")
        for folder in self._folders(self.out):
            shutil.rmtree(folder)
        for folder in self._folders(self.partial):
            folder.replace(self.out / folder.name)
        remove_pictures(self.out, self.name)
        for picture in sorted(self.pictures.iterdir()):
            target = sheet_folder(self.out) / PICTURES / picture.name
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.replace(target)
        shutil.rmtree(self.partial)

    def _folders(self, root: Path) -> list[Path]:
        """Those in ``root`` that have a name of this film's clips."""
        named = re.compile(re.escape(self.name) + r"_\d{3,}")
        return sorted(path for path in root.iterdir() if named.fullmatch(path.name))

    def _jobs(
        self,
        frames: Iterable[FilmFrame],
        chooser: ClipChooser,
        on_sheet: Collection[int],
        pool: ThreadPoolExecutor,
        ahead: int,
    ) -> Iterator[_Job]:
        def with_copy(frame: FilmFrame) -> tuple[FilmFrame, SmallFrame | None]:
            return frame, SmallFrame.of(frame) if chooser.wants(frame.number) else None

        for frame, copy in map_ahead(pool, with_copy, frames, ahead):
            target = None if copy is None else self._target(frame.number, chooser(frame.number, copy))
            if target is not None or frame.number in on_sheet:
                yield _Job(frame, target, frame.number in on_sheet)

    def _target(self, number: int, step: Step) -> Path | None:
        if step.place is Place.BETWEEN:
            return None
        if step.place is Place.FIRST:
            self._rows.append([])
        motion = None if step.motion is None else round(step.motion, 5)
        self._rows[-1].append({"frame": number, "gap": step.gap, "motion": motion})
        return self.partial / f"{len(self._rows) - 1}" / f"{number:06d}.png"

    def _do(self, job: _Job) -> None:
        rgb = job.frame.rgb()
        if job.target is not None:
            write_picture(job.target, self.cut.picture(rgb))
        if job.on_sheet:
            write_thumbnail(self.pictures, self.name, job.frame.number, rgb)

    def _finish(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        long_enough = [at for at, clip in enumerate(self._rows) if len(clip) >= self.min_length]
        for index, at in enumerate(long_enough):
            name = f"{self.name}_{index:03d}"
            folder = (self.partial / str(at)).rename(self.partial / name)
            self._write_sidecars(folder)
            for row in self._rows[at]:
                where = {"clip": name, "file": f"{name}/{row['frame']:06d}.png", "source": self.film.name}
                rows.append(where | row)
        return rows

    def _write_sidecars(self, folder: Path) -> None:
        """Whose clip it is, the camera, and where the frames show what it sees unless that is everywhere."""
        write_text(folder / MADE_OF, f"{self.name}\n")
        camera, view = self.cut.written_camera(), self.cut.view()
        if camera is not None:
            write_text(folder / INTRINSICS_JSON, json.dumps(camera) + "\n")
        if not view.all():
            write_clip_view(folder / VIEW_FILE, view)


def _is_clip_of(folder: Path, name: str) -> bool:
    marker = folder / MADE_OF
    return marker.is_file() and marker.read_text(encoding="utf-8").strip() == name
