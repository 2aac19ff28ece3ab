"""Stopping between two iterations when asked to, instead of somewhere in the middle of one."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Thread
from types import FrameType, TracebackType

from util.errors import StoppedAfterSaving

# A terminal's Ctrl-C and its end, a scheduler's, and the warning before it (Slurm: --signal=USR1@120).
NAMES = ("SIGINT", "SIGHUP", "SIGTERM", "SIGUSR1")
STOP_SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))  # Windows has two of them


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """While open, the stop signals call ``handler``; but a SIGHUP that was ignored stays so: ``nohup`` is for that."""
    hangup = getattr(signal, "SIGHUP", None)
    heard = [s for s in STOP_SIGNALS if s != hangup or signal.getsignal(s) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextmanager
def stopping_loses_nothing(how_to_go_on: str) -> Iterator[None]:
    """Around work that can be cut short anywhere and begun again: each of the stop signals ends it at once.

    Raises:
        StoppedAfterSaving: it was cut short; says ``how_to_go_on``.
    """
    try:
        with handled_by(signal.default_int_handler):
            yield
    except KeyboardInterrupt as interrupt:
        raise StoppedAfterSaving(how_to_go_on) from interrupt


class StopRequest:
    """While open, the first of Ctrl-C, SIGHUP, SIGTERM and SIGUSR1 only sets ``requested``; a second one ends at once.

    Ending at once is a KeyboardInterrupt, whichever signal it was, so that files are closed and loaders ended.

    Args:
        echo_s: signals within so many seconds of the first are that request once more. Under a launcher this is needed:
            ``scancel`` signals every process of a job, and ``torchrun``, being one of them, passes it on to its own.
    """

    def __init__(self, echo_s: float = 0.0) -> None:
        self.requested = False
        self.echo_s = echo_s
        self._asked_at = 0.0
        self._open = ExitStack()

    def __enter__(self) -> "StopRequest":
        self._open.enter_context(handled_by(self._ask))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

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
