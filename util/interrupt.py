"""Stopping between two iterations when asked to, instead of somewhere in the middle of one."""

import os
import signal
import sys
from threading import Thread
from types import FrameType, TracebackType


class StopRequest:
    """While open, Ctrl-C and SIGTERM only set ``requested``; a second Ctrl-C ends at once, as it always does."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt("stopped at once, without saving")
        self.requested = True
        sys.stderr.write("\nstopping after this iteration and saving; once more to stop at once\n")


def leave_stopping_to_main(worker_id: int) -> None:
    """For loader processes: terminals and schedulers signal the whole group, but ending is the main process's business.

    A loader that died of a scheduler's SIGTERM would take the main process with it, before that has saved.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_when_main_says, daemon=True).start()


def _end_when_main_says() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        continue
    os._exit(0)
