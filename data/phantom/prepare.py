"""Rendering the embedded phantom when a training asks for it and it is not there yet."""

import sys
from argparse import ArgumentParser, Namespace


def add_options(parser: ArgumentParser) -> None:
    """What the presets ``phantom*`` say of their data set."""
    group = parser.add_argument_group("embedded phantom")
    group.add_argument(
        "--phantom_frames",
        type=int,
        default=0,
        help="render a phantom of this many pairs if --dataroot is not there; 0: never",
    )
    group.add_argument("--phantom_size", type=int, default=256, help="size of the rendered frames [px]")
    group.add_argument("--phantom_seed", type=int, default=0, help="seed of the rendered colons")


def render_if_missing(opt: Namespace) -> None:
    """Render the phantom into ``opt.dataroot`` when ``opt.phantom_frames`` asks for it and there is no such folder.

    Raises:
        FileNotFoundError: there is no data and nothing says to render it.
    """
    if opt.dataroot.is_dir():
        return
    if opt.phantom_frames == 0:
        raise FileNotFoundError(
            f"there is no data set {opt.dataroot}; give --dataroot, or render the embedded one: "
            f"python -m data.phantom --out {opt.dataroot}"
        )
    from data.phantom import render_phantom  # Embree is needed for rendering only

    sys.stderr.write(f"rendering the embedded phantom into {opt.dataroot}/ (once)\n")
    render_phantom(opt.dataroot, opt.phantom_frames, opt.phantom_size, opt.phantom_seed)
