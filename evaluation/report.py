"""The report at the end of a training: the test split and the real-domain clips, beside the references."""

import json
import shlex
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from data.clips import Clip
from data.flow_cache import make_flow_estimator
from data.sfm_pairs_dataset import has_split
from evaluation.boards import AGREEMENT, ONE_SCALE, PATHS, SCALES, SPARSE, Boards
from evaluation.predictor import Predictor
from evaluation.scores import References, Scores, find_split, references_for, score_pairs
from evaluation.sfm_source import PREFIX, sfm_source
from evaluation.sources import clip_camera, clips_source, given_camera
from evaluation.video import score_video
from util.checkpoint import versions
from util.files import write_text
from util.intrinsics import Intrinsics
from util.tables import format_table, metric_columns

REPORT = "report.json"
SHOWN = ("abs_rel", "sq_rel", "rmse", "rmse_log", "delta1", "l1_cm")
TEMPORAL = ("temporal_grad", "temporal_grad_rel", "temporal_rel")
LABELS = {
    "ours": "ours",
    "truth": "the true depth",
    "constant": "constant depth (training mean)",
    "brightness": "brightness prior (1/sqrt I)",
    "smooth_brightness": "smoothed brightness prior",
    "interpolated": "the points, interpolated",
}
SCALE_FREE_LABELS = LABELS | {"constant": "constant depth"}  # nothing is learned from depth
ALIGNED = {"none": "unaligned", "median": "median-scaled", "scale_shift": "scale and shift aligned"}


def report_run(opt: Namespace, predictor: Predictor, fitted: dict[str, float] | None, facts: dict[str, Any]) -> None:
    """Score the test split and the real-domain clips, write ``report.json`` into the run's folder and print the tables.

    Args:
        opt: options of the training.
        predictor: the trained method.
        fitted: what the references learned from its training pairs, if it has any.
        facts: of the run, for the report.
    """
    folder = opt.checkpoints_dir / opt.name
    facts = {**facts, "command": shlex.join(sys.argv)}
    report = make_report(predictor, opt, references_for(predictor.metric, fitted), facts)
    path = write_report(folder, report)
    elsewhere = "" if opt.checkpoints_dir == Path("checkpoints") else f" --checkpoints_dir {opt.checkpoints_dir}"
    bare = ", ".join(f"latest_{name}.pth" for name in predictor.method.inference_networks())
    places = {
        "report": str(path),
        "checkpoints": f"{folder}/latest.pth (to go on), {bare} (bare weights)",
        "pictures": f"{folder}/web/index.html" if opt.html else "",
        "tensorboard": f"tensorboard --logdir {opt.checkpoints_dir}",
        "depth maps": f"bash scripts/test.sh --name {opt.name}{elsewhere}",
    }
    listed = "".join(f"{what:<13}{where}\n" for what, where in places.items() if where)
    sys.stdout.write(f"\n{report_text(report)}\n\n{listed}")


def make_report(
    predictor: Predictor, opt: Namespace, references: References | None, run: dict[str, Any]
) -> dict[str, Any]:
    """Score the splits that the data set has.

    Args:
        predictor: the trained method.
        opt: options of the training.
        references: see ``references_for``.
        run: facts of the run that go into the report (seconds, command, epoch, iterations).

    Returns:
        ``test``, ``test_median``, ``test_scale_shift``: {``ours``, ``constant``, ``brightness``: {metric: value}}, each
        where it has a meaning for the method and the truth; ``video``: the method's temporal and depth scores;
        ``video_depth`` (under ``video_align``), ``video_one_scale``, ``video_scale``, ``video_temporal`` and
        ``video_path`` by method, ``video_path_unscored``: {clip: why}; ``sfm_sparse``, ``sfm_agreement`` and
        ``sfm_depth``: of the clips with SfM, for a method that learns from such; ``metric`` and ``run``. What the set
        or the method lacks is None.
    """
    report: dict[str, Any] = {"test": None, "video": None, "metric": predictor.metric, **run, "versions": versions()}
    test_pairs = find_split(opt, "test")
    if test_pairs is not None:
        board = score_pairs(predictor, test_pairs, references, "scores on test")
        means = board.means()
        report |= {
            "test": _aligned(means, "none"),
            "test_median": _aligned(means, "median"),
            "test_scale_shift": _aligned(means, "scale_shift"),
            "test_images": board.spread("ours", board.alignments[0]),
        }
    if (opt.dataroot / "video_test").is_dir():
        source = clips_source(opt.dataroot, "video_test", partial(_camera, opt))
        report |= _video_report(score_video(predictor, source, references, partial(make_flow_estimator, opt)))
    if "sfm" in opt.streams and has_split(opt, "test"):
        source = sfm_source(opt, "test")
        report |= _sfm_report(score_video(predictor, source, references, partial(make_flow_estimator, opt)))
    return report


def _sfm_report(boards: Boards) -> dict[str, Any]:
    tables = boards.tables()
    depth = _aligned(boards.depth.means(), boards.depth.alignments[0])
    return {"sfm_sparse": tables.get(SPARSE), "sfm_agreement": tables.get(AGREEMENT), "sfm_depth": depth}


def _camera(opt: Namespace, clip: Clip, size: tuple[int, int]) -> Intrinsics | None:
    """That of a clip of a size (H, W); to a training, ``--fov`` is that of clips without one of their own."""
    return clip_camera(clip, size) or given_camera(opt, size)


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write ``report.json`` into the run's folder."""
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
    return folder / REPORT


def report_text(report: dict[str, Any]) -> str:
    """The report as tables for the terminal."""
    align, judging = ALIGNED[report.get("video_align", "none")], "the truth is read by judging only"
    tables = [
        ("test", f"Test split, {ALIGNED['none']}", SHOWN),
        ("test_median", f"Test split, {ALIGNED['median']}", SHOWN),
        ("test_scale_shift", f"Test split, {ALIGNED['scale_shift']}", SHOWN),
        ("video_depth", f"Real-domain clips (video_test), {align}; {judging}", SHOWN),
        ("video_one_scale", f"Real-domain clips, {ONE_SCALE.lower()}", SHOWN),
        ("video_scale", f"Real-domain clips, {SCALES.lower()}", None),
        ("video_temporal", f"Real-domain clips, consistency over time (flow: {report.get('video_flow')})", TEMPORAL),
        ("video_path", f"Real-domain clips, {PATHS.lower()}", None),
        ("sfm_sparse", f"{PREFIX}test: {SPARSE[0].lower()}{SPARSE[1:]}", None),
        ("sfm_agreement", f"{PREFIX}test: {AGREEMENT[0].lower()}{AGREEMENT[1:]}", None),
        ("sfm_depth", f"{PREFIX}test, dense truth, {ALIGNED['median']}", SHOWN),
    ]
    labels = LABELS if report.get("metric", True) else SCALE_FREE_LABELS
    parts = []
    for key, title, shown in tables:
        rows = {labels.get(method, method): row for method, row in (report.get(key) or {}).items()}
        if rows:
            there = metric_columns(rows)
            columns = there if shown is None else [metric for metric in shown if metric in there]
            parts.append(f"{title}\n{format_table(rows, columns)}")
    parts += [f"No camera path of {clip}: {why}" for clip, why in report.get("video_path_unscored", {}).items()]
    return "\n\n".join(parts)


def _aligned(means: Scores, align: str) -> dict[str, dict[str, float]] | None:
    """Scores by method under an alignment; None where it has no meaning."""
    rows = {method: by_alignment[align] for method, by_alignment in means.items() if align in by_alignment}
    return rows or None


def _video_report(boards: Boards) -> dict[str, Any]:
    align = boards.depth.alignments[0]
    tables, temporal = boards.tables(), boards.temporal.means()
    depth = _aligned(boards.depth.means(), align) or {}
    return {
        "video": temporal.get("ours", {}) | depth.get("ours", {}),
        "video_align": align,
        "video_depth": depth,
        "video_one_scale": tables.get(ONE_SCALE),
        "video_scale": tables.get(SCALES),
        "video_temporal": temporal,
        "video_flow": boards.temporal.flow,
        "video_path": tables.get(PATHS),
        "video_path_unscored": boards.path.unscored if boards.path else {},
    }
