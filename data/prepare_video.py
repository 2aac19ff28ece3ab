"""Raw endoscopic video to clips: ``python -m data.prepare_video INPUT [INPUT ...] --out datasets/NAME/video_train``.

Finds the view and crops to the largest box in it, takes interlaced frames apart, masks texts and pictures that stand
still, drops frames that show nothing (dark, burnt, red, plain, blurred, frozen), cuts at scene changes, and takes
frames at a distance at which enough moves and not too much. Then it computes the optical flow that training reads.
Films that are finished are not prepared again; one that cannot be read is told of, and the rest goes on.
"""

import multiprocessing
import os
import queue
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from data import flow_cache
from data.clips import VIDEO_SUFFIXES, find_clips
from data.films.chooser import MotionLimits
from data.films.film import (
    PASSES,
    Settings,
    finished,
    finished_films,
    prepare_film,
    require_own_name,
    write_manifest,
)
from data.films.frames import count_frames
from data.films.sheet import describe, sheet_folder, write_sheet
from data.films.writer import STATE, name_of
from data.flow_cache import FlowCache, make_flow_estimator
from data.image_files import list_images
from data.transforms import Preprocessing
from util.child_process import end_with_parent
from util.errors import UserError, run_cli
from util.files import remove_partial_files
from util.intrinsics import read_intrinsics
from util.progress import progress_bar

FAULTY_CODE = 1
NO_FLOW = "none"
POLL_S = 0.5  # how often the progress of other processes is looked at
LOCK = "lock"  # file beside the states

State = dict[str, Any]
Work = Callable[[], State]


@dataclass
class Outcome:
    """What became of the films: their states, or why they could not be prepared."""

    states: dict[Path, State] = field(default_factory=dict)
    faults: dict[Path, str] = field(default_factory=dict)

    def keep(self, film: Path, work: Work) -> None:
        """The state that ``work`` returns, or its error: one film must not take the others with it."""
        try:
            self.states[film] = work()
        except (UserError, OSError) as error:
            self.faults[film] = str(error) if str(film) in str(error) else f"{film}: {error}"
        except BrokenProcessPool:
            self.faults[film] = f"{film}: the process that worked on it was killed; is there enough memory?"
        except Exception as error:  # FFmpeg and OpenCV have errors of all kinds for files of all kinds
            self.faults[film] = f"{film}: {type(error).__name__}: {error}"

    @property
    def faulty(self) -> bool:
        """Whether some film could not be prepared, or not all of it."""
        return bool(self.faults) or any(state["damage"] for state in self.states.values())


def main(args: list[str] | None = None) -> int:
    opt = parse(args)
    motion = MotionLimits(**{one.name: getattr(opt, one.name) for one in fields(MotionLimits)})
    camera = None if opt.intrinsics is None else read_intrinsics(opt.intrinsics)
    settings = Settings(motion=motion, crop=opt.crop, short_side=opt.short_side, camera=camera)
    estimator = None if opt.flow == NO_FLOW else make_flow_estimator(opt)
    with alone_in(opt.out):
        outcome = prepare_all(opt.inputs, opt.out, settings, opt.workers)
        states = finished_films(opt.out)  # those of earlier runs, too
        write_manifest(opt.out, states)
        page = write_sheet(opt.out, states)
        tell(opt, outcome, page)
        if estimator is not None and any(state["clips"] for state in states):
            FlowCache.filled(opt, opt.out, find_clips(opt.out), estimator)
    return FAULTY_CODE if outcome.faulty else 0


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Nobody else prepares films into this folder meanwhile, and nothing half-written is in it.

    Raises:
        UserError: somebody does.
        OSError: the folder cannot be written.
    """
    (out / STATE).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / STATE / LOCK, timeout=0):
            for folder in (out, sheet_folder(out)):
                remove_partial_files(folder)
            yield
    except Timeout:
        raise UserError(f"films are being prepared into {out} by another process; wait for it, or stop it") from None


def tell(opt: Namespace, outcome: Outcome, page: Path) -> None:
    """What became of the films, and where to look."""
    sys.stdout.write("".join(f"{describe(outcome.states[film])}\n" for film in opt.inputs if film in outcome.states))
    sys.stdout.write(f"contact sheet  {page}\nframes         {opt.out / 'manifest.csv'}\n")
    sys.stdout.write("".join(f"not prepared: {outcome.faults[film]}\n" for film in outcome.faults))
    sys.stdout.flush()


def parse(args: list[str] | None) -> Namespace:
    limits = MotionLimits()
    parser = ArgumentParser(prog="python -m data.prepare_video", description="Raw endoscopic video to clips.")
    parser.add_argument("inputs", type=Path, nargs="+", help="films, or folders of frames")
    parser.add_argument("--out", type=Path, required=True, help="folder of the clips, e.g. datasets/NAME/video_train")
    group = parser.add_argument_group("clips")
    group.add_argument("--clip_length", type=_positive, default=limits.clip_length, help="most frames of a clip")
    group.add_argument("--min_length", type=_positive, default=limits.min_length, help="fewest frames of a clip")
    group.add_argument("--min_motion", type=float, default=limits.min_motion, help="between neighbours [diagonals]")
    group.add_argument("--max_motion", type=float, default=limits.max_motion, help="between neighbours [diagonals]")
    group.add_argument("--max_gap", type=_positive, default=limits.max_gap, help="between neighbours [frames]")
    group.add_argument("--no_crop", dest="crop", action="store_false", help="keep the black border")
    group.add_argument("--short_side", type=_positive, help="scale larger frames down to this [px]; default: as filmed")
    group.add_argument("--intrinsics", type=Path, help="intrinsics.json of the films; it is cropped with them")
    group.add_argument(
        "--workers", type=_positive, default=os.cpu_count() or 1, help="films that are worked on at once"
    )
    flow_group = parser.add_argument_group("optical flow, as for train.py; --flow none leaves it to the training")
    flow_cache.add_options(flow_group, more_methods=(NO_FLOW,))
    Preprocessing.add_options(parser, is_train=False)
    opt = parser.parse_args(args)
    opt.gpu_ids = [0] if torch.cuda.is_available() else []
    # Not resolved: a link to a film gives clips of the link's name.
    opt.inputs, opt.out = [_absolute(path) for path in opt.inputs], _absolute(opt.out)
    _check(parser, opt)
    return opt


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - ``absolute`` keeps "..", which clips cannot be named after


def _check(parser: ArgumentParser, opt: Namespace) -> None:
    """Mistakes end here, before hours of work."""
    if not 0 <= opt.min_motion < opt.max_motion:
        parser.error(f"--min_motion {opt.min_motion} must lie between 0 and --max_motion {opt.max_motion}")
    if opt.min_length > opt.clip_length:
        parser.error(f"--clip_length {opt.clip_length} is less than --min_length {opt.min_length}")
    for name in ("load_size", "frame_step"):
        if getattr(opt, name) < 1:
            parser.error(f"--{name} {getattr(opt, name)}: must be at least 1")
    names = [name_of(path) for path in opt.inputs]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        parser.error(f"several inputs are called {', '.join(twice)}, and clips are named after them: rename some")
    odd = [name for name in names if not name.isprintable() or name.startswith(".")]
    if odd:
        parser.error(f"clips cannot be named after {', '.join(map(ascii, odd))}; rename these inputs")
    if opt.out.is_dir() and list_images(opt.out, VIDEO_SUFFIXES):
        parser.error(f"--out {opt.out} holds films; clips belong in a folder of their own")


def prepare_all(films: list[Path], out: Path, settings: Settings, workers: int) -> Outcome:
    """Prepare the films that are not finished, ``workers`` of them at once."""
    outcome, waiting = Outcome(), {}
    for film in films:
        try:
            require_own_name(out, film)
            state = finished(out, film, settings)
            if state is None:
                waiting[film] = count_frames(film)
            else:
                outcome.states[film] = state
        except (UserError, OSError) as error:
            outcome.faults[film] = str(error)
    known = None if None in waiting.values() else PASSES * sum(waiting.values())
    at_once = max(1, min(workers, len(waiting)))
    prepare = partial(prepare_film, out=out, settings=settings, threads=max(1, (os.cpu_count() or 1) // at_once))
    with progress_bar(known, "preparing", "frames") as bar:
        if at_once == 1:
            for film in waiting:
                outcome.keep(film, partial(prepare, film, advance=bar.update))
            return outcome
        prepare_in_processes(list(waiting), prepare, at_once, bar.update, outcome)
    return outcome


def prepare_in_processes(
    films: list[Path],
    prepare: Callable[..., State],
    workers: int,
    advance: Callable[[int], object],
    outcome: Outcome,
) -> None:
    """Prepare several films at once. When a process dies, those that were not done get one each, so that it is known
    which film its process dies of.

    Args:
        films: what is prepared.
        prepare: of a film and ``advance``; both have to be pickled.
        workers: processes.
        advance: is told of frames that are done.
        outcome: keeps what becomes of the films.
    """
    for film in _in_processes(films, prepare, workers, advance, outcome):
        for work in _in_processes([film], prepare, 1, advance, outcome).values():
            outcome.keep(film, work)


def _in_processes(
    films: list[Path],
    prepare: Callable[..., State],
    workers: int,
    advance: Callable[[int], object],
    outcome: Outcome,
) -> dict[Path, Work]:
    """Keep what becomes of the films; returns those whose processes died, with the call that raises it."""
    context, died = multiprocessing.get_context("spawn"), {}
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)
    with context.Manager() as manager, pool:
        counted = manager.Queue()
        jobs = {pool.submit(prepare, film, advance=counted.put): film for film in films}
        pending = set(jobs)
        while pending:
            done, pending = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
            _drain(counted, advance)
            for job in done:
                if isinstance(job.exception(), BrokenProcessPool):
                    died[jobs[job]] = job.result
                else:
                    outcome.keep(jobs[job], job.result)
    return died


def _drain(counted: "queue.Queue[int]", advance: Callable[[int], object]) -> None:
    while True:
        try:
            advance(counted.get_nowait())
        except queue.Empty:
            return


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"{value}: must be at least 1")
    return value


if __name__ == "__main__":
    run_cli(main)
