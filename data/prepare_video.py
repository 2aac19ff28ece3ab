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
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from data import flow_cache
from data.clips import find_clips
from data.films.chooser import MotionLimits
from data.films.film import PASSES, Settings, finished, finished_films, prepare_film, write_manifest
from data.films.frames import count_frames
from data.films.sheet import describe, write_sheet
from data.flow_cache import FlowCache
from data.transforms import Preprocessing
from util.errors import UserError, run_cli
from util.intrinsics import read_intrinsics
from util.progress import progress_bar

FAULTY_CODE = 1
NO_FLOW = "none"
POLL_S = 0.5  # how often the progress of other processes is looked at
FAULTS = (UserError, OSError)


@dataclass
class Outcome:
    """What became of the films: their states, or why they could not be prepared."""

    states: dict[Path, dict[str, Any]] = field(default_factory=dict)
    faults: dict[Path, str] = field(default_factory=dict)

    def keep(self, film: Path, work: Callable[[], dict[str, Any]]) -> None:
        """The state that ``work`` returns, or its error."""
        try:
            self.states[film] = work()
        except FAULTS as error:
            self.faults[film] = str(error) if str(film) in str(error) else f"{film}: {error}"


def main(args: list[str] | None = None) -> int:
    opt = parse(args)
    motion = MotionLimits(**{one.name: getattr(opt, one.name) for one in fields(MotionLimits)})
    camera = None if opt.intrinsics is None else read_intrinsics(opt.intrinsics)
    settings = Settings(motion=motion, crop=opt.crop, short_side=opt.short_side, camera=camera)
    outcome = prepare_all(opt.inputs, opt.out, settings, opt.workers)
    states = finished_films(opt.out)  # those of earlier runs, too
    write_manifest(opt.out, states)
    page = write_sheet(opt.out, states)
    if opt.flow != NO_FLOW and any(state["clips"] for state in states):
        FlowCache.filled(opt, opt.out, find_clips(opt.out))
    sys.stdout.write("".join(f"{describe(outcome.states[film])}\n" for film in opt.inputs if film in outcome.states))
    sys.stdout.write(f"contact sheet  {page}\nframes         {opt.out / 'manifest.csv'}\n")
    sys.stdout.write("".join(f"not prepared: {outcome.faults[film]}\n" for film in outcome.faults))
    return FAULTY_CODE if outcome.faults else 0


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
    if not 0 <= opt.min_motion < opt.max_motion:
        parser.error(f"--min_motion {opt.min_motion} must lie between 0 and --max_motion {opt.max_motion}")
    twice = [stem for stem, count in Counter(path.stem for path in opt.inputs).items() if count > 1]
    if twice:
        parser.error(f"several inputs are called {', '.join(twice)}, and clips are named after them: rename some")
    return opt


def prepare_all(films: list[Path], out: Path, settings: Settings, workers: int) -> Outcome:
    """Prepare the films that are not finished, ``workers`` of them at once."""
    outcome, waiting = Outcome(), {}
    for film in films:
        try:
            state = finished(out, film, settings)
            if state is None:
                waiting[film] = count_frames(film)
            else:
                outcome.states[film] = state
        except FAULTS as error:
            outcome.faults[film] = str(error)
    known = None if None in waiting.values() else PASSES * sum(waiting.values())
    at_once = max(1, min(workers, len(waiting)))
    threads = max(1, (os.cpu_count() or 1) // at_once)
    with progress_bar(known, "preparing", "frames") as bar:
        if at_once == 1:
            for film in waiting:
                outcome.keep(film, lambda film=film: prepare_film(film, out, settings, threads, bar.update))
        else:
            for film, work in _in_processes(list(waiting), out, settings, at_once, threads, bar.update):
                outcome.keep(film, work)
    return outcome


def _in_processes(
    films: list[Path], out: Path, settings: Settings, workers: int, threads: int, advance: Callable[[int], object]
) -> Iterator[tuple[Path, Callable[[], dict[str, Any]]]]:
    """Each film when it is done, with a call that gives its state or raises its error."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        counted = manager.Queue()
        jobs = {pool.submit(prepare_film, film, out, settings, threads, counted.put): film for film in films}
        pending = set(jobs)
        while pending:
            done, pending = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
            _drain(counted, advance)
            for job in done:
                yield jobs[job], job.result


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
