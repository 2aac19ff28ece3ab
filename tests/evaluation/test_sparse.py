"""Depth judged by the points of SfM, on the wall of ``tests.data.sfm.tiny_clip``: z = 2 + 0.2 x."""

import numpy as np
import pytest

from data.sfm.clip import SfmClip
from data.sfm.published import read_published
from data.sfm.split import whole
from evaluation.frame import Frame, SparseTruth
from evaluation.sfm_source import block_frames, sparse_truth
from evaluation.sparse import SparseBoard, floors, interpolated_depth, sparse_scores
from tests.data.sfm.tiny_clip import CENTRE, FOCAL, SIZE, STEP, make_clip


def wall_depth(view: int) -> np.ndarray:
    u = (np.arange(SIZE[1]) - CENTRE[0]) / FOCAL[0]
    return np.broadcast_to((2 + 0.2 * STEP * view) / (1 - 0.2 * u), SIZE).astype(np.float32).copy()


@pytest.fixture
def clip(tmp_path) -> SfmClip:
    return make_clip(num_views=12, num_points=80, frames=tmp_path / "clip")


def board_of(clip, depth_of):
    board = SparseBoard()
    for view, frame in enumerate(block_frames(whole(clip))):
        board.add(frame, depth_of(view))
    board.finish()
    return board


def truth_at(pixels, depth, size=SIZE):
    return SparseTruth(np.array(pixels), np.array(depth, float), np.eye(4), np.ones(size, bool), 0)


def test_scores_by_hand():
    """Predictions 1, 2, 8 against 2, 4, 8: the medians 2 and 4 give the scale 2, so 2, 4 and 16 against 2, 4 and 8."""
    depth = np.zeros((2, 3), np.float32)
    depth[0] = 1, 2, 8
    scores, scale = sparse_scores(depth, truth_at([(0, 0), (0, 1), (0, 2)], [2, 4, 8], (2, 3)))
    assert scale == pytest.approx(2)
    assert scores["abs_rel"] == pytest.approx(1 / 3)
    assert scores["delta1"] == pytest.approx(2 / 3)
    assert scores["silog"] == pytest.approx(np.std([0, 0, np.log(2)]))
    assert scores["num_points"] == 3


def test_true_depth_of_any_scale_is_right_at_the_points_and_between_frames(clip):
    board = board_of(clip, lambda view: (3 + view) * wall_depth(view))
    assert board.means()["ours"]["abs_rel"] < 0.01
    assert board.agreement_means()["ours"]["pair_abs_rel"] < 0.01


def test_points_are_where_their_projection_is_rounded_to(clip):
    sparse = sparse_truth(clip, 3)
    expected = wall_depth(3)[tuple(sparse.pixels.T)]
    np.testing.assert_allclose(sparse.depth, expected, rtol=0.01)


def test_a_wrong_motion_shows_between_frames_only(clip):
    true = {frame.name: frame for frame in block_frames(whole(clip))}
    board = SparseBoard()
    for view, frame in enumerate(true.values()):
        pose = frame.sparse.pose.copy()
        pose[2, 3] += 0.5 * (view % 2)
        board.add(
            Frame(frame.name, frame.rgb, clip=frame.clip, K=frame.K, sparse=frame.sparse._replace(pose=pose)),
            wall_depth(view),
        )
    board.finish()
    assert board.means()["ours"]["abs_rel"] < 0.01
    assert board.agreement_means()["ours"]["pair_abs_rel"] > 0.05


def test_the_spread_of_scales_is_that_within_the_clip(clip):
    steady, unsteady = (board_of(clip, lambda v, f=f: f(v) * wall_depth(v)) for f in (lambda v: 2, lambda v: 1 + v % 2))
    assert steady.means()["ours"]["scale_spread_clip"] < 0.01
    assert unsteady.means()["ours"]["scale_spread_clip"] == pytest.approx(1 / 3, abs=0.01)  # scales 1 and 1/2


def test_frames_without_enough_points_are_named_and_not_scored(clip):
    board = SparseBoard()
    frame = next(block_frames(whole(clip)))
    few = frame.sparse._replace(pixels=frame.sparse.pixels[:2], depth=frame.sparse.depth[:2])
    board.add(Frame("few", frame.rgb, clip="a", K=frame.K, sparse=few), wall_depth(0))
    board.add(Frame("none", frame.rgb, clip="a", K=frame.K), wall_depth(0))
    board.finish()
    assert board.unscored == ["few"]
    assert board.means() == {}


def test_frames_of_two_clips_are_not_compared(clip):
    board = SparseBoard()
    for view, frame in enumerate(block_frames(whole(clip))):
        board.add(Frame(frame.name, frame.rgb, clip=f"clip{view}", K=frame.K, sparse=frame.sparse), wall_depth(view))
    board.finish()
    assert board.agreement_means() == {}


def test_what_is_brighter_is_nearer_for_the_brightness_floor():
    rgb = np.full((60, 80, 3), 0.25, np.float32)
    rgb[:, 40:, 1] = 1.0
    depth = floors(rgb, np.zeros((60, 80), np.float32))["smooth_brightness"]
    assert depth[30, 5] == pytest.approx(2 * depth[30, 75])


def test_interpolation_is_exact_on_a_plane_inside_the_points_and_takes_the_nearest_outside():
    corners = [(1, 1), (1, 8), (6, 1), (6, 8)]
    depth = interpolated_depth(truth_at(corners, [1 + 0.1 * y + 0.2 * x for y, x in corners]), (8, 10))
    y, x = np.mgrid[1:7, 1:9]
    np.testing.assert_allclose(depth[1:7, 1:9], 1 + 0.1 * y + 0.2 * x, rtol=1e-6)
    assert depth[0, 0] == pytest.approx(1.3)
    assert interpolated_depth(truth_at(corners[:3], [1, 1, 1]), (8, 10)) is None


def test_floors_of_the_example_clip_are_those_of_its_description(shared_data):
    """Constant depth 0.103 and 86.7 %, brightness 0.082 and 95.7 %, of log 0.152 and 0.112."""
    board = SparseBoard()
    for number, frame in enumerate(block_frames(whole(read_published(shared_data / "sinus_sfm")))):
        if number % 6 == 0:  # all take a minute
            board.add(frame, np.ones(frame.rgb.shape[:2], np.float32))
    means = board.means()
    assert means["ours"]["abs_rel"] == means["constant"]["abs_rel"] == pytest.approx(0.103, abs=0.01)
    assert means["constant"]["silog"] == pytest.approx(0.152, abs=0.015)
    assert means["smooth_brightness"]["abs_rel"] == pytest.approx(0.082, abs=0.01)
    assert means["smooth_brightness"]["silog"] == pytest.approx(0.112, abs=0.012)
