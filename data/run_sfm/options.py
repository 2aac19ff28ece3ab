"""The command line of ``python -m data.run_sfm``."""

import os
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from pathlib import Path

from data.run_sfm.reconstruct import MATCHING, Settings
from data.run_sfm.verdict import Limits

EPILOG = """
Good frames come from `python -m data.prepare_video`, which cuts films at scene changes and drops frames that show
nothing: give one of its clips. The exit code is 0 where the result is fit for training, 1 where it is not (what there
is is kept), 2 where something given cannot be used.
"""


def parse(args: list[str] | None = None) -> Namespace:
    """The options; contradictions end here, before any frame is read."""
    parser = ArgumentParser("python -m data.run_sfm", epilog=EPILOG, formatter_class=ArgumentDefaultsHelpFormatter)
    parser.description = (
        "Find cameras and sparse points of endoscopy frames by structure from motion (COLMAP, on the CPU)."
    )
    parser.add_argument("source", type=Path, help="film, or folder of frames of one clip")
    parser.add_argument("--out", type=Path, required=True, help="folder to make: frames, cameras, points and report/")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in --out")
    for add in (_add_frames, _add_camera, _add_reconstruction, _add_limits):
        add(parser)
    opt = parser.parse_args(args)
    _check(parser, opt)
    return opt


def _add_frames(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("frames")
    rate = group.add_mutually_exclusive_group()
    rate.add_argument("--every", type=int, default=1, help="take every N-th frame")
    rate.add_argument("--fps", type=float, help="of a film: take about so many frames a second")
    group.add_argument("--mask", type=Path, help="picture, bright inside the view; found in the frames where not given")


def _add_camera(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("camera; intrinsics.json beside the frames is used where none is given")
    camera = group.add_mutually_exclusive_group()
    camera.add_argument("--intrinsics", type=Path, help="intrinsics.json; what it knows of distortion is taken out")
    camera.add_argument("--fov", type=float, help="horizontal field of view [degrees]")
    camera.add_argument("--focal", type=float, help="plausible focal length, kept as it is [px]")
    group.add_argument(
        "--refine_intrinsics", action="store_true", help="let SfM change the focal length: rarely good on short clips"
    )


def _add_reconstruction(parser: ArgumentParser) -> None:
    group, default = parser.add_argument_group("reconstruction"), Settings()
    group.add_argument(
        "--matching", choices=MATCHING, default=default.matching, help="pairs of frames; auto: all of up to 100 frames"
    )
    group.add_argument(
        "--overlap", type=int, default=default.overlap, help="sequential: frames on that one is matched with"
    )
    group.add_argument(
        "--max_image_size",
        type=int,
        help="longer side at which features are sought [px]; default: half, but 640 or more",
    )
    group.add_argument("--peak_threshold", type=float, default=default.peak_threshold, help="of SIFT; less finds more")
    group.add_argument(
        "--init_angle", type=float, default=default.init_angle, help="of the first pair, at least [degrees]"
    )
    group.add_argument("--num_threads", type=int, default=os.cpu_count() or 1, help="at once")
    group.add_argument("--seed", type=int, default=default.seed, help="of COLMAP; results still vary a little")


def _add_limits(parser: ArgumentParser) -> None:
    group, default = parser.add_argument_group("what is kept, and what is fit"), Limits()
    group.add_argument(
        "--max_error_px", type=float, default=4.0, help="points with a larger reprojection error are dropped"
    )
    group.add_argument("--min_frames", type=int, default=default.min_frames, help="fewest registered frames")
    group.add_argument("--min_points", type=int, default=default.min_points, help="fewest points")


def _check(parser: ArgumentParser, opt: Namespace) -> None:
    for name in ("every", "overlap", "max_image_size", "num_threads", "min_frames", "min_points"):
        value = getattr(opt, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value}: must be at least 1")
    for name in ("fps", "focal", "peak_threshold", "init_angle", "max_error_px"):
        value = getattr(opt, name)
        if value is not None and not 0 < value < float("inf"):
            parser.error(f"--{name} {value}: must be positive")
    if opt.seed < 0:
        parser.error(f"--seed {opt.seed}: must not be negative")
    if opt.fps is not None and opt.source.is_dir():
        parser.error(f"--fps {opt.fps}: nobody knows the times of frames in a folder; take every N-th with --every")
