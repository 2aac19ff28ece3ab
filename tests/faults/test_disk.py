"""A disk that is full or must not be written: what a training needs fails loudly, what it only shows is done without.

``/dev/full`` takes the place of a file: the system itself says that there is no space left.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from data.image_files import read_rgb
from tests.faults import children as faults
from tests.faults.children import NOBODY
from tests.faults.conftest import ITERATIONS, flags, log_of
from tests.test_train_and_test import assert_one_error
from tests.tiny_run import write_data_set
from util.checkpoint import load_checkpoint, load_latest

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.is_char_device(), reason="there is no /dev/full here")
SAVED = "`latest` of the last save"
ALL = "everything but what could not be written; the training ends as the undisturbed one to the bit"


def no_room_for(path):
    """The next time that this file is written there is no space left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}").symlink_to(FULL)


def no_more_room_for(name):
    """For what is written to an open file there is no space left."""
    full = os.open(FULL, os.O_WRONLY)
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.is_symlink() and descriptor.readlink().name == name:
            os.dup2(full, int(descriptor.name))
    os.close(full)


def warnings(outcome):
    return [line for line in outcome.err.splitlines() if line.startswith("warning")]


@needs_full
def test_checkpoint_that_does_not_fit_ends_the_run_and_keeps_the_ones_before(
    train, begun, goes_on_to_the_bit, monkeypatch, tell
):
    with monkeypatch.context() as patch:
        faults.at_step(patch, 6, lambda: no_room_for(begun / "latest.pth"))
        outcome = train("--continue_train", "--save_latest_freq=2")
    assert_one_error(outcome, "could not write", "No space left on device", "is the disk full?", "is intact")
    assert [load_checkpoint(begun / f"{name}.pth")["iteration"] for name in ("latest", "latest_1")] == [5, 4]
    assert not list(begun.rglob(".*"))
    goes_on_to_the_bit()
    tell("the disk is full when a checkpoint is due", outcome.errors[0], f"{SAVED}; with space, `--continue_train`", 2)


@needs_full
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_curves_that_do_not_fit_are_done_without(begun, goes_on_to_the_bit, monkeypatch, tell):
    def fill():
        for events in (begun / "tensorboard").iterdir():
            events.unlink()
            events.symlink_to(FULL)

    faults.at_step(monkeypatch, 6, fill)
    (warning,) = warnings(goes_on_to_the_bit("--print_freq=1"))
    assert "No space left on device" in warning
    kept = f"{ALL}; TensorBoard's thread adds a traceback"
    tell("the disk is full when TensorBoard's events are due", warning, kept, None)


@needs_full
def test_lines_that_do_not_fit_are_done_without(begun, goes_on_to_the_bit, monkeypatch, tell):
    faults.at_step(monkeypatch, 7, lambda: no_more_room_for("loss_log.txt"))
    (warning,) = warnings(goes_on_to_the_bit("--print_freq=1"))
    assert "iters: 6" in log_of(begun)[-1]
    tell("the disk is full when a line of `loss_log.txt` is due", warning, ALL, None)


@needs_full
def test_pictures_that_do_not_fit_are_done_without(begun, goes_on_to_the_bit, monkeypatch, tell):
    for name in ("00000006_frame", "00000007_mask"):
        faults.at_step(monkeypatch, 6, lambda name=name: no_room_for(begun / "web" / "images" / f"{name}.png"))
    (warning,) = warnings(goes_on_to_the_bit("--display_freq=1"))  # once, and the second time not a word
    for picture in (begun / "web" / "images").iterdir():
        read_rgb(picture)
    page = (begun / "web" / "index.html").read_text()
    assert [page.count(f'id="epoch-{(i + 2) // 3}-{i}"') for i in (5, 6, 7, 8)] == [1, 0, 0, 1]
    tell("the disk is full when the pictures of the page are due", warning, ALL, None)


@needs_full
def test_flow_that_does_not_fit_ends_before_the_training(train, checkpoints, tmp_path, tell):
    """An error and no bus error, as writing through a memory map would have it."""
    data = write_data_set(tmp_path / "data")
    no_room_for(data / "flow_cache" / "video_train" / "dis_resize32_step1" / "clip" / "flow.npy")
    outcome = train(dataroot=data)
    assert_one_error(outcome, "No space left on device", "flow_cache/")
    assert not checkpoints.exists()
    kept = "the flow of the clips that were finished; no run was begun"
    tell("the disk is full when flow is computed, before the training", outcome.errors[0], kept, 2)


def everybody_can_reach(path):
    return all(parent.stat().st_mode & 0o001 for parent in Path(path).resolve().parents)


@pytest.fixture
def open_folder():
    """A folder that everybody can reach, which those of pytest are not."""
    if os.geteuid() == 0 and not (everybody_can_reach(os.__file__) and everybody_can_reach(np.__file__)):
        pytest.skip("run as root, with an interpreter whose packages an ordinary user cannot read")
    folder = Path(tempfile.mkdtemp(prefix="faults_"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_folder_of_runs_that_must_not_be_written_is_told_at_once(children, open_folder, tell):
    """With the rights of an ordinary user: root may write everywhere."""
    checkpoints = open_folder / "checkpoints"
    checkpoints.mkdir(mode=0o555)
    (open_folder / "err").touch(0o666)
    outcome = children.train(flags("nowhere", checkpoints), open_folder / "err", faults.rights_of_nobody)
    assert_one_error(outcome, f"{checkpoints}/ cannot be written (Permission denied)", "another --checkpoints_dir")
    tell("`--checkpoints_dir` must not be written", outcome.errors[0], "no run was begun, no data was read", 2)


def test_folder_that_becomes_read_only_ends_the_run_at_the_next_save(children, open_folder, tell):
    checkpoints, data = open_folder / "checkpoints", write_data_set(open_folder / "data")
    (checkpoints / "demo").mkdir(parents=True)
    for path in [open_folder, *open_folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY) if os.geteuid() == 0 else None
    args = flags(data, checkpoints, f"--max_steps={ITERATIONS}", "--save_latest_freq=2", "--display_freq=1")
    protect = (faults.rights_of_nobody, checkpoints / "demo", 4)
    outcome = children.train(args, open_folder / "err", *protect)
    assert outcome.code == 2, outcome.err
    assert not warnings(outcome)
    assert "could not write" in outcome.errors[-1]
    assert "Permission denied" in outcome.errors[-1]
    assert load_latest(checkpoints / "demo")[1]["iteration"] == 2
    tell("the run's folder becomes read-only during the training", outcome.errors[-1], SAVED, 2)


def test_run_without_a_folder_for_curves_goes_on(checkpoints, train, tell):
    (checkpoints / "demo").mkdir(parents=True)
    (checkpoints / "demo" / "tensorboard").touch()
    outcome = train(last=2)
    assert outcome.code == 0, outcome.err
    (warning,) = warnings(outcome)
    assert load_checkpoint(checkpoints / "demo" / "latest.pth")["iteration"] == 2
    tell("`tensorboard/` cannot be made", warning, "everything but the curves", None)
