"""Ctrl-C and its like: a request the first time, an end the second time, and the ordinary behaviour afterwards."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from util.errors import StoppedAfterSaving
from util.interrupt import STOP_SIGNALS, StopRequest, stopping_loses_nothing

LOADER = """
    import os, signal, sys, time
    from util.interrupt import leave_stopping_to_main

    child = os.fork()
    if child == 0:
        leave_stopping_to_main(0)
        print("ready", os.getpid(), flush=True)
        time.sleep(30)
        os._exit(7)
    sys.stdin.readline()
    if os.waitpid(child, os.WNOHANG) != (0, 0):
        sys.exit("the loader died of a signal that did not come from its main process")
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    print(os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status))
"""


def test_terminals_schedulers_and_their_warnings_are_heard():
    assert set(STOP_SIGNALS) == {signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1}


@pytest.mark.parametrize("second", STOP_SIGNALS)
@pytest.mark.parametrize("first", STOP_SIGNALS)
def test_first_signal_is_a_request_and_the_second_an_end(first, second, capsys):
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), first)
        assert stop.requested
        assert "stopping after this iteration" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt, match="without saving"):
            os.kill(os.getpid(), second)


def test_the_end_of_a_terminal_means_nothing_to_a_run_that_was_told_to_ignore_it():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_launcher_passes_on_at_once_is_the_same_request(monkeypatch, capsys):
    with StopRequest(echo_s=1.0) as stop:
        for number in STOP_SIGNALS:
            os.kill(os.getpid(), number)
        assert stop.requested
        assert capsys.readouterr().err.count("stopping") == 1
        later = time.monotonic() + 1.5
        monkeypatch.setattr("util.interrupt.time.monotonic", lambda: later)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("error", [RuntimeError("reentrant call inside"), OSError(5, "the terminal is gone")])
def test_a_request_counts_where_its_line_cannot_be_written(error, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise error

    with StopRequest() as stop:
        monkeypatch.setattr(sys, "stderr", Closed())
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_work_that_can_begin_again_is_cut_short_by_the_first_signal(number):
    before = signal.getsignal(number)

    def work():
        with stopping_loses_nothing("the same command goes on"):
            os.kill(os.getpid(), number)
            time.sleep(5)
            pytest.fail("it went on")

    with pytest.raises(StoppedAfterSaving, match="the same command goes on"):
        work()
    assert signal.getsignal(number) == before


def test_handlers_of_before_are_back_afterwards():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with StopRequest():
        assert not any(signal.getsignal(number) in before for number in STOP_SIGNALS)
    with pytest.raises(RuntimeError), StopRequest():
        raise RuntimeError
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not tell who sent a signal")
def test_a_loader_outlives_signals_to_the_group_and_ends_when_its_main_process_says():
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(LOADER)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as main:
        pid = int(main.stdout.readline().split()[1])
        for number in (*STOP_SIGNALS, signal.SIGTERM):
            os.kill(pid, number)
        time.sleep(0.2)
        out, _ = main.communicate("go on\n", timeout=20)
    assert main.returncode == 0
    assert out == "0\n"
