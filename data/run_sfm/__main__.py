"""See ``data.run_sfm``."""

import signal
from types import FrameType

from data.run_sfm.command import main
from util.errors import run_cli


def interrupt(number: int, frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C, so that nothing half-made stays behind."""
    raise KeyboardInterrupt("terminated")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    run_cli(main)
