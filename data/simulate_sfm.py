"""Make up SfM results for clips whose depth and poses are known: ``python -m data.simulate_sfm DATAROOT``.

For each clip of ``DATAROOT/video_<phase>`` with its truth (``data.clip_truth``) it writes
``DATAROOT/sfm_<phase>/<clip>`` in the layout of ``data.sfm.published``: what learning from SfM is worth can then be
judged against exact depth.
"""

import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from pathlib import Path

from data.sfm.simulate import Simulation
from data.sfm.simulated_split import VIDEO, sfm_split, splits_with_truth, write_split
from util.errors import UserError, run_cli


def main() -> None:
    opt = parse()
    how = Simulation(opt.points, opt.min_track, opt.max_track, opt.noise, opt.outliers, seed=opt.seed)
    splits = splits_with_truth(opt.dataroot)
    if not splits:
        raise UserError(
            f"{opt.dataroot} has no {VIDEO}<phase> with truth/{VIDEO}<phase>; SfM is made up from true depth"
        )
    for split in splits:
        out = sfm_split(opt.dataroot, split)
        count = write_split(opt.dataroot, split, out, how)
        sys.stdout.write(f"{out}: {count} clips\n")


def parse(args: list[str] | None = None) -> Namespace:
    """The command line."""
    defaults = Simulation()
    parser = ArgumentParser("python -m data.simulate_sfm", formatter_class=ArgumentDefaultsHelpFormatter)
    parser.description = "Make up sparse structure from motion for clips whose depth and poses are known."
    parser.add_argument("dataroot", type=Path, help=f"data set with {VIDEO}<phase>/ and truth/{VIDEO}<phase>/")
    parser.add_argument("--points", type=int, default=defaults.points, help="points of a clip")
    parser.add_argument("--min_track", type=int, default=defaults.min_track, help="least frames of a point")
    parser.add_argument("--max_track", type=int, default=defaults.max_track, help="most frames of a point")
    parser.add_argument("--noise", type=float, default=defaults.noise, help="of a point's distance, as a share")
    parser.add_argument("--outliers", type=float, default=defaults.outliers, help="share of points that are wrong")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="the same seed gives the same points")
    opt = parser.parse_args(args)
    if not 2 <= opt.min_track <= opt.max_track:
        parser.error(f"--min_track {opt.min_track} and --max_track {opt.max_track}: need 2 <= least <= most")
    if opt.points < 1 or opt.noise < 0 or not 0 <= opt.outliers <= 1 or opt.seed < 0:
        parser.error("--points must be at least 1, --noise and --seed not negative, --outliers a share")
    return opt


if __name__ == "__main__":
    run_cli(main)
