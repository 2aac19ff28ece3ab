"""Registers point clouds to a surface, and tells how far they are from it; ``python -m util.register3d`` starts it.

For each cloud a similarity is found (scale, rotation, translation), since depth from a single camera has no scale.
``registration.json`` has all figures, the similarities and their starts; beside it each cloud in the surface's frame,
coloured by distance, and a picture of it.
"""

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.registration_files import LENGTHS, write_registered
from evaluation.sequence_scale import scale_spread
from evaluation.surface_files import read_cloud, read_start, read_surface, start_to_json
from models.geometry.registration import SCALE_BOUNDS, TRIM, Registration, register
from models.geometry.registration_starts import perturbed_starts, rough_starts
from models.geometry.similarity import Similarity
from models.geometry.surface import SAMPLES, Surface
from options.base_options import new_parser
from util.errors import UserError, run_cli
from util.files import write_text
from util.progress import progress_bar
from util.tables import format_table

REGISTRATION_JSON = "registration.json"

Found = dict[str, Registration]  # by the cloud's name


def main(args: list[str] | None = None) -> None:
    opt = parse_options(args)
    start = read_start(opt.start) if opt.start else None
    surface = read_surface(opt.surface, opt.samples)
    clouds = {path.stem: read_cloud(path) for path in opt.cloud}
    found: Found = {}
    with progress_bar(len(clouds), "registering", "clouds") as bar:
        for name, points in clouds.items():
            found[name] = register_cloud(name, points, surface, start, opt)
            bar.update()
    max_distance = opt.display_max or max(one.p95 for one in found.values()) or 1.0
    for name, points in clouds.items():
        write_registered(opt.out, name, points, surface, found[name], max_distance, opt.unit)
    write_text(opt.out / REGISTRATION_JSON, json.dumps(figures(opt, found, max_distance), indent=1) + "\n")
    sys.stdout.write(f"\n{summary(opt, found)}\n\nall figures: {opt.out / REGISTRATION_JSON}\n")


def parse_options(args: list[str] | None) -> Namespace:
    """Options of the command line.

    Raises:
        SystemExit: code 2 after one line on stderr.
    """
    parser = new_parser("Register point clouds to a surface by similarities, and measure how far they are from it.")
    parser.prog = "python -m util.register3d"
    parser.add_argument("--cloud", type=Path, nargs="+", required=True, help="PLY files, e.g. those of --save_ply")
    parser.add_argument("--surface", type=Path, required=True, help="mesh or points: PLY, OBJ or STL")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is written")
    parser.add_argument(
        "--start",
        type=Path,
        help="JSON with scale, rotation (3x3) and translation, which bring the clouds about to the surface; default: a "
        "guess from sizes and axes, which needs clouds that show all of the surface",
    )
    parser.add_argument(
        "--scale_bounds", type=float, nargs=2, default=SCALE_BOUNDS, help="range of the scale, in those of the start"
    )
    parser.add_argument("--trim", type=float, default=TRIM, help="share of the points that are not fitted, the worst")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="points that are drawn on a mesh, about")
    parser.add_argument("--unit", default="mm", help="of the surface's coordinates, for tables and pictures")
    parser.add_argument(
        "--display_max", type=float, help="distance of the brightest colour; default: the largest 95th percentile"
    )
    opt = parser.parse_args(args)
    _check(parser, opt)
    return opt


def register_cloud(
    name: str, points: np.ndarray, surface: Surface, start: Similarity | None, opt: Namespace
) -> Registration:
    """Register from a start and others round it, or from guesses.

    Raises:
        UserError: the cloud has no size, or the surface has none to guess by.
    """
    try:
        starts = perturbed_starts(start, points.mean(axis=0)) if start else rough_starts(points, surface)
        return register(points, surface, starts, trim=opt.trim, scale_bounds=tuple(opt.scale_bounds))
    except ValueError as error:
        raise UserError(f"{name} cannot be registered to {opt.surface}: {error}") from error


def figures(opt: Namespace, found: Found, max_distance: float) -> dict[str, Any]:
    """What ``registration.json`` holds."""
    clouds = {
        path.stem: {
            "file": str(path),
            "points": len(found[path.stem].distances),
            **{key: value for key, value in found[path.stem]._asdict().items() if key != "distances"},
            "similarity": start_to_json(found[path.stem].similarity),
            "start": start_to_json(found[path.stem].start),
        }
        for path in opt.cloud
    }
    return {
        "surface": str(opt.surface),
        "unit": opt.unit,
        "start": str(opt.start) if opt.start else "guessed from sizes and axes",
        "trim": opt.trim,
        "scale_bounds": list(opt.scale_bounds),
        "samples": opt.samples,
        "display_max": max_distance,
        "over_clouds": {key: mean_and_std([getattr(one, key) for one in found.values()]) for key in LENGTHS},
        "scales": scales_of(found),
        "clouds": clouds,
    }


def summary(opt: Namespace, found: Found) -> str:
    """A table with a line for each cloud, what they have in common, and what is not to be trusted."""
    headings = {key: f"{title} [{opt.unit}]" for key, title in LENGTHS.items()} | {"share_used": "share used"}
    rows = {
        name: {heading: getattr(one, key) for key, heading in headings.items()} | {"scale": one.similarity.scale}
        for name, one in found.items()
    }
    lines = [format_table(rows, corner="cloud"), ""]
    for key, title in LENGTHS.items():
        over = mean_and_std([getattr(one, key) for one in found.values()])
        lines.append(f"{title} {over['mean']:.4g} +- {over['std']:.2g} {opt.unit} over {len(found)} clouds")
    scales = scales_of(found)
    lines.append(f"scale {scales['scale_mean']:.5g} +- {scales['scale_std']:.2g}, that is {scales['scale_spread']:.2%}")
    for name, one in found.items():
        if one.at_bound:
            lines.append(f"{name}: its scale came to a bound of {opt.scale_bounds}; give a better --start")
        elif not one.converged:
            lines.append(f"{name}: still moved after {one.iterations} iterations")
    if not opt.start:
        lines.append("The starts were guessed; clouds that show a part of the surface need --start.")
    return "\n".join(lines)


def mean_and_std(values: Sequence[float]) -> dict[str, float]:
    """Mean, and standard deviation of the population."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}


def scales_of(found: Found) -> dict[str, float]:
    """Mean and spread of the recovered scales."""
    return scale_spread(np.array([one.similarity.scale for one in found.values()]))


def _check(parser: ArgumentParser, opt: Namespace) -> None:
    """Contradictions end here, before anything is read."""
    doubled = [stem for stem, count in Counter(path.stem for path in opt.cloud).items() if count > 1]
    if doubled:
        parser.error(f"--cloud: two files are called {doubled[0]}, by which results are named; rename one")
    if not 0 <= opt.trim < 1:
        parser.error(f"--trim {opt.trim}: must lie in [0, 1)")
    low, high = opt.scale_bounds
    if not 0 < low <= 1 <= high < math.inf:
        parser.error(f"--scale_bounds {low} {high}: multiples of the start's scale, so 0 < lower <= 1 <= upper")
    if opt.samples < 1:
        parser.error(f"--samples {opt.samples}: must be at least 1")
    if opt.display_max is not None and not 0 < opt.display_max < math.inf:
        parser.error(f"--display_max {opt.display_max}: must be positive")
    if not (opt.unit.isascii() and opt.unit.isprintable()):
        parser.error(f"--unit {opt.unit!r}: PLY files take plain ASCII, e.g. um")


if __name__ == "__main__":
    run_cli(main)
