"""Consistency over time, on depth whose motion is known."""

import numpy as np
import pytest
import torch

from data.image_files import read_rgb
from evaluation.frame import Frame, PairFlow
from evaluation.temporal import TemporalBoard, estimate_pair, temporal_metrics
from models.geometry.flow import create_flow_estimator
from tests.tiny_run import FRAME, write_clip

HEIGHT, WIDTH = 12, 17


def still(mask=None):
    """No motion; the last row and column have no forward differences and do not count."""
    if mask is None:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[:-1, :-1] = True
    return PairFlow(np.zeros((2, HEIGHT, WIDTH), np.float32), mask)


def ramp(slope_x, slope_y=0.0, start=50.0):
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return start + slope_x * x + slope_y * y


def test_depth_that_moves_with_the_flow_is_consistent():
    large = np.random.default_rng(0).uniform(20, 90, (HEIGHT + 4, WIDTH + 6)).astype(np.float32)
    src, tgt = large[:HEIGHT, :WIDTH], large[2 : HEIGHT + 2, 3 : WIDTH + 3]  # everything moves by (-3, -2)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:-1, 3:-1] = True
    flow = np.stack([np.full((HEIGHT, WIDTH), -3.0), np.full((HEIGHT, WIDTH), -2.0)]).astype(np.float32)
    scores = temporal_metrics(src, tgt, PairFlow(flow, mask))
    assert scores == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-5)
    backwards = temporal_metrics(src, tgt, PairFlow(-flow, mask))
    assert min(backwards.values()) > 0.1


def test_advance_of_the_camera_is_forgiven():
    scores = temporal_metrics(ramp(2, 1), ramp(2, 1) - 7, still())
    assert scores == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-6)


def test_gradient_scores_of_two_slopes_by_hand():
    """|2 - 3| + |1 - 0.5| = 1.5 mm/px; the source's own gradients are 2 + 1."""
    scores = temporal_metrics(ramp(2, 1), ramp(3, 0.5), still())
    assert scores["temporal_grad"] == pytest.approx(1.5, rel=1e-5)
    assert scores["temporal_grad_rel"] == pytest.approx(0.5, rel=1e-5)


def test_scaled_depth_is_inconsistent_in_every_score():
    scores = temporal_metrics(ramp(2, 1), 1.1 * ramp(2, 1), still())
    assert scores["temporal_grad_rel"] == pytest.approx(0.1, rel=1e-4)
    assert scores["temporal_rel"] > 0.005


def test_relative_difference_by_hand():
    """12 of 16 counted columns are unchanged, the others 10 mm farther than 100: 4 / 16 * 0.1."""
    src = np.full((HEIGHT, WIDTH), 100.0, np.float32)
    tgt = src.copy()
    tgt[:, 12:] += 10
    assert temporal_metrics(src, tgt, still())["temporal_rel"] == pytest.approx(0.025, rel=1e-5)


def test_flat_depth_is_consistent_without_a_division_by_zero():
    src = np.full((HEIGHT, WIDTH), 30.0, np.float32)
    assert temporal_metrics(src, src, still())["temporal_grad_rel"] == 0.0


def test_pixels_that_one_frame_does_not_see_do_not_count():
    mask = still().mask.copy()
    mask[:, 8:] = False
    tgt = ramp(2)
    tgt[:, 10:] = np.nan  # column 8 of the gradients reads column 9
    scores = temporal_metrics(ramp(2), tgt, still(mask))
    assert scores == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-6)


def test_pair_that_shares_no_pixel_has_no_scores():
    nowhere = still(np.zeros((HEIGHT, WIDTH), bool))
    assert temporal_metrics(ramp(1), ramp(1), nowhere) is None
    assert board_of([ramp(1), ramp(1)], pair=nowhere).means() == {}


def test_invalid_depth_is_not_compared_nor_its_gradients():
    """The hole would make gradients of 50 mm and more at its rim, in the one frame or in the other."""
    whole, holed = ramp(2), ramp(2)
    holed[4:7, 5:9] = 0
    for src, tgt in ((holed, whole), (whole, holed), (holed, holed)):
        scores = temporal_metrics(src, tgt, still())
        assert scores == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-6)
    assert temporal_metrics(whole, np.zeros_like(whole), still()) is None


def board_of(depths, *, pair=None, clips=None):
    """Depth maps of frames in a row, called ``ours``, with a still flow between them."""
    board = TemporalBoard(lambda: pytest.fail("the flow is known"), torch.device("cpu"))
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for number, depth in enumerate(depths):
        clip = clips[number] if clips else "clip"
        board.add(Frame(str(number), rgb, clip=clip, flow_to_next=pair or still()), {"ours": depth, "truth": ramp(2)})
    return board


def test_score_of_a_clip_is_the_mean_over_its_pairs_by_method():
    means = board_of([ramp(2), ramp(3), ramp(3)]).means()
    assert list(means) == ["ours", "truth"]
    assert means["ours"]["temporal_grad"] == pytest.approx(0.5, rel=1e-5)
    assert means["truth"]["temporal_grad"] == pytest.approx(0.0, abs=1e-6)


def test_frames_of_different_clips_are_no_neighbours():
    assert board_of([ramp(2), ramp(3)], clips=["a", "b"]).means() == {}
    assert board_of([ramp(2), ramp(3)], clips=[None, None]).means() == {}


def test_estimated_flow_leads_from_the_first_frame_to_the_second(tmp_path):
    write_clip(tmp_path, 2)
    src, tgt = (read_rgb(tmp_path / f"{t:04d}.png") for t in range(2))
    pair = estimate_pair(src, tgt, create_flow_estimator("dis"), torch.device("cpu"))
    assert pair.flow.shape == (2, *FRAME)
    assert pair.mask.mean() > 0.6
    np.testing.assert_allclose(np.median(pair.flow[:, pair.mask], axis=1), [-2, -1], atol=0.3)  # DIS errs by tenths


def test_border_around_the_view_does_not_count(tmp_path):
    write_clip(tmp_path, 2)
    frames = [read_rgb(tmp_path / f"{t:04d}.png").copy() for t in range(2)]
    for frame in frames:
        frame[:, :8] = 0
    pair = estimate_pair(*frames, create_flow_estimator("dis"), torch.device("cpu"))
    assert not pair.mask[:, :8].any()
    assert pair.mask[:, 12:].any()


def test_depth_without_a_scale_has_the_relative_scores_of_the_same_depth_in_mm():
    """However small its unit is, and none in a unit of depth."""
    in_mm = temporal_metrics(ramp(2, 1), ramp(2.5, 1, start=40), still())
    board = TemporalBoard(lambda: pytest.fail("the flow is known"), torch.device("cpu"), metric=False)
    for number, depth in enumerate((ramp(2, 1), ramp(2.5, 1, start=40))):
        rgb = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        frame = Frame(str(number), rgb, clip="clip", flow_to_next=still())
        board.add(frame, {"ours": 1e-6 * depth, "truth": depth, "nothing": 0 * depth})
    means = board.means()
    assert list(means) == ["ours", "truth"]
    for method in ("ours", "truth"):
        assert set(means[method]) == {"temporal_grad_rel", "temporal_rel"}
        assert means[method] == pytest.approx({name: in_mm[name] for name in means[method]}, rel=1e-4)
