"""One scale for a sequence: consistent depth needs no more, and depth of changing scale is found out."""

from tempfile import TemporaryFile

import numpy as np
import pytest

from evaluation import sequence_scale
from evaluation.frame import Frame
from evaluation.region import EvalRegion
from evaluation.sequence_scale import SequenceScaleBoard, median_scale
from util.metrics import METRICS, depth_metrics

RGB = np.zeros((4, 6, 3), np.float32)


def truths(count, seed=0):
    rng = np.random.default_rng(seed)
    maps = rng.uniform(20, 90, (count, 4, 6)).astype(np.float32)
    maps[:, 0, :2] = 0
    return maps


def board_of(pairs, clips=None, **settings):
    board = SequenceScaleBoard(**settings)
    for number, (depth, gt_mm) in enumerate(pairs):
        clip = "clip" if clips is None else clips[number]
        board.add(Frame(str(number), RGB, gt_mm, clip), {"ours": depth})
    board.finish()
    return board


def test_depth_that_is_right_but_for_one_scale_has_no_error_and_no_spread():
    gts = truths(5)
    whole = board_of([(gt / 40, gt) for gt in gts]).all()
    spread, means = whole.spread()["ours"], whole.means()["ours"]
    assert spread["scale_mean"] == pytest.approx(40, rel=1e-6)
    assert spread["scale_spread"] == pytest.approx(0.0, abs=1e-6)
    assert means["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert (tuple(means), means["delta1"]) == (METRICS, 1.0)


def test_a_scale_of_its_own_in_every_frame_is_found_out_by_hand():
    """Scales of 10, 20 and 40: mean 70/3, and under their median 20 the outer frames are off by 2 and 1/2."""
    gts = truths(3)
    whole = board_of([(gt / scale, gt) for gt, scale in zip(gts, (10, 20, 40), strict=True)]).all()
    spread = whole.spread()["ours"]
    mean, std = 70 / 3, np.std([10, 20, 40])
    assert spread == pytest.approx({"scale_mean": mean, "scale_std": std, "scale_spread": std / mean}, rel=1e-6)
    assert whole.means()["ours"]["abs_rel"] == pytest.approx((1 + 0 + 0.5) / 3, rel=1e-5)


def test_scales_are_of_the_valid_pixels():
    gt_mm = np.array([[10.0, 20.0, 60.0, 0.0]])
    assert median_scale(np.array([1.0, 4.0, 5.0]), gt_mm[gt_mm > 0]) == 20 / 4
    whole = board_of([(np.array([[1.0, 4.0, 5.0, 777.0]]), gt_mm)]).all()
    assert whole.spread()["ours"]["scale_mean"] == 5.0
    expected = depth_metrics(np.array([[5.0, 20.0, 25.0]]), gt_mm[:, :3])
    assert whole.means()["ours"] == pytest.approx(expected)


def test_each_clip_has_its_own_scale_and_every_frame_counts_alike():
    gts = truths(3)
    pairs = [(gts[0], gts[0]), (2 * gts[1], gts[1]), (2 * gts[2], gts[2])]
    board = board_of(pairs, clips=["a", "b", "b"])
    assert {clip: frames.spread()["ours"]["scale_mean"] for clip, frames in board.clips.items()} == {"a": 1.0, "b": 0.5}
    assert board.all().means()["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert board.all().spread()["ours"]["scale_mean"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_every_method_beside_ours_has_its_own_scale():
    board = SequenceScaleBoard()
    for number, gt in enumerate(truths(3)):
        board.add(Frame(str(number), RGB, gt, "clip"), {"ours": 3 * gt, "constant": np.ones_like(gt)})
    board.finish()
    means = board.all().means()
    assert means["ours"]["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert means["constant"]["abs_rel"] > 0.1


def test_frames_without_truth_clip_or_valid_pixel_are_left_out():
    gt = truths(1)[0]
    assert board_of([(gt, None), (gt, np.zeros_like(gt))]).clips == {}
    assert board_of([(gt, gt)], clips=[None]).clips == {}
    board = board_of([(gt, gt), (gt, np.zeros_like(gt)), (gt, gt)])
    assert len(board.clips["clip"].scales["ours"]) == 2


def test_range_and_crop_hold_here_too():
    """Beyond 50 mm nothing counts, and the scaled prediction is clamped there."""
    gt_mm, depth = np.array([[10.0, 20.0, 30.0, 80.0]]), np.array([[1.0, 2.0, 9.0, 1.0]])
    whole = board_of([(depth, gt_mm)], region=EvalRegion(max_mm=50)).all()
    assert whole.spread()["ours"]["scale_mean"] == 10.0
    assert whole.means()["ours"]["abs_rel"] == pytest.approx((0 + 0 + 20 / 30) / 3)


def test_the_frames_of_a_clip_wait_in_a_file_that_goes_with_it(tmp_path, monkeypatch):
    opened = []

    def temporary(dir):
        opened.append(TemporaryFile(dir=dir))  # noqa: SIM115 - whether it is closed is what is tested
        return opened[-1]

    monkeypatch.setattr(sequence_scale, "TemporaryFile", temporary)
    gts = truths(4)
    board_of([(gt, gt) for gt in gts], clips=["a", "a", "b", "b"], folder=tmp_path)
    assert [file.closed for file in opened] == [True, True]
    assert list(tmp_path.iterdir()) == []


def test_clips_of_one_scale_each_have_no_spread_within_but_one_over_all():
    gts = truths(4)
    board = board_of([(gts[0], gts[0]), (gts[1], gts[1]), (2 * gts[2], gts[2]), (2 * gts[3], gts[3])], clips="aabb")
    spread = board.spread()["ours"]
    assert spread["scale_spread_clip"] == pytest.approx(0.0, abs=1e-6)
    assert spread["scale_spread"] == pytest.approx(0.25 / 0.75, rel=1e-6)
