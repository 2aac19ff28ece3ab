"""Raw endoscopic video to clips: ``python -m data.prepare_video INPUT [INPUT ...] --out datasets/NAME/video_train``.

Finds the view and crops to the largest box in it, drops frames that show nothing (dark, burnt, red, plain, blurred,
frozen), cuts at scene changes, and takes frames at a distance at which enough moves. Films that are finished are not
prepared again; one that cannot be read is told of, and the rest goes on.
"""

import multiprocessing
import os
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from pathlib import Path
from typing import Any

from data.films.film import Settings, prepare_film, sheet_folder, write_manifest
from data.films.page import write_sheet
from data.films.runs import MotionLimits
from util.errors import UserError, run_cli
from util.intrinsics import read_intrinsics
from util.progress import progress_bar

FAULTY_CODE = 1


def main(args: list[str] | None = None) -> int:
    opt = parse(args)
    settings = Settings(
        motion=MotionLimits(**{one.name: getattr(opt, one.name) for one in fields(MotionLimits)}),
        crop=opt.crop,
        camera=None if opt.intrinsics is None else read_intrinsics(opt.intrinsics),
    )
    states, faults = prepare_all(opt.inputs, opt.out, settings, opt.workers)
    write_manifest(opt.out, states)
    write_sheet(sheet_folder(opt.out), opt.out.name, states)
    sys.stdout.write("".join(f"{line_of(state)}\n" for state in states))
    sys.stdout.write(
        f"contact sheet  {sheet_folder(opt.out) / 'index.html'}\nframes         {opt.out / 'manifest.csv'}\n"
    )
    sys.stdout.write("".join(f"not prepared: {fault}\n" for fault in faults))
    return FAULTY_CODE if faults else 0


def parse(args: list[str] | None) -> Namespace:
    motion = MotionLimits()
    parser = ArgumentParser(prog="python -m data.prepare_video", description="Raw endoscopic video to clips.")
    parser.add_argument("inputs", type=Path, nargs="+", help="films, or folders of frames")
    parser.add_argument("--out", type=Path, required=True, help="folder of the clips, e.g. datasets/NAME/video_train")
    parser.add_argument("--min_motion", type=float, default=motion.min_motion, help="between neighbours [diagonals]")
    parser.add_argument("--max_motion", type=float, default=motion.max_motion, help="between neighbours [diagonals]")
    parser.add_argument("--max_step", type=int, default=motion.max_step, help="largest distance of neighbours [frames]")
    parser.add_argument("--min_frames", type=int, default=motion.min_frames, help="of a clip")
    parser.add_argument("--max_frames", type=int, default=motion.max_frames, help="of a clip")
    parser.add_argument("--no_crop", dest="crop", action="store_false", help="keep the black border")
    parser.add_argument("--intrinsics", type=Path, help="intrinsics.json of the films; it is cropped with them")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="films that are worked on at once")
    opt = parser.parse_args(args)
    if not 0 <= opt.min_motion < opt.max_motion:
        parser.error(f"--min_motion {opt.min_motion} must lie between 0 and --max_motion {opt.max_motion}")
    for name in ("max_step", "min_frames", "max_frames", "workers"):
        if getattr(opt, name) < 1:
            parser.error(f"--{name} {getattr(opt, name)}: must be at least 1")
    twice = [stem for stem, count in Counter(path.stem for path in opt.inputs).items() if count > 1]
    if twice:
        parser.error(f"several inputs are called {', '.join(twice)}, and clips are named after them: rename some")
    return opt


def prepare_all(
    inputs: list[Path], out: Path, settings: Settings, workers: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """The states of the films in their order, and why the others could not be prepared."""
    states: dict[Path, dict[str, Any]] = {}
    faults: dict[Path, str] = {}
    context = multiprocessing.get_context("spawn")
    with progress_bar(len(inputs), "preparing", "films") as bar:
        if workers == 1 or len(inputs) == 1:
            for film in inputs:
                _keep(film, lambda film=film: prepare_film(film, out, settings), states, faults)
                bar.update(1)
        else:
            with ProcessPoolExecutor(min(workers, len(inputs)), mp_context=context) as pool:
                jobs = {pool.submit(prepare_film, film, out, settings): film for film in inputs}
                for job in as_completed(jobs):
                    _keep(jobs[job], job.result, states, faults)
                    bar.update(1)
    return [states[film] for film in inputs if film in states], [faults[film] for film in inputs if film in faults]


def _keep(film: Path, work: Any, states: dict[Path, dict[str, Any]], faults: dict[Path, str]) -> None:
    try:
        states[film] = work()
    except (UserError, OSError) as error:
        faults[film] = str(error) if str(film) in str(error) else f"{film}: {error}"


def line_of(state: dict[str, Any]) -> str:
    """What became of a film."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in state["dropped"].items()) or "none dropped"
    kept = len(state["rows"])
    cuts = f", {len(state['cuts'])} cuts" if state["cuts"] else ""
    return f"{state['source']}: {kept} of {state['frames']} frames in {len(state['clips'])} clips ({dropped}{cuts})"


if __name__ == "__main__":
    run_cli(main)
