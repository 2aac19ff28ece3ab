"""Rendering the embedded phantom when a training asks for it and it is not there yet, and SfM of its clips."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from data.sfm.simulate import Simulation
from data.sfm.simulated_split import sfm_split, splits_with_truth, write_split
from util.new_folder import MadeMeanwhile


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

    For a method that learns from SfM, that of the phantom's clips is made up too.

    Raises:
        FileNotFoundError: there is no data and nothing says to render it.
    """
    from_sfm = "sfm" in opt.streams
    if not (opt.dataroot.is_dir() or (from_sfm and opt.sfm_root)):
        render(opt)
    if from_sfm and opt.phantom_frames and not opt.sfm_root:
        make_up_sfm(opt.dataroot)


def render(opt: Namespace) -> None:
    """
    Raises:
        FileNotFoundError: nothing says to render it.
    """
    if opt.phantom_frames == 0:
        raise FileNotFoundError(
            f"there is no data set {opt.dataroot}; give --dataroot, or render the embedded one: "
            f"python -m data.phantom --out {opt.dataroot}"
        )
    from data.phantom.render import render_phantom  # Embree is needed for rendering only

    sys.stderr.write(f"rendering the embedded phantom into {opt.dataroot}/ (once)\n")
    try:
        render_phantom(opt.dataroot, opt.phantom_frames, opt.phantom_size, opt.phantom_seed)
    except MadeMeanwhile:
        sys.stderr.write(f"another training has rendered {opt.dataroot}/ meanwhile; this one takes it\n")


def make_up_sfm(dataroot: Path) -> None:
    """SfM of the clips that have none yet."""
    for split in splits_with_truth(dataroot):
        out = sfm_split(dataroot, split)
        if out.exists():
            continue
        try:
            write_split(dataroot, split, out, Simulation())
        except MadeMeanwhile:
            sys.stderr.write(f"another training has made up {out}/ meanwhile; this one takes it\n")
