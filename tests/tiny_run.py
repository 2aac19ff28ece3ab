"""A data set, options and a way to call the programs that are small enough for tests."""

import io
import re
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from data.sfm.published_writer import write_published
from options.train_options import TrainOptions
from tests.data.sfm.tiny_clip import make_clip
from util.errors import run_cli

FRAME = (36, 44)  # (H, W) of the files, not square
LOAD = 32  # what they are resized to [px]
MM_PER_UNIT8 = 200 / 255  # 8-bit depth maps of UCL

# Flags of a method that make its networks tiny; a method that is not listed is taken as it is.
TINY_NETWORKS = {
    "colon2depth": ["--ngf=4", "--n_downsample_global=2", "--n_blocks_global=1", "--ndf=4"],
    "sc_depth": ["--encoder_weights=none", "--fov=90"],
    "sfm_depth": ["--net=global", "--ngf=4", "--sfm_divisor=16"],
}
TINY_DATA = [f"--loadSize={LOAD}", "--batchSize=2", "--videoBatchSize=1", "--nThreads=0", "--gpu_ids=-1", "--flow=dis"]


NEWS = re.compile(r"\d%\||^eval at|^first iteration|^options changed|^hint: ")


class Outcome(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr that are neither progress nor scores nor other news of the run."""
        return [line for line in self.err.splitlines() if line and not NEWS.search(line)]


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Write (H, W) or RGB (H, W, 3) pixels as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., ::-1])
    return path


def scene(number: int, size: tuple[int, int] = FRAME) -> tuple[np.ndarray, np.ndarray]:
    """An RGB frame uint8 (H, W, 3) and its depth uint8 (H, W): a slope with bumps, textured, darker where it is far."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(float)
    depth = 60 + 1.5 * x + 0.8 * y + 15 * np.sin(x / 6 + number) * np.cos(y / 5 - number)
    texture = np.random.default_rng(number).uniform(0.8, 1.0, (height, width, 3))
    rgb = 230 * texture * (60 / depth[..., None]) ** 0.5 * np.array([1.0, 0.7, 0.6])
    stored = depth.round().astype(np.uint8)
    stored[:2, :3] = 0  # invalid
    return rgb.clip(30, 255).astype(np.uint8), stored


def write_pairs(root: Path, phase: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        rgb, depth = scene(number)
        write_png(root / f"{phase}_A" / f"{number:03d}.png", rgb)
        write_png(root / f"{phase}_B" / f"{number:03d}.png", depth)


def write_clip(folder: Path, count: int, seed: int = 0) -> None:
    """Frames of a smooth picture that moves by (-2, -1) px a frame."""
    noise = np.random.default_rng(seed).uniform(0, 255, (FRAME[0] + count, FRAME[1] + 2 * count, 3))
    picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 40, 250, cv2.NORM_MINMAX).astype(np.uint8)
    for t in range(count):
        write_png(folder / f"{t:04d}.png", picture[t : t + FRAME[0], 2 * t : 2 * t + FRAME[1]])


def write_data_set(root: Path) -> Path:
    """6, 2 and 3 pairs, a clip of 5 frames to learn from, with pseudo-depth, and one of 3 to be tested on, all without
    truth; and two clips of 8 frames with SfM.
    """
    for phase, count, first in (("train", 6, 0), ("eval", 2, 10), ("test", 3, 20)):
        write_pairs(root, phase, count, first)
    write_clip(root / "video_train" / "clip", 5)
    write_clip(root / "video_test" / "clip", 3, seed=1)
    for t in range(5):
        write_png(root / "pseudo_depth" / "video_train" / "clip" / f"{t:04d}.png", scene(t)[1].astype(np.uint16) * 200)
    for phase, seed in (("train", 0), ("test", 1)):
        write_sfm_clip(root / f"sfm_{phase}" / "clip", seed)
    return root


def write_sfm_clip(folder: Path, seed: int = 0) -> None:
    """Eight frames with SfM in the published layout."""
    write_published(make_clip(frames=folder, seed=seed), folder)


def tiny_args(dataroot: Path, *more: str, model: str = "colon2depth") -> list[str]:
    """Arguments of a tiny training; ``more`` may say otherwise."""
    return [f"--model={model}", f"--dataroot={dataroot}", *TINY_DATA, *TINY_NETWORKS.get(model, []), *more]


def tiny_options(*more: str, dataroot: Path = Path("unused"), model: str = "colon2depth") -> Namespace:
    return TrainOptions().parse(tiny_args(dataroot, *more, model=model))


def call(main: Callable[[], None], *args: object) -> Outcome:
    """Call ``main`` of ``train.py`` or ``test.py`` as the command line does, but in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [f"{main.__module__}.py", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            run_cli(main)
    return Outcome(end.value.code, out.getvalue(), err.getvalue())
