"""The report of a training: what it holds, and what it says of splits that are not there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from evaluation.report import make_report, report_text, write_report
from evaluation.scores import References
from evaluation.sources import clips_source
from evaluation.video import score_video
from models.geometry.flow import create_flow_estimator
from tests.tiny_run import FRAME, write_png
from util.errors import UserError

REFERENCES = References(constant_mm=90.0, brightness_k_mm=60.0)
RUN = {"seconds": 1.5, "command": "train.py --name demo", "iterations": 7}


def write_true_clip(dataroot, clip="clip", count=3):
    """Truth for a clip of the tiny set: depth 100 mm, flow (-2, -1), seen by both."""
    folder = dataroot / "truth" / "video_test" / clip
    flow = np.empty((*FRAME, 3), np.uint16)
    flow[:] = (2**15 - 128, 2**15 - 64, 1)
    for number in range(count):
        write_png(folder / "depth" / f"{number:04d}.png", np.full(FRAME, 25600, np.uint16))
        write_png(folder / "flow_fwd" / f"{number:04d}.png", flow)
    (folder / "depth" / "depth.json").write_text(json.dumps({"mm_per_unit": 1 / 256}))


def test_report_has_the_test_split_the_clips_and_the_run(make_options, brightness_predictor, dataroot, tmp_path):
    report = make_report(brightness_predictor, make_options(), REFERENCES, RUN)
    assert list(report["test"]) == ["ours", "constant", "brightness"]
    assert {"abs_rel", "rmse", "delta1", "l1_cm"} <= set(report["test"]["ours"])
    assert set(report["video"]) == {"temporal_grad", "temporal_grad_rel", "temporal_rel"}
    assert (report["video_flow"], list(report["video_temporal"])) == ("dis", ["ours", "brightness", "constant"])
    assert {name: report[name] for name in RUN} == RUN
    assert "torch" in report["versions"]
    written = json.loads(write_report(tmp_path / "run", report).read_text(), parse_constant=pytest.fail)
    assert written == report


def test_clips_with_truth_are_scored_against_it_along_the_true_flow(make_options, brightness_predictor, dataroot):
    write_true_clip(dataroot)
    report = make_report(brightness_predictor, make_options(), REFERENCES, RUN)
    assert report["video_flow"] == "truth"
    of_truth = report["video_temporal"]["truth"]
    assert of_truth == pytest.approx(dict.fromkeys(of_truth, 0.0), abs=1e-6)
    assert report["video_depth"]["constant"]["abs_rel"] == pytest.approx(0.1)
    assert report["video"]["abs_rel"] == report["video_depth"]["ours"]["abs_rel"]
    # This method's depth moves with the picture, by whole pixels; only the border columns differ.
    assert report["video"]["temporal_grad_rel"] < 0.1


def test_text_names_what_is_shown_and_what_is_missing(make_options, brightness_predictor, dataroot):
    text = report_text(make_report(brightness_predictor, make_options(), REFERENCES, RUN))
    for words in ("Test split, unaligned", "AbsRel ↓", "constant depth (training mean)", "(flow: dis)", "mm/px"):
        assert words in text
    for folder in ("test_A", "test_B", "video_test"):
        shutil.rmtree(dataroot / folder)
    report = make_report(brightness_predictor, make_options(), None, RUN)
    assert (report["test"], report["video"]) == (None, None)
    assert report_text(report) == ""


def test_estimator_is_built_only_for_clips_without_true_flow(make_options, brightness_predictor, dataroot):
    opt = make_options(flow="raft_large", flow_weights=Path("not/there.pth"))
    write_true_clip(dataroot)
    assert make_report(brightness_predictor, opt, REFERENCES, RUN)["video_flow"] == "truth"
    shutil.rmtree(dataroot / "truth")
    with pytest.raises(FileNotFoundError, match=r"not/there\.pth"):
        make_report(brightness_predictor, opt, REFERENCES, RUN)


def test_clips_are_scored_without_references_too(brightness_predictor, dataroot):
    write_true_clip(dataroot)
    source = clips_source(dataroot, "video_test")
    scores = score_video(brightness_predictor, source, None, lambda: pytest.fail("all clips have their flow"))
    assert list(scores.depth.means()) == ["ours"]
    assert scores.depth.names == ["clip/0000", "clip/0001", "clip/0002"]


def test_frames_of_a_clip_that_differ_in_size_are_an_error(brightness_predictor, dataroot):
    write_png(dataroot / "video_test" / "clip" / "0001.png", np.full((20, 20, 3), 90, np.uint8))
    source = clips_source(dataroot, "video_test")
    with pytest.raises(UserError, match="differ in size"):
        score_video(brightness_predictor, source, None, lambda: create_flow_estimator("dis"))
