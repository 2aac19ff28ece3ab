"""The camera's path, on motions that are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evaluation.frame import Frame
from evaluation.trajectory import FORWARD, TrajectoryBoard, align_path, chain, path_metrics, rotation_angles
from tests.evaluation.moving_camera import knowing_predictor, motions_of, spiral
from util.errors import UserError

K = np.array([[40.0, 0, 20], [0, 38, 17], [0, 0, 1]])


def frame(number, pose, clip="clip", K=K, size=(6, 8)):
    rgb = np.full((*size, 3), 0.5, np.float32)
    rgb[0, 0] = number / 255
    return Frame(f"{clip}/{number}", rgb, clip=clip, pose=pose, K=K)


def score(predictor, poses, clip="clip", board=None):
    board = board or TrajectoryBoard(predictor)
    for number, pose in enumerate(poses):
        board.add(frame(number, pose, clip))
    board.finish()
    return board


def pose(x=0.0, y=0.0, z=0.0, turn_deg=0.0):
    """Camera to world, turned about z."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", turn_deg, degrees=True).as_matrix()
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.mark.parametrize("count", [3, 9, 20])
def test_a_path_that_is_right_but_for_its_unit_has_no_error_and_the_known_scale(count):
    """Also where the last batch of motions is empty or a part."""
    poses = spiral(count)
    predictor = knowing_predictor(motions=motions_of(poses), unit=1 / 12.5)
    board = score(predictor, poses)
    scores = board.means()["ours"]
    assert scores["path_scale"] == pytest.approx(12.5, rel=1e-6)
    for name in ("ate_mm", "rpe_mm", "rpe_deg", "rpe_step"):
        assert scores[name] == pytest.approx(0.0, abs=1e-5), name
    assert scores["path_mm"] == pytest.approx(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())
    np.testing.assert_allclose(board.clips["clip"].aligned_mm["ours"], poses[:, :3, 3], atol=1e-5)
    assert [(tgt, src) for tgt, src, _ in predictor.method.asked] == [(n, n + 1) for n in range(count - 1)]
    np.testing.assert_allclose(predictor.method.asked[0][2], K)


def test_chained_motions_are_the_poses():
    poses = spiral(7)
    np.testing.assert_allclose(poses[0] @ chain(motions_of(poses)), poses, atol=1e-12)


def test_a_motion_to_the_next_frame_moves_points_the_other_way():
    """The camera goes 2 along its axis: a point 10 before it is 8 before the next one."""
    next_from_this = pose(z=-2.0)
    assert chain([next_from_this])[1, 2, 3] == 2.0


def test_scores_by_hand():
    """True: two steps of 10 mm along x. Predicted: steps of 1 and 3, the second camera turned by 90 degrees about z.

    Positions 0, 1, 4 against 0, 10, 20: s = sum (p - 5/3)(g - 10) / sum (p - 5/3)^2 = 40 / (26/3) = 60/13. The aligned
    positions are off by s (p - 5/3) - (g - 10) = (30, -40, 10) / 13. In the frame of the turned camera the second step
    points along -y.
    """
    true = np.array([pose(), pose(x=10), pose(x=20)])
    pred = np.array([pose(), pose(x=1, turn_deg=90), pose(x=4, turn_deg=90)])
    scores = path_metrics(pred, true, align_path(pred, true))
    scale = 60 / 13
    assert scores["path_scale"] == pytest.approx(scale)
    assert scores["ate_mm"] == pytest.approx(np.sqrt((30**2 + 40**2 + 10**2) / 3) / 13)
    rpe_mm = (abs(scale - 10) + np.hypot(10, 3 * scale)) / 2
    assert scores["rpe_mm"] == pytest.approx(rpe_mm)
    assert scores["rpe_deg"] == pytest.approx((90 + 0) / 2)
    assert scores["rpe_step"] == pytest.approx(rpe_mm / 10)
    assert scores["path_mm"] == pytest.approx(20)


def test_scores_do_not_depend_on_the_world_of_either_path():
    true, pred = spiral(6), spiral(6)
    pred[:, :3, 3] += np.random.default_rng(0).normal(size=(6, 3))
    scores = path_metrics(pred, true, align_path(pred, true))
    turned, far = pose(5, -3, 100, turn_deg=70) @ pred, pose(-9, 2, 7, turn_deg=-20) @ true
    turned[:, :3, 3] *= 0.01
    again = path_metrics(turned, far, align_path(turned, far))
    assert again | {"path_scale": 0} == pytest.approx(scores | {"path_scale": 0})
    assert again["path_scale"] == pytest.approx(100 * scores["path_scale"])


def test_the_reference_goes_straight_on_and_fits_a_straight_path():
    straight = np.array([pose(z=3.0 * t) for t in range(5)])
    board = score(knowing_predictor(motions=motions_of(spiral(5))), straight)
    row = board.means()[FORWARD]
    assert row["path_scale"] == pytest.approx(3.0)
    assert max(row["ate_mm"], row["rpe_mm"], row["rpe_deg"]) == pytest.approx(0.0, abs=1e-9)
    assert board.means()["ours"]["ate_mm"] > 0.1


def test_a_predicted_camera_that_never_moves_goes_to_the_middle_of_the_path():
    true = np.array([pose(x=10.0 * t) for t in range(3)])
    board = score(knowing_predictor(motions=[np.eye(4)] * 2), true)
    scores = board.means()["ours"]
    assert (scores["path_scale"], scores["rpe_step"]) == (0.0, 1.0)
    assert scores["ate_mm"] == pytest.approx(np.sqrt(200 / 3))


def test_clips_count_alike_and_their_frames_are_no_neighbours():
    poses = spiral(5)
    predictor = knowing_predictor(motions=motions_of(poses))
    board = score(predictor, poses, "a")
    slow = poses.copy()
    slow[:, :3, 3] *= 0.5
    score(predictor, slow, "b", board)
    assert list(board.clips) == ["a", "b"]
    assert board.means()["ours"]["path_scale"] == pytest.approx((1 + 0.5) / 2)
    assert all(src == tgt + 1 for tgt, src, _ in predictor.method.asked)


def test_what_has_no_path_says_why():
    predictor = knowing_predictor(motions=motions_of(spiral(5)))
    board = score(predictor, spiral(2), "short")
    score(predictor, [np.eye(4)] * 4, "still", board)
    score(predictor, [None, None, None], "no poses", board)
    score(predictor, [*spiral(3), None], "gap", board)
    for number, pose in enumerate(spiral(3)):
        board.add(frame(number, pose, "no camera", K=None))
    board.finish()
    assert board.unscored == {
        "short": "fewer than 3 frames",
        "still": "the true camera stands still",
        "gap": "only 3 of 4 frames have a pose",
        "no camera": "the camera is not known; give --intrinsics or --fov",
    }
    assert (board.clips, board.means()) == ({}, {})


def test_frames_outside_clips_have_no_motion():
    predictor = knowing_predictor(motions=motions_of(spiral(4)))
    board = score(predictor, spiral(4), clip=None)
    assert (board.clips, board.unscored, predictor.method.asked) == ({}, {}, [])


def test_frames_of_a_clip_that_differ_in_size_are_an_error():
    board = TrajectoryBoard(knowing_predictor(motions=motions_of(spiral(3))))
    for number, size in enumerate([(6, 8), (6, 8), (6, 9)]):
        board.add(frame(number, spiral(3)[number], size=size))
    with pytest.raises(UserError, match="6x8 and 6x9 pixels"):
        board.finish()


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 30.0, 179.999999, 180.0])
def test_angles_are_exact_from_nothing_to_half_a_turn(degrees):
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array([[1, 2, -2]]) / 3).as_matrix()
    assert np.degrees(rotation_angles(turn))[0] == pytest.approx(degrees, rel=1e-6, abs=1e-12)
