"""Files that cannot be read and processes that load them and die, in the middle of a training."""

import multiprocessing
import os
import signal

from tests.faults import children as faults
from tests.test_train_and_test import assert_equal, assert_one_error, truncate
from tests.tiny_run import write_data_set
from util.checkpoint import load_checkpoint

DAMAGED = "train_A/003.png"


def test_killed_loader_ends_the_run_with_what_is_saved(train, begun, goes_on_to_the_bit, monkeypatch, tell):
    def kill_a_loader():
        loaders = set(multiprocessing.active_children()) - others
        loader = min(loaders, key=lambda process: process.pid)  # that of the first stream begins first
        os.kill(loader.pid, signal.SIGKILL)
        loader.join()

    others = set(multiprocessing.active_children())
    with monkeypatch.context() as patch:
        faults.at_step(patch, 7, kill_a_loader)
        outcome = train("--continue_train", "--nThreads=1", "--save_latest_freq=2")
    assert_one_error(outcome, "died (killed by signal: Killed)", "--num_workers")
    assert load_checkpoint(begun / "latest.pth")["iteration"] == 6
    goes_on_to_the_bit()
    kept = "`latest` of the last save; `--continue_train` ends as the undisturbed run to the bit"
    tell("a process that loads data is killed", outcome.errors[0], kept, 2)


def test_file_that_is_damaged_later_ends_the_run_with_its_name(
    train, checkpoints, undisturbed, tmp_path, monkeypatch, tell
):
    data = write_data_set(tmp_path / "data")
    whole = (data / DAMAGED).read_bytes()
    faults.at_step(monkeypatch, 3, lambda: truncate(data / DAMAGED))
    outcome = train("--save_latest_freq=1", dataroot=data)
    assert_one_error(outcome, f"error: {data / DAMAGED} is truncated")
    held = load_checkpoint(checkpoints / "demo" / "latest.pth")
    assert 3 <= held["iteration"] < 6  # the second epoch meets it
    assert held["streams"]["synthetic"] == held["iteration"]
    (data / DAMAGED).write_bytes(whole)
    assert train("--continue_train", dataroot=data).code == 0
    assert_equal(load_checkpoint(checkpoints / "demo" / "latest.pth")["networks"], undisturbed["networks"], "networks")
    kept = "`latest` of the last save; with the file copied again, `--continue_train` goes on with that batch"
    tell("a file of the training set is damaged, met in the middle of an epoch", outcome.errors[0], kept, 2)


def test_file_that_is_damaged_later_is_skipped_and_listed(train, checkpoints, tmp_path, monkeypatch, tell):
    data = write_data_set(tmp_path / "data")
    faults.at_step(monkeypatch, 3, lambda: truncate(data / DAMAGED))
    outcome = train("--on_bad_sample=skip", dataroot=data)
    assert outcome.code == 0, outcome.err
    (warning,) = [line for line in outcome.err.splitlines() if line.startswith("warning")]
    assert warning.startswith(f"warning: skipped {data / DAMAGED}: is truncated")
    (listed,) = (checkpoints / "demo" / "skipped_samples.txt").read_text().splitlines()
    assert warning == f"warning: skipped {listed}"
    assert load_checkpoint(checkpoints / "demo" / "latest.pth")["iteration"] == 8
    kept = "the training, with the next sample in its place; `skipped_samples.txt` lists file and reason"
    tell("the same with `--on_bad_sample skip`", warning, kept, None)
