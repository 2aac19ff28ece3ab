"""Stopping between two iterations when asked to, instead of somewhere in the middle of one."""

import os
import signal
import sys
import time
from contextlib import suppress
from threading import Thread
from types import FrameType, TracebackType

# A terminal's Ctrl-C, a scheduler's end, and the warning before it (Slurm: --signal=USR1@120); Windows lacks the last.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class StopRequest:
    """While open, the first of Ctrl-C, SIGTERM and SIGUSR1 only sets ``requested``; a second one ends at once.

    Ending at once is a KeyboardInterrupt, whichever signal it was, so that files are closed and loaders ended.

    Args:
        echo_s: signals within so many seconds of the first are that request once more. Under a launcher this is needed:
            ``scancel`` signals every process of a job, and ``torchrun``, being one of them, passes it on to its own.
    """

    def __init__(self, echo_s: float = 0.0) -> None:
        self.requested = False
        self.echo_s = echo_s
        self._asked_at = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested and now - self._asked_at < self.echo_s:
            return
        if self.requested:
            raise KeyboardInterrupt("stopped at once, without saving")
        self.requested, self._asked_at = True, now
        # A signal may come while the bar is being written (RuntimeError: reentrant call) or when the terminal is gone.
        with suppress(RuntimeError, OSError):
            sys.stderr.write("\nstopping after this iteration and saving; once more to stop at once\n")


def leave_stopping_to_main(worker_id: int) -> None:
    """For loader processes: terminals and schedulers signal the whole group, but ending is the main process's business.

    A loader that died of a scheduler's SIGTERM or SIGUSR1 would take the main process with it, before that has saved.
    """
    for number in STOP_SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_when_main_says, daemon=True).start()


def _end_when_main_says() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        continue
    os._exit(0)
