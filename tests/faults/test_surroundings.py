"""What happens around a run: another one of its name, a clock that is set, a terminal that is gone."""

import time

from tests.faults import children as faults
from tests.faults.conftest import ITERATIONS, flags, log_of
from tests.test_train_and_test import assert_equal, assert_one_error
from util.checkpoint import load_checkpoint
from util.run_lock import RunLock


def test_second_training_of_a_name_changes_nothing(train, begun, goes_on_to_the_bit, tell):
    """Also with --continue_train and --overwrite: ``test_damaged_runs.py``."""
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    with RunLock(begun):
        outcome = train("--overwrite")
    assert_one_error(outcome, "run 'demo' in", "is being trained by process", "another --name")
    assert {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()} == before
    goes_on_to_the_bit()
    tell("two trainings with one `--name` at once", outcome.errors[0], "the first one, untouched", 2)


def test_clock_that_is_set_back_changes_nothing(begun, goes_on_to_the_bit, monkeypatch, tell):
    def set_back():
        monkeypatch.setattr(time, "time", lambda: system_time() - 86400)

    system_time = time.time
    faults.at_step(monkeypatch, 6, set_back)
    outcome = goes_on_to_the_bit("--print_freq=1", "--display_freq=1")
    assert outcome.errors == []
    assert [f"iters: {i}," in line for i, line in zip((6, 7, 8), log_of(begun)[-3:], strict=True)] == [True] * 3
    tell("the system's clock is set back by a day", "", "all; durations are measured with another clock", None)


def test_run_goes_on_when_nobody_reads_the_terminal(children, dataroot, checkpoints, tmp_path, undisturbed, tell):
    args = flags(dataroot, checkpoints, f"--max_steps={ITERATIONS}", "--print_freq=1")
    outcome = children.train(args, tmp_path / "err", faults.no_reader)
    assert_equal(load_checkpoint(checkpoints / "demo" / "latest.pth")["networks"], undisturbed["networks"], "networks")
    assert outcome.code == 0, outcome.err
    assert len(log_of(checkpoints / "demo")) == ITERATIONS
    tell("nobody reads the terminal output any more (closed pipe)", "", "all; `loss_log.txt` has every line", None)
