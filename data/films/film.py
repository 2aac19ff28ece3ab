"""One film becomes clips: look at it, measure its frames, select, write; done once, whole or not at all."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from data.films.chooser import ClipChooser, MotionLimits, unbroken
from data.films.frames import Damage, FilmFrame, count_frames, read_film
from data.films.look import FilmLook, study_film
from data.films.measures import FrameMeasures, Measurer, SmallFrame
from data.films.select import Limits, Selection, select
from data.films.sheet import dropped_on_sheet, write_view
from data.films.writer import STATE, ClipWriter, Cut, name_of
from data.view_mask import inscribed_box
from util.errors import UserError
from util.files import write_text
from util.intrinsics import Intrinsics
from util.threads import AHEAD, map_ahead

FORMAT = 4
MANIFEST_COLUMNS = (
    *("clip", "file", "source", "frame", "time_s", "gap", "motion"),
    *("brightness", "sharpness", "structure"),
)
ASPECT_TOLERANCE = 0.01
PASSES = 2  # times that all frames are decoded

Advance = Callable[[int], object]


@dataclass(frozen=True)
class Settings:
    """What the clips depend on beside the film.

    Args:
        limits, motion: of frames and clips.
        crop: to the view.
        short_side: px that larger frames are scaled down to; None leaves them.
        camera: of the film.
    """

    limits: Limits = field(default_factory=Limits)
    motion: MotionLimits = field(default_factory=MotionLimits)
    crop: bool = True
    short_side: int | None = None
    camera: Intrinsics | None = None

    def key(self, film: Path) -> str:
        """The same for the same film and settings; name, sizes and times stand for the film's content."""
        files = sorted(film.iterdir()) if film.is_dir() else [film]
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        camera = None if self.camera is None else [self.camera.K.tolist(), self.camera.size]
        rest = [asdict(self.limits), asdict(self.motion), self.crop, self.short_side]
        return hashlib.sha256(json.dumps([FORMAT, rest, camera, stats]).encode()).hexdigest()


def state_file(out: Path, film: Path) -> Path:
    """What is known of a finished film."""
    return out / STATE / f"{name_of(film)}.json"


def finished(out: Path, film: Path, settings: Settings) -> dict[str, Any] | None:
    """The state of a film that is done with these settings, else None."""
    state = _read_state(state_file(out, film))
    if state is None or state["key"] != settings.key(film):
        return None
    return state if all((out / clip).is_dir() for clip in state["clips"]) else None


def finished_films(out: Path) -> list[dict[str, Any]]:
    """The states of all films whose clips are in a folder, by name; without clips that somebody has removed."""
    files = sorted(file for file in (out / STATE).glob("*.json") if not file.name.startswith("."))
    states = [state for state in map(_read_state, files) if state is not None]
    for state in states:
        state["clips"] = [clip for clip in state["clips"] if (out / clip).is_dir()]
        state["rows"] = [row for row in state["rows"] if row["clip"] in state["clips"]]
    return states


def require_own_name(out: Path, film: Path) -> None:
    """
    Raises:
        UserError: the clips of another film have this one's name.
    """
    state = _read_state(state_file(out, film))
    if state is not None and state["path"] != str(film) and Path(state["path"]).exists():
        raise UserError(
            f"{film}: the clips {name_of(film)}_... in {out} are those of {state['path']}; rename one of the films, or "
            "take another --out"
        )


def _read_state(file: Path) -> dict[str, Any] | None:
    """What is known of a film; None when that is nothing, or was written by another version."""
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and state.get("format") == FORMAT else None


def prepare_film(film: Path, out: Path, settings: Settings, threads: int, advance: Advance) -> dict[str, Any]:
    """Write the clips of a film into ``out``, and its state last; returns that.

    Args:
        film: file, or folder of frames.
        out: folder of the clips.
        settings: see there.
        threads: that measure and write frames while others are decoded.
        advance: is told of frames that are done, ``PASSES`` times of each.

    Raises:
        UserError: nothing of the film can be read, it shows nothing, or it changes while it is read. What was there of
            an earlier run stays then.
    """
    key, damage = settings.key(film), Damage()
    look = study_film(film)
    _require_aspect(settings.camera, look.view.shape, film)
    box = inscribed_box(look.view) if settings.crop else (0, look.view.shape[0], 0, look.view.shape[1])
    with ThreadPoolExecutor(threads) as pool:
        measures = measure_film(film, look, pool, AHEAD * threads, advance, damage)
        selection = select(measures, settings.limits)
        chooser = ClipChooser(unbroken(selection), Measurer(look.seen).motion, settings.motion)
        sheet = dropped_on_sheet(selection)
        cut = Cut(box, settings.short_side, look.seen, settings.camera)
        writer = ClipWriter(film, out, cut, settings.motion.min_length)
        frames = _counted(read_film(film, interlaced=look.interlaced), advance)
        rows = writer.write(frames, chooser, set(sheet), pool, AHEAD * threads)
    write_view(writer.pictures, name_of(film), look, box)
    if settings.key(film) != key:
        raise UserError(f"{film} changed while it was read; is it still being copied? Prepare it again")
    state = {
        "format": FORMAT,
        "key": key,
        "path": str(film),
        "name": name_of(film),
        "source": film.name,
        "damage": damage.describe(len(measures), count_frames(film)),
        "frames": len(measures),
        "crop": list(map(int, box)),
        "interlaced": look.interlaced,
        "overlay": round(float(look.overlay[look.view].mean()), 4),
        "cuts": selection.cuts,
        "dropped": count_reasons(selection),
        "clips": sorted({row["clip"] for row in rows}),
        "rows": [row | scores(measures[row["frame"]]) for row in rows],
        "sheet": [{"frame": number, "reason": reason} for number, reason in sheet.items()],
    }
    state_file(out, film).unlink(missing_ok=True)
    writer.publish()
    write_text(state_file(out, film), json.dumps(state, indent=1) + "\n")
    return state


def measure_film(
    film: Path, look: FilmLook, pool: ThreadPoolExecutor, ahead: int, advance: Advance, damage: Damage | None = None
) -> list[FrameMeasures]:
    """Measures of all frames; ``damage`` gets what is wrong with the film.

    Raises:
        UserError: the frames differ in size.
    """
    measure = Measurer(look.seen)
    read = read_film(film, interlaced=look.interlaced, damage=damage)
    frames = _alike(_counted(read, advance), film, look.view.shape)
    small = map_ahead(pool, SmallFrame.of, frames, ahead)
    pairs = pairwise(chain([None], small))
    return list(map_ahead(pool, lambda pair: measure(*pair), pairs, ahead))


def count_reasons(selection: Selection) -> dict[str, int]:
    """Dropped frames by reason."""
    names = [reason.value for reason in selection.reasons if reason is not None]
    return {name: names.count(name) for name in sorted(set(names))}


def scores(measures: FrameMeasures) -> dict[str, float]:
    """What the manifest says of a frame beside its place."""
    return {
        "time_s": round(measures.time_s, 4),
        "brightness": round(measures.brightness, 4),
        "sharpness": round(measures.sharpness, 4),
        "structure": round(measures.structure, 4),
    }


def _require_aspect(camera: Intrinsics | None, size: tuple[int, int], film: Path) -> None:
    if camera is None:
        return
    (height, width), (of_height, of_width) = size, camera.size
    if abs(width * of_height / (height * of_width) - 1) > ASPECT_TOLERANCE:
        raise UserError(
            f"{film} is {height}x{width} pixels, and --intrinsics of {of_height}x{of_width} do not fit that"
        )


def _counted(frames: Iterable[FilmFrame], advance: Advance) -> Iterator[FilmFrame]:
    for frame in frames:
        yield frame
        advance(1)


def _alike(frames: Iterable[FilmFrame], film: Path, size: tuple[int, int]) -> Iterator[FilmFrame]:
    for frame in frames:
        if frame.size != size:
            raise UserError(f"{film}: frame {frame.number} is {frame.size} pixels, others {size}")
        yield frame


def write_manifest(out: Path, states: Sequence[dict[str, Any]]) -> None:
    """All frames of the clips of films, a line each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, MANIFEST_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for state in states for row in state["rows"])
    write_text(out / "manifest.csv", text.getvalue())
