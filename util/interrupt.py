"""Stopping between two iterations when asked to, instead of somewhere in the middle of one."""

import signal
import sys
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


def ignore_interrupt(worker_id: int) -> None:
    """For loader processes: the terminal sends them Ctrl-C too, but ending is the main process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
