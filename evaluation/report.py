"""The report at the end of a training: the test split and the real-domain clips, beside the references."""

import json
import shlex
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from data.flow_cache import make_flow_estimator
from evaluation.predictor import Predictor
from evaluation.scores import References, Scores, find_split, score_pairs
from evaluation.sources import clips_source
from evaluation.video import VideoScores, score_video
from util.checkpoint import versions
from util.files import write_text
from util.tables import format_table

REPORT = "report.json"
SHOWN = ("abs_rel", "sq_rel", "rmse", "rmse_log", "delta1", "l1_cm")
SHOWN_TEMPORAL = ("temporal_grad", "temporal_grad_rel", "temporal_rel")
LABELS = {
    "ours": "ours",
    "truth": "the true depth",
    "constant": "constant depth (training mean)",
    "brightness": "brightness prior (1/sqrt I)",
}


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
    report = make_report(predictor, opt, References(**fitted) if fitted else None, facts)
    path = write_report(folder, report)
    elsewhere = "" if opt.checkpoints_dir == Path("checkpoints") else f" --checkpoints_dir {opt.checkpoints_dir}"
    places = {
        "report": str(path),
        "checkpoints": f"{folder}/latest.pth (to go on), latest_net_G.pth (bare weights)",
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
        references: fitted on its training pairs, if it has any.
        run: facts of the run that go into the report (seconds, command, epoch, iterations).

    Returns:
        ``test`` and its aligned variants: {``ours``, ``constant``, ``brightness``: {metric: value}}; ``video``:
        temporal scores and depth scores; ``video_depth`` and ``video_temporal`` by method; and ``run``. What the
        set lacks is None.
    """
    report: dict[str, Any] = {"test": None, "video": None, **run, "versions": versions()}
    test_pairs = find_split(opt, "test")
    if test_pairs is not None:
        board = score_pairs(predictor, test_pairs, references, "scores on test")
        means = board.means()
        report |= {
            "test": _aligned(means, "none"),
            "test_median": _aligned(means, "median"),
            "test_scale_shift": _aligned(means, "scale_shift"),
            "test_images": board.spread("ours", "none"),
        }
    if (opt.dataroot / "video_test").is_dir():
        build = partial(make_flow_estimator, opt)
        report |= _video_report(score_video(predictor, clips_source(opt.dataroot, "video_test"), references, build))
    return report


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write ``report.json`` into the run's folder."""
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
    return folder / REPORT


def report_text(report: dict[str, Any]) -> str:
    """The report as tables for the terminal."""
    parts = []
    for key, title in (
        ("test", "Test split, unaligned"),
        ("test_median", "Test split, median-scaled"),
        ("test_scale_shift", "Test split, scale and shift aligned"),
        ("video_depth", "Real-domain clips (video_test), unaligned; the truth is read by judging only"),
    ):
        if report.get(key):
            rows = {LABELS[method]: row for method, row in report[key].items()}
            parts.append(f"{title}\n{format_table(rows, SHOWN)}")
    if report["video"]:
        rows = {LABELS[method]: row for method, row in report["video_temporal"].items()}
        title = f"Real-domain clips, consistency over time (flow: {report['video_flow']})"
        parts.append(f"{title}\n{format_table(rows, SHOWN_TEMPORAL)}")
    return "\n\n".join(parts)


def _aligned(means: Scores, align: str) -> dict[str, dict[str, float]]:
    return {method: rows[align] for method, rows in means.items()}


def _video_report(scores: VideoScores) -> dict[str, Any]:
    depth, temporal = _aligned(scores.depth.means(), "none"), scores.temporal.means()
    return {
        "video": temporal.get("ours", {}) | depth.get("ours", {}),
        "video_depth": depth,
        "video_temporal": temporal,
        "video_flow": scores.temporal.flow,
    }
