"""Fixtures that several test files share."""

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
SIZE = (20, 28)  # of the tiny set's frames (H, W): no side a power of two, and not square


def pytest_collection_modifyitems(items):
    """Processes take whole files, whose tests share what was made once; those of faults fill a page together."""
    for item in items:
        place = item.path.parent if item.path.parent.name == "faults" else item.path
        item.add_marker(pytest.mark.xdist_group(str(place.relative_to(ROOT))))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny networks gain nothing from threads, and waiting for each other they take the cores from all else."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def the_end_of_a_terminal_is_heard():
    """``nohup`` has it ignored, by all processes that tests start too; what they do when it comes is tested."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def shared_data() -> Path:
    """Samples of public data sets: ``$ENDODEPTH_SAMPLES``, or ``shared/data`` beside the repository."""
    folder = Path(os.environ.get("ENDODEPTH_SAMPLES", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the sample data is not here")
    return folder


@pytest.fixture
def tiny_set(tmp_path) -> Path:
    """A data set in the documented layout: 6, 2 and 2 pairs, and two clips of 5 and 4 frames."""
    root, rng = tmp_path / "tiny", np.random.default_rng(0)
    for phase, count in (("train", 6), ("eval", 2), ("test", 2)):
        for number in range(count):
            save_picture(root / f"{phase}_A" / f"{number:04d}.png", rng.integers(30, 256, (*SIZE, 3)))
            save_picture(root / f"{phase}_B" / f"{number:04d}.png", rng.integers(0, 200, SIZE))
    for clip, count in (("first", 5), ("second", 4)):
        for number in range(count):
            save_picture(root / "video_train" / clip / f"{number:04d}.png", rng.integers(30, 256, (*SIZE, 3)))
    return root


def save_picture(path: Path, pixels: np.ndarray, dtype: type = np.uint8) -> Path:
    """Write pixels as they are, in RGB(A) order, by OpenCV alone: what is tested must not write its own input."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(pixels).astype(dtype)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def save():
    """The function that writes a picture file."""
    return save_picture
