"""A run that is asked to stop saves and says so; asked twice, it ends at once."""

import os
import signal

import train as train_program
from tests.faults import children as faults
from tests.faults.conftest import flags
from tests.tiny_run import call
from util.checkpoint import load_checkpoint, saved_epochs
from util.errors import INTERRUPTED_CODE, SAVED_STOP_CODE

PREPARED = "the rendered phantom and the flow of the clips that were finished, and all that was there before"
TRAINED = "all; `--continue_train` computes the report"


def test_each_signal_saves_and_the_run_goes_on_to_the_bit(train, checkpoints, goes_on_to_the_bit, monkeypatch, tell):
    """The signal comes during iteration 3, 4, 5 and 7; loader processes are in ``test_train_and_test.py``."""
    for iteration, number in ((3, signal.SIGTERM), (4, signal.SIGHUP), (5, signal.SIGUSR1), (7, signal.SIGINT)):
        with monkeypatch.context() as patch:
            faults.at_step(patch, iteration, lambda number=number: os.kill(os.getpid(), number))
            outcome = train(*["--continue_train"] * (iteration > 3))
        assert outcome.code == SAVED_STOP_CODE, outcome.err
        assert "stopping after this iteration and saving; once more to stop at once\n" in outcome.err
        assert outcome.err.endswith(f"stopped: saved at iteration {iteration}; go on with --continue_train\n")
        assert load_checkpoint(checkpoints / "demo" / "latest.pth")["iteration"] == iteration
    goes_on_to_the_bit()
    kept = "all: it is saved after this iteration, and `--continue_train` ends as the undisturbed run to the bit"
    seen = outcome.err.splitlines()[-1]
    tell("Ctrl-C, SIGTERM, SIGUSR1 or a terminal that is closed (SIGHUP)", seen, kept, outcome.code)


def test_second_signal_ends_at_once(train, begun, goes_on_to_the_bit, monkeypatch, tell):
    def twice():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        faults.at_step(patch, 6, twice)
        outcome = train("--continue_train")
    assert outcome.code == INTERRUPTED_CODE, outcome.err
    assert outcome.err.endswith("\ninterrupted: stopped at once, without saving\n")
    assert "Traceback" not in outcome.err
    assert saved_epochs(begun) == ["best", "latest", "latest_1"]
    goes_on_to_the_bit()
    seen = outcome.err.splitlines()[-1]
    tell("a second one of these while the first waits for its iteration", seen, "`latest` of the last save", 130)


def test_signal_before_and_behind_the_iterations_ends_at_once_and_is_no_failure(
    dataroot, checkpoints, begun, goes_on_to_the_bit, monkeypatch, tell
):
    """A queue that is about to end the job while flow is computed, or the report, has to start it again."""
    args = [flag for flag in flags(dataroot, checkpoints, "--continue_train", "--max_steps=8") if flag != "--no_report"]
    for name, fault, kept in (
        ("create_streams", "one of these before the first iteration, while data is prepared", PREPARED),
        ("report_run", "one of these behind the last iteration, while the report is computed", TRAINED),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(train_program, name, lambda *args: os.kill(os.getpid(), signal.SIGUSR1))
            outcome = call(train_program.main, *args)
        assert outcome.code == SAVED_STOP_CODE, outcome.err
        assert "Traceback" not in outcome.err
        tell(fault, outcome.err.splitlines()[-1], kept, outcome.code)
    assert outcome.err.endswith("the training is done and saved; --continue_train writes the report\n")
    goes_on_to_the_bit()
