"""Which pixels are judged, and what a prediction is clamped to."""

from argparse import Namespace

import numpy as np
import pytest

from evaluation.region import EvalRegion
from evaluation.scores import ScoreBoard
from util.errors import UserError


def judged(region, height, width):
    """Rows and columns that count, as (first, one past the last)."""
    rows, columns = np.nonzero(region.valid(np.full((height, width), 50.0)))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_by_default_everything_with_a_truth_counts_and_nothing_is_clamped():
    gt_mm = np.array([[0.0, 1e-4, 500.0, np.nan, np.inf, -1.0]])
    assert EvalRegion().valid(gt_mm).tolist() == [[False, True, True, False, False, False]]
    pred = np.array([[-3.0, 900.0]])
    assert EvalRegion().clamp(pred) is pred
    assert EvalRegion().facts() == {}


def test_the_range_is_strict():
    region = EvalRegion(min_mm=10, max_mm=80)
    assert region.valid(np.array([[10.0, 10.1, 79.9, 80.0, 0.0]])).tolist() == [[False, True, True, False, False]]
    assert region.clamp(np.array([[3.0, 50.0, 99.0]])).tolist() == [[10.0, 50.0, 80.0]]
    assert EvalRegion(max_mm=80).clamp(np.array([[-3.0, 99.0]])).tolist() == [[-3.0, 80.0]]


def test_masked_then_scaled_by_medians_then_clamped():
    """Judged are 20, 40 and 60 against 1, 3 and 9: the scale is 40 / 3, and 120 becomes 100."""
    gt_mm, pred = np.array([[20.0, 40.0, 60.0, 100.0, 500.0]]), np.array([[1.0, 3.0, 9.0, 0.1, 0.1]])
    board = ScoreBoard(("median",), region=EvalRegion(max_mm=100))
    board.add("a", {"ours": pred}, gt_mm)
    errors = [(20 - 40 / 3) / 20, 0.0, (100 - 60) / 60]
    assert board.of_image(0)["abs_rel"] == pytest.approx(np.mean(errors))
    np.testing.assert_allclose(board.align(pred, gt_mm, "median")[0, :3], [40 / 3, 40, 100])


def test_crop_of_kitti_is_a_share_of_the_picture():
    """0.40810811 * 375 = 153.04, 0.99189189 * 375 = 371.96, 0.03594771 * 1242 = 44.6, 0.96405229 * 1242 = 1197.4."""
    assert judged(EvalRegion(crop="kitti"), 375, 1242) == (153, 371, 44, 1197)


def test_crop_of_nyu_is_for_its_own_size_only():
    assert judged(EvalRegion(crop="nyu"), 480, 640) == (45, 471, 41, 601)
    with pytest.raises(UserError, match="480x640 pixels, but the truth has 256x320; give TOP,BOTTOM,LEFT,RIGHT"):
        judged(EvalRegion(crop="nyu"), 256, 320)


def test_a_crop_in_pixels_is_half_open_and_must_fit():
    assert judged(EvalRegion(crop=(1, 3, 0, 5)), 4, 5) == (1, 3, 0, 5)
    with pytest.raises(UserError, match="1,5,0,5 reaches beyond the truth, which has 4x5"):
        judged(EvalRegion(crop=(1, 5, 0, 5)), 4, 5)


def test_an_image_without_a_pixel_in_the_region_is_named():
    board = ScoreBoard(region=EvalRegion(max_mm=30))
    assert not board.add("far", {"ours": np.ones((2, 3))}, np.full((2, 3), 40.0))
    assert (board.unscored, board.names) == (["far"], [])


def test_what_is_judged_is_said_in_words():
    opt = Namespace(min_eval_mm=0.5, max_eval_mm=80.0, eval_crop=(1, 2, 3, 4))
    assert EvalRegion.from_options(opt).facts() == {
        "judged depth": "above 0.5 mm and below 80 mm",
        "judged crop": "1,2,3,4",
    }
    assert EvalRegion(max_mm=80, crop="kitti").facts() == {"judged depth": "below 80 mm", "judged crop": "kitti"}
