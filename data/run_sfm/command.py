"""``python -m data.run_sfm VIDEO_OR_FOLDER --out DIR``: cameras and sparse points of a clip, ready to be learned from.

``DIR`` holds the frames and what SfM knows of them, in the layout of ``data.sfm.published``, and ``report/`` with
numbers, pictures and a verdict.
"""

import shutil
import sys
from argparse import Namespace
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np

from data.image_files import write_picture
from data.run_sfm.camera import Lens, find_lens
from data.run_sfm.export import good_points, to_clip
from data.run_sfm.frames import Frames, collect_frames
from data.run_sfm.options import parse
from data.run_sfm.process import call_apart
from data.run_sfm.reconstruct import Job, Settings, Solution, reconstruct, require_pycolmap
from data.run_sfm.report import PAGE, REFINED, Report, write_report
from data.run_sfm.result import result_folder
from data.run_sfm.verdict import Limits, faults, measure
from data.sfm.clip import MIN_POINTS, SfmClip
from data.sfm.published import SELECTED
from data.sfm.published_writer import write_published
from util.errors import UserError
from util.files import write_text

UNFIT_CODE = 1
REPORT, WORK = "report", "colmap"  # folders of the result, and of COLMAP's files, which are not kept


class NothingFound(Exception):
    """No two frames fit together, or hardly a point is good: there is no clip to write."""


def main(args: list[str] | None = None) -> int:
    opt = parse(args)
    require_pycolmap()
    if opt.refine_intrinsics:
        sys.stderr.write(f"warning: --refine_intrinsics lets SfM change the focal length; {REFINED}\n")
    try:
        with result_folder(opt.out, opt.overwrite) as folder:
            report = run_sfm(opt, folder)
    except NothingFound as nothing:
        sys.stdout.write(f"VERDICT: NOT fit for training, nothing is written\n  - {nothing}\n")
        return UNFIT_CODE
    sys.stdout.write(f"{report.text()}clip {opt.out}, report {opt.out / REPORT / PAGE}\n")
    return 0 if report.fit else UNFIT_CODE


def run_sfm(opt: Namespace, folder: Path) -> Report:
    """Fill an empty folder with the frames, what SfM finds of them, and the report.

    Raises:
        NothingFound: there is no clip to write.
        UserError: frames or camera cannot be used.
    """
    lens_of = partial(find_lens, opt.source, intrinsics=opt.intrinsics, fov_deg=opt.fov, focal_px=opt.focal)
    frames, lens = collect_frames(opt.source, folder, lens_of, every=opt.every, fps=opt.fps, mask=opt.mask)
    if len(frames.numbers) < opt.min_frames:
        raise UserError(
            f"{opt.source} gives {len(frames.numbers)} frames, fewer than --min_frames {opt.min_frames}; take a longer "
            "clip, or more of its frames"
        )
    solution = solve(frames, _settings(opt), folder / WORK)
    found = None if solution.model is None else good_points(solution.model, opt.max_error_px)
    if found is None or len(found.points) < MIN_POINTS:
        raise NothingFound(_nothing(frames, solution))
    clip = to_clip(found, frames)
    write_published(clip, folder)
    write_text(folder / SELECTED, "".join(f"{number}\n" for number in frames.numbers))
    report = _report(opt, clip, found.errors, frames, lens, solution)
    write_report(folder / REPORT, report, clip)
    return report


def solve(frames: Frames, settings: Settings, work: Path) -> Solution:
    """Run COLMAP on frames, in a process of its own; its files are made in ``work`` and removed."""
    work.mkdir()
    mask = work / "features.png"
    write_picture(mask, np.where(frames.inner_view(), 255, 0).astype(np.uint8))
    job = Job(frames.folder, tuple(file.name for file in frames.files), frames.camera, mask, work)
    try:
        return call_apart(reconstruct, job, settings, log=work / "colmap.log")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _settings(opt: Namespace) -> Settings:
    given = {one.name: getattr(opt, one.name) for one in fields(Settings) if one.name != "refine_focal"}
    return Settings(**given, refine_focal=opt.refine_intrinsics)


def _nothing(frames: Frames, solution: Solution) -> str:
    what = "no two frames fit together" if solution.model is None else "hardly a point is seen in three frames"
    return (
        f"{what}: {len(frames.numbers)} frames with {solution.features:.0f} features in median. Are they sharp, of one "
        "unbroken scene, and does the camera move? More features: --peak_threshold 0.001, a larger --max_image_size"
    )


def _report(
    opt: Namespace, clip: SfmClip, errors_px: np.ndarray, frames: Frames, lens: Lens, solution: Solution
) -> Report:
    measures = measure(clip, errors_px, len(frames.numbers), frames.camera.K[0, 0])
    return Report(
        name=clip.name,
        source=str(opt.source),
        measures=measures,
        faults=tuple(faults(measures, Limits(opt.min_frames, opt.min_points))),
        camera=lens.origin,
        refined=opt.refine_intrinsics,
        models=solution.sizes,
        found_points=len(solution.model.points),
        features=solution.features,
        seconds=solution.seconds,
        colmap=solution.colmap,
        options={name: value if isinstance(value, (int, float)) else str(value) for name, value in vars(opt).items()},
    )
