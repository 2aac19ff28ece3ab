"""One film becomes clips: look for the view, measure, select, write; done once, whole or not at all."""

import csv
import hashlib
import io
import json
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.films.frames import FilmFrame, read_film
from data.films.measures import FrameMeasures, Measurer
from data.films.runs import MotionLimits, Run, choose_runs
from data.films.select import Limits, Selection, select
from data.image_files import write_picture
from data.view_mask import find_view, inscribed_box, largest_part
from util.errors import UserError
from util.files import write_text
from util.intrinsics import INTRINSICS_JSON, Intrinsics, scale_intrinsics

FORMAT = 1
STATE = ".prepare"  # folder of what is known of finished films
VIEW_EVERY, VIEW_FRAMES = 10, 400  # every so many frames, so many of them
THUMBNAIL_HEIGHT = 90  # px
THUMBNAILS = 12  # of each verdict, of a film
KEPT, LEFT = "kept", "between, or too few around"
MANIFEST_COLUMNS = ("clip", "file", "source", "frame", "time_s", "step", "sharpness", "motion")


@dataclass(frozen=True)
class Settings:
    """What the clips depend on beside the film."""

    limits: Limits = field(default_factory=Limits)
    motion: MotionLimits = field(default_factory=MotionLimits)
    crop: bool = True
    camera: Intrinsics | None = None

    def key(self, film: Path) -> str:
        """The same for the same film and settings; name, sizes and times stand for the film's content."""
        files = sorted(film.iterdir()) if film.is_dir() else [film]
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        camera = None if self.camera is None else [self.camera.K.tolist(), self.camera.size]
        facts = [FORMAT, asdict(self.limits), asdict(self.motion), self.crop, camera, stats]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def state_file(out: Path, film: Path) -> Path:
    """What is known of a finished film."""
    return out / STATE / f"{film.stem}.json"


def finished(out: Path, film: Path, settings: Settings) -> dict[str, Any] | None:
    """The state of a film that is done with these settings, else None."""
    try:
        state = json.loads(state_file(out, film).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if state.get("key") == settings.key(film) else None


def prepare_film(film: Path, out: Path, settings: Settings) -> dict[str, Any]:
    """Write the clips of a film into ``out``, and its state last; returns that.

    Raises:
        UserError: nothing of the film can be read, or it is black.
    """
    done = finished(out, film, settings)
    if done is not None:
        return done
    _remove(out, film)
    view = view_of(film)
    measures, times = measure_film(film, view)
    selection = select(measures, settings.limits)
    runs = choose_runs(measures, selection, settings.motion)
    box = inscribed_box(largest_part(view)) if settings.crop else (0, view.shape[0], 0, view.shape[1])
    sheet = choose_sheet(selection, runs)
    rows = write_clips(film, out, runs, box, settings.camera, sheet)
    for row in rows:
        one = measures[row["frame"]]
        motion = None if np.isnan(one.motion) else round(one.motion, 5)
        row |= {"time_s": times[row["frame"]], "sharpness": round(one.sharpness, 4), "motion": motion}
    state = {
        "key": settings.key(film),
        "source": film.name,
        "frames": len(measures),
        "crop": list(map(int, box)),
        "cuts": selection.cuts,
        "dropped": count_reasons(selection),
        "clips": sorted({row["clip"] for row in rows}),
        "rows": rows,
        "sheet": [
            {"frame": number, "picture": sheet_picture(film, number), "verdict": verdict}
            for number, verdict in sheet.items()
        ],
    }
    write_text(state_file(out, film), json.dumps(state, indent=1) + "\n")
    return state


def view_of(film: Path) -> np.ndarray:
    """Where the film shows something, from frames spread over it: bool (H, W)."""
    picked = islice((frame.rgb for frame in read_film(film) if frame.number % VIEW_EVERY == 0), VIEW_FRAMES)
    view = find_view(rgb.astype(np.float32) / 255 for rgb in picked)
    if not view.any():
        raise UserError(f"{film} is black")
    return view


def measure_film(film: Path, view: np.ndarray) -> tuple[list[FrameMeasures], list[float]]:
    """Measures and times [s] of all frames."""
    measurer, measures, times = Measurer(view), [], []
    for frame in read_film(film):
        if frame.rgb.shape[:2] != view.shape:
            raise UserError(f"{film}: frame {frame.number} is {frame.rgb.shape[:2]} pixels, the first {view.shape}")
        measures.append(measurer(frame.rgb))
        times.append(round(frame.time_s, 4))
    return measures, times


def write_clips(
    film: Path,
    out: Path,
    runs: Sequence[Run],
    box: tuple[int, int, int, int],
    camera: Intrinsics | None,
    sheet: Collection[int],
) -> list[dict[str, Any]]:
    """A folder for each run, which appears when all frames of the film are there, and the pictures of the sheet.

    Returns:
        A row for each frame.
    """
    top, bottom, left, right = box
    place = {number: (index, run) for index, run in enumerate(runs) for number in run.frames}
    rows, partial = [], out / STATE / f"{film.stem}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for frame in read_film(film):
        if frame.number in sheet:
            write_picture(sheet_folder(out) / sheet_picture(film, frame.number), _thumbnail(frame))
        if frame.number not in place:
            continue
        index, run = place[frame.number]
        name, file = f"{film.stem}_{index:03d}", f"{frame.number:06d}.png"
        write_picture(partial / name / file, np.ascontiguousarray(frame.rgb[top:bottom, left:right]))
        if camera is not None and frame.number == run.frames[0]:
            write_camera(partial / name, camera, frame.rgb.shape[:2], box)
        where = {"clip": name, "file": f"{name}/{file}", "source": film.name}
        rows.append(where | {"frame": frame.number, "step": run.step})
    for folder in sorted(partial.iterdir()) if partial.is_dir() else []:
        folder.replace(out / folder.name)
    shutil.rmtree(partial, ignore_errors=True)
    return rows


def write_camera(folder: Path, camera: Intrinsics, size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    """The camera of frames that were cut out of pictures of ``size`` (H, W)."""
    top, bottom, left, right = box
    K = scale_intrinsics(camera.K, camera.size, size)
    fields = {"width": right - left, "height": bottom - top, "fx": K[0, 0], "fy": K[1, 1]}
    fields |= {"cx": K[0, 2] - left, "cy": K[1, 2] - top}
    write_text(folder / INTRINSICS_JSON, json.dumps({key: float(value) for key, value in fields.items()}) + "\n")


def count_reasons(selection: Selection) -> dict[str, int]:
    """Dropped frames by reason."""
    names = [reason.value for reason in selection.reasons if reason is not None]
    return {name: names.count(name) for name in sorted(set(names))}


def choose_sheet(selection: Selection, runs: Sequence[Run]) -> dict[int, str]:
    """Frames spread over the film, and some of each kind that is dropped, with what became of them."""
    used = {number for run in runs for number in run.frames}
    verdicts = [
        reason.value if reason else KEPT if number in used else LEFT for number, reason in enumerate(selection.reasons)
    ]
    picked: set[int] = set()
    for verdict in dict.fromkeys(verdicts):
        numbers = [number for number, one in enumerate(verdicts) if one == verdict]
        places = np.linspace(0, len(numbers) - 1, min(THUMBNAILS, len(numbers))).round().astype(int)
        picked |= {numbers[place] for place in places}
    return {number: verdicts[number] for number in sorted(picked)}


def sheet_folder(out: Path) -> Path:
    """Beside the clips, since folders among them are clips."""
    return out.with_name(f"sheet_{out.name}")


def sheet_picture(film: Path, number: int) -> str:
    """The thumbnail of a frame, from the folder of the contact sheet."""
    return f"frames/{film.stem}_{number:06d}.jpg"


def write_manifest(out: Path, states: Sequence[dict[str, Any]]) -> None:
    """All frames of all clips, a line each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, MANIFEST_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for state in states for row in state["rows"])
    write_text(out / "manifest.csv", text.getvalue())


def _thumbnail(frame: FilmFrame) -> np.ndarray:
    width = max(1, round(frame.rgb.shape[1] * THUMBNAIL_HEIGHT / frame.rgb.shape[0]))
    return cv2.resize(frame.rgb, (width, THUMBNAIL_HEIGHT), interpolation=cv2.INTER_AREA)


def _remove(out: Path, film: Path) -> None:
    """What a film that was not finished, or was prepared otherwise, has left."""
    state_file(out, film).unlink(missing_ok=True)
    for folder in out.iterdir() if out.is_dir() else []:
        if re.fullmatch(re.escape(film.stem) + r"_\d{3,}", folder.name):
            shutil.rmtree(folder)
    for picture in (sheet_folder(out) / "frames").glob("*.jpg"):
        if re.fullmatch(re.escape(film.stem) + r"_\d{6,}", picture.stem):
            picture.unlink()
