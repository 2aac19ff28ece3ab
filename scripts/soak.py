"""Kill a training at random moments, again and again: nothing may be broken, and nothing learned otherwise.

A tiny run is killed (SIGKILL to all its processes) and continued until ``--kills`` kills have happened; now and then
the flow cache is removed before, so that kills hit its computation too. After each kill every file that claims to be
whole has to be whole, and nothing may be lost beyond the last save. At the end the run is compared with one that
nothing befell, to the bit. Exit code 0 when all of that holds, else 1.

To be quick, each start is a fork of this process, which has imported everything and computed nothing.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.image_files import write_picture  # noqa: E402 - the project's root has to be on the path first
from scripts.soak_check import WholeFiles, differences, leftovers  # noqa: E402
from scripts.soak_process import Broken, Training  # noqa: E402
from util.checkpoint import generations, load_latest  # noqa: E402
from util.errors import UserError, run_cli  # noqa: E402
from util.human_units import human_duration  # noqa: E402
from util.progress import progress_bar  # noqa: E402

SIZE = 32  # of the frames [px]
PAIRS, EVAL_PAIRS, FRAMES = 6, 2, 40
SAVE_FREQ = 4  # iterations
SETTINGS = [
    *("--model=colon2depth", "--ngf=4", "--n_downsample_global=2", "--n_blocks_global=1", "--ndf=4"),
    *(f"--load_size={SIZE}", "--batch_size=2", "--video_batch_size=1", "--num_workers=1", "--gpu_ids=-1", "--flow=dis"),
    *("--niter=1000000", "--niter_decay=0", "--video_start_epoch=1", "--d_every=2", "--ema=0.9", "--no_report"),
    *("--print_freq=1", "--display_freq=3", f"--save_latest_freq={SAVE_FREQ}", "--keep_last=3"),
    *("--save_epoch_freq=40", "--eval_epoch_freq=10"),
]
STATE = ("networks", "ema", "updaters", "random", "streams", "iteration", "best", "facts")
KILL_WITHIN_S = 0.8  # after the first iteration of a start: two saves or more
FLOW_TAKES_S, SAVING_TAKES_S = 0.1, 0.03
AIMS = {"start": 0.2, "flow": 0.15, "save": 0.2, "run": 0.45}  # what kills are meant for, and how often


@dataclass
class Tally:
    """What happened so far."""

    phases: Counter = field(default_factory=Counter)
    leftovers: Counter = field(default_factory=Counter)
    saved: int = 0  # iteration of the newest whole checkpoint


def main() -> int:
    opt = parse()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that no training is left alone
    folder, began = Path(tempfile.mkdtemp(prefix="soak_", dir=opt.folder)), time.monotonic()
    files, tally = WholeFiles({"clip": FRAMES - 1}), Tally()
    try:
        write_data(folder / "data")
        kill_again_and_again(folder, opt, files, tally)
        finish(folder, tally.saved + SAVE_FREQ + 3, files, tally)
        verdict = "passed"
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    except Broken as problem:
        verdict = f"FAILED after {tally.phases.total()} kills: {problem}"
    print(f"{tally.phases.total()} kills in {human_duration(time.monotonic() - began)}, to iteration {tally.saved}")
    print(f"  killed in    {shown(tally.phases)}")
    print(f"  checked      {files.checked} files that claim to be whole")
    print(f"  half-written {shown(tally.leftovers)}")
    print(f"verdict: {verdict}")
    if opt.keep or verdict != "passed":
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return verdict != "passed"


def parse() -> Namespace:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="how often the run is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", action="store_true", help="do not remove the runs at the end")
    parser.add_argument("--folder", type=Path, help="where a folder for the runs is made; default: the system's")
    opt = parser.parse_args()
    if opt.kills < 1:
        parser.error(f"--kills {opt.kills}: must be at least 1")
    if not hasattr(os, "fork"):
        raise UserError("this needs a system that can fork")
    return opt


def write_data(root: Path) -> None:
    """Pairs to learn from and to be scored on, and a clip of a texture that moves."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    for phase, count in (("train", PAIRS), ("eval", EVAL_PAIRS)):
        for number in range(count):
            depth = 60 + x + 2 * y + 20 * np.sin(x / 5 + number)
            frame = (200 * (60 / depth)[..., None] * rng.uniform(0.7, 1, (SIZE, SIZE, 3))).clip(30, 255)
            write_picture(root / f"{phase}_A" / f"{number}.png", frame.astype(np.uint8))
            write_picture(root / f"{phase}_B" / f"{number}.png", depth.round().astype(np.uint8))
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (SIZE, SIZE + FRAMES, 3)), (0, 0), 2)
    texture = cv2.normalize(texture, None, 40, 250, cv2.NORM_MINMAX).astype(np.uint8)
    for number in range(FRAMES):
        write_picture(root / "video_train" / "clip" / f"{number:03d}.png", texture[:, number : number + SIZE])


def kill_again_and_again(folder: Path, opt: Namespace, files: WholeFiles, tally: Tally) -> None:
    """
    Raises:
        Broken: a file is not whole, progress was lost, or the run ended by itself.
    """
    rng, run, cache = random.Random(opt.seed), folder / "runs" / "killed", folder / "data" / "flow_cache"
    start_s = 1.0
    with progress_bar(opt.kills, "soak", "kills") as bar:
        while tally.phases.total() < opt.kills:
            (aim,) = rng.choices(list(AIMS), list(AIMS.values()))
            if aim == "flow":
                shutil.rmtree(cache, ignore_errors=True)
            with begin(folder, "killed", 10**9, resume=tally.saved > 0) as began:
                if aim == "start":
                    began.sleep(rng.uniform(0, start_s))
                elif aim == "flow":
                    began.wait_for(lambda: leftovers(cache))
                    began.sleep(rng.uniform(0, FLOW_TAKES_S))
                elif aim == "save":
                    began.wait_for(lambda began=began: list(run.glob(f".*.{began.pid}.partial.pth")))
                    began.sleep(rng.uniform(0, SAVING_TAKES_S))
                else:
                    start_s = began.wait_for(began.iterations)
                    began.sleep(rng.uniform(0, KILL_WITHIN_S))
            look_after(began, run, cache, files, tally)
            bar.set_postfix_str(f"iteration {tally.saved}, {shown(tally.phases)}", refresh=False)
            bar.update(1)


def begin(folder: Path, name: str, last: int, resume: bool) -> Training:
    """The run ``name``, up to the iteration ``last``."""
    runs = folder / "runs"
    places = [f"--dataroot={folder / 'data'}", f"--checkpoints_dir={runs}", f"--name={name}", f"--max_steps={last}"]
    return Training([*SETTINGS, *places, *["--continue_train"] * resume], runs / name, folder / f"{name}.txt")


def look_after(began: Training, run: Path, cache: Path, files: WholeFiles, tally: Tally) -> None:
    """What a kill left."""
    left = [path for path in leftovers(run, cache) if f".{began.pid}." in path.name]
    tally.phases[phase(left, bool(began.iterations()))] += 1
    tally.leftovers.update("flow" if cache in path.parents else "run" for path in left)
    damage = files.damage(run, cache)
    if damage:
        raise Broken("; ".join(damage))
    saved = newest(run)
    done = max(began.iterations(), default=0)
    due = max(tally.saved, (done - 1) // SAVE_FREQ * SAVE_FREQ)  # what was done after a save had to wait for its end
    if not due <= saved <= max(done, tally.saved):
        raise Broken(f"iteration {done} was done, {due} should be saved, and {saved} is")
    tally.saved = saved


def newest(run: Path) -> int:
    """The iteration from which the run would go on; 0 when nothing was saved yet."""
    if not generations(run / "latest.pth"):
        return 0
    try:
        return load_latest(run)[1]["iteration"]
    except UserError as error:
        raise Broken(f"no checkpoint can be loaded: {error}") from error


def phase(left: list[Path], has_iterated: bool) -> str:
    """In what a process was killed, as far as the half-written files that it left tell."""
    if any(path.suffix == ".npy" or path.name.startswith(".source.") for path in left):
        return "computing flow"
    if any(path.suffix == ".pth" for path in left):
        return "saving a checkpoint"
    if any(path.suffix in (".png", ".html", ".json") for path in left):
        return "pictures and page"
    return "training" if has_iterated else "starting"


def finish(folder: Path, last: int, files: WholeFiles, tally: Tally) -> None:
    """Let the run come to its end, and compare it with one that nothing befell.

    Raises:
        Broken: it does not end well, or is another run.
    """
    for name in ("killed", "undisturbed"):
        with begin(folder, name, last, resume=name == "killed" and tally.saved > 0) as began:
            began.come_to_its_end()
    runs = folder / "runs"
    damage = WholeFiles(files.pairs).damage(runs, folder / "data" / "flow_cache")
    rests = leftovers(runs) + [path for path in runs.iterdir() if path.name.startswith(".")]
    states = [load_latest(runs / name)[1] for name in ("killed", "undisturbed")]
    unequal = [line for part in STATE for line in differences(states[0][part], states[1][part], part)]
    tally.saved = states[0]["iteration"]
    problems = damage + [f"{path} was left" for path in rests]
    problems += [f"{len(unequal)} values differ from the undisturbed run, e.g. {unequal[0]}"] if unequal else []
    if problems:
        raise Broken("; ".join(problems))


def shown(counts: Counter) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    run_cli(main)
