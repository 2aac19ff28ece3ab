"""``python -m data.phantom --out DIR``: render the phantom data set."""

import signal
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from pathlib import Path
from types import FrameType

from data.phantom.render import render_phantom
from util.errors import run_cli

EPILOG = """
With N training pairs come N/10 pairs for eval and N/5 for test (at least 8 each), and N/2 frames of video for training
and N/4 for test, in clips of about 24 frames (at least one clip of 6 each).
"""


def main() -> None:
    parser = ArgumentParser("python -m data.phantom", epilog=EPILOG, formatter_class=ArgumentDefaultsHelpFormatter)
    parser.description = "Render colons with exact depth: synthetic pairs for training, and video with flow and poses."
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--frames", type=int, default=480, help="number of synthetic training pairs")
    parser.add_argument("--size", type=int, default=256, help="width and height [px]")
    parser.add_argument("--seed", type=int, default=0, help="the same seed writes the same bytes")
    parser.add_argument("--fov", type=float, default=110.0, help="horizontal field of view, 90 to 120 [degrees]")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one per core")
    opt = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    render_phantom(opt.out, opt.frames, opt.size, opt.seed, opt.fov, opt.workers)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C, so that nothing half-made stays behind."""
    raise KeyboardInterrupt("terminated")


if __name__ == "__main__":
    run_cli(main)
