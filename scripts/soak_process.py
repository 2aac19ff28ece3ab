"""Trainings that are started, watched and killed by ``scripts/soak.py``.

To be quick, a start is a fork of this process, which has imported everything and computed nothing.
"""

import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter  # noqa: F401 - imported once, and not by each start
from tqdm import tqdm

import train
from util.errors import run_cli

POLL_S = 0.001
PATIENCE_S = 300.0
PROGRAM_FAULT_CODE = 70  # EX_SOFTWARE of sysexits.h


class Broken(Exception):
    """Something is not as it must be."""


class Training:
    """A start of ``train.py``, which is killed at the end of its block if it has not ended by then."""

    def __init__(self, args: list[str], run: Path, output: Path) -> None:
        """
        Args:
            args: of ``train.py``.
            run: the folder of the run.
            output: file that gets what is written to stdout and stderr.
        """
        self.log, self.output, self.ended, self.at = run / "loss_log.txt", output, False, time.monotonic()
        self._log_begin = self.log.stat().st_size if self.log.is_file() else 0  # what is of starts before this one
        self.pid = fork(args, output)

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *error: object) -> None:
        """Kill the process and those that load its data, which are in its group."""
        if not self.ended:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def iterations(self) -> list[int]:
        """Those that it has logged."""
        log = self.log.read_bytes()[self._log_begin :] if self.log.is_file() else b""
        return [int(number) for number in re.findall(rb"iters: (\d+),.*\n", log)]

    def wait_for(self, condition: Callable[[], object]) -> float:
        """Returns how long it took since the start [s]."""
        while not condition():
            self._require_running()
            time.sleep(POLL_S)
        return time.monotonic() - self.at

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self._require_running()

    def come_to_its_end(self) -> None:
        """
        Raises:
            Broken: it does not end well.
        """
        status = os.waitpid(self.pid, 0)[1]
        self.ended = True
        if status:
            raise Broken(f"it ended with code {os.waitstatus_to_exitcode(status)}: {self._last_words()}")

    def _require_running(self) -> None:
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        if ended:
            self.ended = True
            raise Broken(f"it ended by itself, with code {os.waitstatus_to_exitcode(status)}: {self._last_words()}")
        if time.monotonic() - self.at > PATIENCE_S:
            raise Broken(f"nothing happened for {PATIENCE_S:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        return " / ".join(self.output.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])


def fork(args: list[str], output: Path, prepare: Callable[[], object] = lambda: None) -> int:
    """``train.py`` in a process and a process group of its own; gives its number.

    Args:
        args: of ``train.py``.
        output: file that gets what is written to stdout and stderr.
        prepare: called in that process before the training begins.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        while os.getpgid(pid) != pid:
            time.sleep(POLL_S)
        return pid
    code = PROGRAM_FAULT_CODE
    try:
        os.setsid()
        tqdm.set_lock(threading.RLock())  # the inherited one is shared: killed while it writes, nobody could any more
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        sys.argv = ["train.py", *args]
        prepare()
        run_cli(train.main)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
