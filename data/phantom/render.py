"""Renders the whole set: splits the work over processes and puts it in place when all of it is there."""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2

from data.phantom.camera import Intrinsics, square_intrinsics
from data.phantom.plan import PAIR_SPLITS, Task, plan_tasks, split_sizes
from data.phantom.scenes import render_task
from data.phantom.writer import write_depth_encoding, write_intrinsics, write_json
from util.errors import UserError
from util.new_folder import new_folder
from util.progress import progress_bar

GENERATOR_VERSION = 1  # raise it whenever the same seed gives other bytes
MIN_SIZE = 32
# Measured on one 2 GHz server core; they only decide whether more processes are worth their start.
SECONDS_PER_COLON, SECONDS_PER_PIXEL, SECONDS_TO_START = 0.6, 1.5e-6, 15.0


def render_phantom(
    out: Path, frames: int, size: int, seed: int, fov_deg: float = 110.0, workers: int | None = None
) -> None:
    """Render the phantom data set into the new folder ``out``.

    The same arguments give the same bytes, whatever ``workers`` is. Everything is written beside ``out`` first and
    renamed at the end, so an interrupted run leaves nothing under that name.

    Args:
        out: folder to make; must not exist, or be empty.
        frames: number of synthetic training pairs; the other splits follow (``plan.split_sizes``).
        size: width and height of the pictures [px].
        seed: of all random choices, >= 0.
        fov_deg: horizontal field of view between the outer pixel edges [degrees].
        workers: number of processes; None takes one per available core, or one alone when there is little to do.

    Raises:
        UserError: an argument cannot be used, or ``out`` has content.
        MadeMeanwhile: another process has made ``out`` first.
    """
    out = Path(out)
    _check(frames, size, seed, workers)
    camera = square_intrinsics(size, fov_deg)
    tasks = plan_tasks(frames, seed)
    workers = _useful_workers(tasks, size) if workers is None else workers
    with new_folder(out) as folder:
        start = time.perf_counter()
        render_tasks(folder, tasks, camera, min(workers, len(tasks)))
        seconds = time.perf_counter() - start
        write_intrinsics(folder, camera)
        for split in PAIR_SPLITS:
            write_depth_encoding(folder / f"{split}_B")
        write_json(folder / "phantom.json", _description(frames, size, seed, fov_deg, tasks))
    total = sum(task.num_frames for task in tasks)
    sys.stderr.write(f"{out}: {total} frames in {seconds:.1f} s, {total / seconds:.1f} frames/s\n")


def _check(frames: int, size: int, seed: int, workers: int | None) -> None:
    given = {"frames": frames, "size": size, "seed": seed, "workers": 1 if workers is None else workers}
    least = {"frames": 1, "size": MIN_SIZE, "seed": 0, "workers": 1}
    for name, value in given.items():
        if value < least[name]:
            raise UserError(f"{name} must be at least {least[name]}, got {value}")


def render_tasks(folder: Path, tasks: list[Task], camera: Intrinsics, workers: int) -> None:
    """Render all tasks, in this process or in several, with a progress bar over frames."""
    with progress_bar(sum(task.num_frames for task in tasks), "rendering colons", "frames") as bar:
        if workers == 1:
            for task in tasks:
                bar.update(render_task(folder, task, camera))
            return
        context = _process_context()
        executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
        try:
            for done in as_completed([executor.submit(render_task, folder, task, camera) for task in tasks]):
                bar.update(done.result())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # tells the processes to stop at their next frame
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _process_context() -> multiprocessing.context.BaseContext:
    """Processes that share nothing with this one: a forked copy of Embree's and OpenCV's threads may hang.

    Where there is a fork server, it imports the package once, and not once per process.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.phantom.scenes"])
    return context


def _start_worker() -> None:
    """One thread per process; and the terminal's Ctrl-C is the main process's business."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _description(frames: int, size: int, seed: int, fov_deg: float, tasks: list[Task]) -> dict[str, object]:
    colons = {split: sum(task.split == split for task in tasks) for split in split_sizes(frames)}
    return {
        "generator": "data.phantom",
        "version": GENERATOR_VERSION,
        "frames": frames,
        "size": size,
        "seed": seed,
        "fov_deg": fov_deg,
        "frames_per_split": split_sizes(frames),
        "colons_per_split": colons,
    }


def _useful_workers(tasks: list[Task], size: int) -> int:
    """One process per available core, but one alone for what is done before others would have started."""
    seconds = SECONDS_PER_COLON * len(tasks) + SECONDS_PER_PIXEL * size**2 * sum(task.num_frames for task in tasks)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if seconds < SECONDS_TO_START else cores
