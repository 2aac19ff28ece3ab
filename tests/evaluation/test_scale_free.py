"""A whole test, and a report, of a method whose depth has one unknown scale and that predicts the camera's motion."""

import json

import numpy as np
import pytest

from data.depth_files import read_depth_mm, read_encoding
from evaluation import tester
from evaluation.boards import ONE_SCALE, PATHS, SCALES
from evaluation.report import make_report, report_text
from evaluation.scores import References, references_for, score_pairs
from evaluation.sources import open_source
from evaluation.trajectory import FORWARD
from tests.evaluation.moving_camera import knowing_predictor, motions_of, spiral, write_moving_clip
from tests.evaluation.test_scores import write_grey_pairs
from util.errors import UserError

UNIT = 1 / 30  # of the method's depth, one of which is 30 mm
COUNT = 5


@pytest.fixture
def moving(tmp_path):
    return write_moving_clip(tmp_path / "data", spiral(COUNT))


def predictor_of(scales=None):
    return knowing_predictor(motions=motions_of(spiral(COUNT)), scales=scales or [UNIT] * COUNT, unit=UNIT)


def run(opt, predictor, folder):
    return tester.Tester(opt, open_source(opt), predictor, references_for(predictor.metric, None)).run(folder)


def test_consistent_depth_is_perfect_under_median_and_under_one_scale(make_options, moving, tmp_path):
    metrics = run(make_options(phase="video_test"), predictor_of(), tmp_path / "out")
    assert list(metrics["tables"]) == ["Median-scaled", ONE_SCALE, "Scale and shift aligned", SCALES, PATHS]
    for title in ("Median-scaled", ONE_SCALE):
        assert list(metrics["tables"][title]) == ["ours", "constant", "brightness"]
        assert metrics["tables"][title]["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-5)
    spread = metrics["tables"][SCALES]["ours"]
    assert spread["scale_mean"] == pytest.approx(30, rel=1e-5)
    assert spread["scale_spread"] == pytest.approx(0.0, abs=1e-5)
    assert spread["scale_spread_clip"] == metrics["scale"]["clips"]["clip"]["ours"]["scale_spread"]
    assert metrics["scale"]["clips"]["clip"]["ours"]["rmse"] == pytest.approx(0.0, abs=1e-3)
    path = metrics["tables"][PATHS]["ours"]
    assert path["path_scale"] == pytest.approx(30, rel=1e-5)
    assert max(path["ate_mm"], path["rpe_mm"], path["rpe_deg"]) == pytest.approx(0.0, abs=1e-5)
    assert metrics["tables"][PATHS][FORWARD]["ate_mm"] > 1
    assert metrics["poses"] == {
        "mean": metrics["tables"][PATHS],
        "clips": {"clip": metrics["tables"][PATHS]},
        "unscored": {},
    }
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics


def test_depth_of_changing_scale_is_perfect_under_median_only(make_options, moving, tmp_path):
    scales = [UNIT * factor for factor in (1.0, 1.5, 0.7, 1.2, 0.9)]
    metrics = run(make_options(phase="video_test"), predictor_of(scales), tmp_path / "out")
    assert metrics["tables"]["Median-scaled"]["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["tables"][ONE_SCALE]["ours"]["abs_rel"] > 0.1
    assert metrics["tables"][SCALES]["ours"]["scale_spread"] > 0.1


def test_depth_files_keep_the_consistency_and_claim_no_mm(make_options, moving, tmp_path):
    """All frames are divided by the median of the first."""
    run(make_options(phase="video_test", save_npy=True), predictor_of(), tmp_path / "out")
    json_file = tmp_path / "out" / "depth" / "depth.json"
    fields = json.loads(json_file.read_text())
    assert (fields["relative"], fields["unit"], fields["factor"]) == (True, "median of the first frame", 1 / 4096)
    assert "mm_per_unit" not in fields
    truths = [read_depth_mm(path) for path in sorted((moving / "truth").rglob("depth/*.png"))]
    median_mm = np.median(truths[0].ravel()[1:])  # the first pixel of a frame is its number and no depth
    assert fields["unit_as_predicted"] == pytest.approx(median_mm * UNIT, rel=1e-5)
    for number, truth in enumerate(truths):
        stored = read_depth_mm(tmp_path / "out" / "depth" / "clip" / f"{number:04d}.png", str(json_file))
        array = np.load(tmp_path / "out" / "npy" / "clip" / f"{number:04d}.npy")
        np.testing.assert_allclose(array.ravel()[1:], truth.ravel()[1:] / median_mm, rtol=1e-5)
        np.testing.assert_allclose(stored, array, atol=0.51 / 4096)
    assert read_encoding(json_file).relative


def test_pictures_with_truth_are_in_mm_and_those_without_say_that_they_are_not(make_options, moving, tmp_path):
    run(make_options(phase="video_test"), predictor_of(), tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Aligned depth" in page
    assert "100 mm" in page
    assert "Relative depth" not in page
    assert "trajectory/clip.png" in page
    assert (tmp_path / "out" / "trajectory" / "clip.png").is_file()
    alone = make_options(input=moving / "video_test" / "clip", temporal=True)
    metrics = run(alone, predictor_of(), tmp_path / "alone")
    page = (tmp_path / "alone" / "index.html").read_text()
    assert "4 × median of the first frame" in page
    assert " mm<" not in page
    assert "Aligned depth" not in page
    assert set(metrics["temporal"]) == {"ours", "constant", "brightness"}
    for row in metrics["temporal"].values():
        assert set(row) == {"temporal_grad_rel", "temporal_rel"}


def test_points_claim_no_mm(make_options, moving, tmp_path):
    run(make_options(input=moving / "video_test" / "clip", save_ply=True), predictor_of(), tmp_path / "out")
    header = (tmp_path / "out" / "ply" / "0000.ply").read_bytes().split(b"end_header")[0].decode()
    assert "comment unit: median of the first frame; camera axes" in header


@pytest.mark.parametrize(("asked", "title"), [(None, "Median-scaled"), ("scale_shift", "Scale and shift aligned")])
def test_the_gallery_is_aligned_by_the_median_unless_another_is_asked_for(make_options, moving, tmp_path, asked, title):
    run(make_options(phase="video_test", align=asked), predictor_of(), tmp_path / "out")
    assert f"<dt>gallery scores</dt><dd>{title}</dd>" in (tmp_path / "out" / "index.html").read_text()


def test_a_truth_without_scale_is_aligned_by_scale_and_shift_only(make_options, tmp_path):
    root = write_moving_clip(tmp_path / "data", spiral(COUNT))
    truth = root / "truth" / "video_test" / "clip" / "depth"
    (truth / "depth.json").write_text(json.dumps({"relative": True, "factor": 0.01}))
    opt = make_options(input=root / "video_test" / "clip", truth=truth)
    metrics = run(opt, predictor_of(), tmp_path / "out")
    assert list(metrics["tables"]) == ["Scale and shift aligned"]
    assert metrics["tables"]["Scale and shift aligned"]["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-4)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "4 × median of the first truth" in page
    assert " mm<" not in page
    with pytest.raises(UserError, match="are in mm, but this truth has neither unit nor zero"):
        run(make_options(input=opt.input, truth=truth, max_eval_mm=80.0), predictor_of(), tmp_path / "out")


def test_the_challenge_of_20_cm_is_refused_before_anything_is_written(make_options, moving, tmp_path):
    opt = make_options(phase="video_test", protocol="simcol3d")
    with pytest.raises(UserError, match="--protocol simcol3d clips depth to 20 cm"):
        run(opt, predictor_of(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_references_beside_it_need_no_fit():
    assert references_for(False, None) == references_for(False, {"constant_mm": 7.0, "brightness_k_mm": 3.0})
    assert references_for(True, None) is None
    fitted = {"constant_mm": 7.0, "brightness_k_mm": 3.0}
    assert references_for(True, fitted) == References(**fitted)
    depths = references_for(False, None).predict(np.full((2, 3, 3), 0.25, np.float32))
    np.testing.assert_allclose(depths["brightness"], 2.0, rtol=1e-6)


def test_a_board_of_pairs_begins_with_the_alignment_that_is_to_be_read(brightness_predictor, tmp_path):
    dataset = write_grey_pairs(tmp_path, grey=[100, 120], depth=[50, 60])
    board = score_pairs(predictor_of([UNIT] * 256), dataset, None, "scores")
    assert list(board.means()["ours"]) == list(board.alignments) == ["median", "scale_shift"]
    assert board.means()["ours"][board.alignments[0]]["abs_rel"] == pytest.approx(0.0, abs=1e-5)
    assert score_pairs(brightness_predictor, dataset, None, "scores").alignments[0] == "none"


def test_report_names_the_alignment_and_has_scale_and_path(make_options, dataroot, tmp_path):
    write_moving_clip(dataroot, spiral(3))
    predictor = knowing_predictor(motions=motions_of(spiral(3)), scales=[UNIT] * 256, unit=UNIT)
    report = make_report(predictor, make_options(), references_for(False, None), {"seconds": 1.0})
    assert (report["test"], report["video_align"], report["metric"]) == (None, "median", False)
    assert list(report["test_median"]) == list(report["test_scale_shift"]) == ["ours", "constant", "brightness"]
    assert report["test_images"]["abs_rel"]["mean"] == report["test_median"]["ours"]["abs_rel"]
    assert report["video_depth"]["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-5)
    assert report["video_one_scale"]["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-5)
    assert report["video_scale"]["ours"]["scale_spread"] == pytest.approx(0.0, abs=1e-5)
    assert report["video_path"]["ours"]["ate_mm"] == pytest.approx(0.0, abs=1e-5)
    assert "temporal_grad" not in report["video"]
    text = report_text(report)
    for words in (
        "Test split, median-scaled",
        "Test split, scale and shift aligned",
        "Real-domain clips (video_test), median-scaled; the truth is read by judging only",
        "Real-domain clips, one scale a sequence",
        "Relative spread ↓",
        "Real-domain clips, camera path, aligned by one similarity a clip",
        "ATE [mm] ↓",
        "constant forward velocity",
        "Relative temporal gradient",
    ):
        assert words in text
    for words in ("unaligned", "training mean", "mm/px"):
        assert words not in text


def test_report_says_which_clip_has_no_path_and_why(make_options, dataroot):
    write_moving_clip(dataroot, spiral(3))
    (dataroot / "video_test" / "clip" / "intrinsics.json").unlink()
    predictor = knowing_predictor(motions=motions_of(spiral(3)), scales=[UNIT] * 256)
    report = make_report(predictor, make_options(), references_for(False, None), {})
    assert report["video_path"] is None
    assert "No camera path of clip: the camera is not known; give --intrinsics or --fov" in report_text(report)
    known = make_report(predictor, make_options(fov=90.0), references_for(False, None), {})
    assert known["video_path"]["ours"]["ate_mm"] == pytest.approx(0.0, abs=1e-5)


def test_report_of_a_training_takes_its_field_of_view_for_clips_without_a_camera_only(make_options, dataroot):
    """As the training does: there --fov stands in for what is not known. Testing's --fov is what the user says."""
    write_moving_clip(dataroot, spiral(3))

    def cameras():
        predictor = knowing_predictor(motions=motions_of(spiral(3)), scales=[UNIT] * 256)
        make_report(predictor, make_options(fov=90.0), references_for(False, None), {})
        return [K[0][0] for _, _, K in predictor.method.asked]

    assert cameras() == pytest.approx([40, 40])
    (dataroot / "video_test" / "clip" / "intrinsics.json").unlink()
    assert cameras() == pytest.approx([22, 22])
