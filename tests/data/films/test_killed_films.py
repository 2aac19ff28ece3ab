"""Killed at any moment and started again, ``prepare_video`` makes what it makes undisturbed."""

import multiprocessing
import random
import time
from fnmatch import fnmatch

import cv2
import numpy as np
import pytest

from data.prepare_video import main
from tests.data.films.film_files import encode_film

ROUNDS, KILLS = 4, 5  # of a round
FILMS, FRAMES, SIZE = 3, 40, (120, 160)


def prepare(args):
    cv2.setNumThreads(1)
    raise SystemExit(main(args))


@pytest.fixture(scope="module")
def processes():
    """Forks of a process that has imported everything and computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.prepare_video"])
    first = context.Process(target=time.time)  # waits for the imports
    first.start()
    first.join()
    return context


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for number in range(FILMS):
        noise = np.random.default_rng(number).random((SIZE[0], 400, 3)).astype(np.float32)
        wide = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 40, 230, cv2.NORM_MINMAX).astype(np.uint8)
        frames = [wide[:, 2 * index : 2 * index + SIZE[1]] for index in range(FRAMES)]
        frames[20] = np.zeros_like(frames[20])
        encode_film(folder / f"film{number}.mp4", frames, crf=18)
    return [str(file) for file in sorted(folder.iterdir())]


def whole_files(folder):
    """Contents by name; of flow, neither from when its frames are, nor what is half-written for a day at most."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "source.json" and not fnmatch(path.name, ".*.partial.npy")
    }


def run(processes, films, out):
    process = processes.Process(target=prepare, args=([*films, f"--out={out}", "--load_size=32", "--workers=1"],))
    process.start()
    return process


def test_killed_20_times_it_makes_the_same_files(processes, films, tmp_path):
    began = time.monotonic()
    run(processes, films, tmp_path / "undisturbed" / "clips").join()
    lasts = time.monotonic() - began
    whole, rng = whole_files(tmp_path / "undisturbed"), random.Random(0)
    assert sum(path.suffix == ".png" for path in whole) > FILMS * FRAMES / 3
    in_work = 0
    for number in range(ROUNDS):
        out = tmp_path / f"round{number}" / "clips"
        for _ in range(KILLS):
            process = run(processes, films, out)
            time.sleep(rng.uniform(0.05, 0.4) * lasts)
            process.kill()
            process.join()
            in_work += process.exitcode != 0
        process = run(processes, films, out)
        process.join()
        assert process.exitcode == 0
        assert whole_files(out.parent) == whole
        assert not list((out / ".prepare").glob("*.partial"))
    assert in_work >= 2 * ROUNDS, (in_work, lasts)
