"""Frames inside a tube whose depth is known: scales and residuals come out as they went in, and nothing is dropped."""

import json

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from evaluation import registration_board as module
from evaluation.frame import Frame, SparseTruth
from evaluation.registration_board import EROSION_PX, WITHOUT_CLIP, RegistrationBoard, eroded, thin_out
from models.geometry.similarity import Similarity
from models.geometry.surface import Surface
from tests.models.geometry.bumpy_tube import bumpy_tube, moved_back
from util.pointcloud import depth_to_points

K = np.array([[14.0, 0, 15.5], [0, 13.0, 11], [0, 0, 1]])
SIZE = (24, 32)
GREY = np.full((*SIZE, 3), 0.5, np.float32)


@pytest.fixture(scope="module")
def tube():
    return Surface.from_mesh(*bumpy_tube())


@pytest.fixture
def guesses(monkeypatch):
    """The clouds for which a start was guessed; it is a good one, which spares the 16 others."""
    clouds = []

    def guess(points, surface):
        clouds.append(points)
        return [Similarity(2.9, pose()[:3, :3], pose()[:3, 3])]

    monkeypatch.setattr(module, "rough_starts", guess)
    return clouds


def pose(number=0):
    """Inside the tube, looking along it with a tilt, world_from_cam."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [8 * np.sin(number), 5, 20 * number], degrees=True).as_matrix()
    matrix[:3, 3] = 1.0, -1.5, 12.0 + 2 * number
    return matrix


def true_depth(number=0):
    """What the camera sees, cast by Embree: (H, W), 0 where it looks out of the open end."""
    v, u = np.mgrid[: SIZE[0], : SIZE[1]].reshape(2, -1)
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(u.shape)], axis=1)
    rotation, place = pose(number)[:3, :3], pose(number)[:3, 3]
    mesh = trimesh.Trimesh(*bumpy_tube(), process=False)
    hits, index, _ = mesh.ray.intersects_location(np.tile(place, (len(u), 1)), rays @ rotation.T, multiple_hits=False)
    depth = np.zeros(len(u))
    depth[index] = ((hits - place) @ rotation)[:, 2]
    return depth.reshape(SIZE)


DEPTHS = [true_depth(number) for number in range(4)]


def frame(number=0, clip="clip", **changes):
    known = {"rgb": GREY, "clip": clip, "pose": pose(number), "K": K} | changes
    return Frame(f"{clip}/{number}", **known)


def score(surface, frames_and_depths, **settings):
    board = RegistrationBoard(lambda clip: surface, **settings)
    for one, depth in frames_and_depths:
        board.add(one, depth if isinstance(depth, dict) else {"ours": depth})
    board.finish()
    return board


def test_true_depth_in_another_unit_has_that_scale_no_residual_and_stays_at_its_pose(tube):
    board = score(tube, [(frame(number), DEPTHS[number] / 4) for number in range(3)])
    means = board.means()["ours"]
    assert means["scale_mean"] == pytest.approx(4, rel=1e-3)
    assert means["residual_mm"] < 2e-3
    assert means["residual_trimmed_mm"] < 1e-3
    assert means["moved_mm"] < 0.02
    assert means["turned_deg"] < 0.05
    assert means["scale_spread"] < 1e-3
    assert (means["untrusted"], board.unscored) == (0, {})


def test_means_and_spreads_are_those_of_the_frames(tube):
    """Scales 4 and 5 in one clip, 2 in another; the second frame is 2 % deeper in a half of its picture."""
    wrong = DEPTHS[1] / 5
    wrong[:, 16:] *= 1.02
    board = score(tube, [(frame(0), DEPTHS[0] / 4), (frame(1), wrong), (frame(2, "other"), DEPTHS[2] / 2)])
    first, second, third = [one.scores for frames in board.clips.values() for one in frames]
    means = board.means()["ours"]
    for key in ("residual_mm", "residual_trimmed_mm", "residual_p95_mm", "share_used", "moved_mm", "turned_deg"):
        assert means[key] == pytest.approx(np.mean([first[key], second[key], third[key]])), key
    assert means["residual_std_mm"] == pytest.approx(
        np.std([first["residual_mm"], second["residual_mm"], third["residual_mm"]])
    )
    assert second["residual_mm"] > 10 * first["residual_mm"]
    scales = [first["scale"], second["scale"], third["scale"]]
    np.testing.assert_allclose(scales, [4, 5, 2], rtol=0.03)
    assert means["scale_mean"] == pytest.approx(np.mean(scales))
    assert means["scale_spread"] == pytest.approx(np.std(scales) / np.mean(scales))
    assert means["scale_spread_clip"] == pytest.approx(np.std(scales[:2]) / np.mean(scales[:2]) / 2)
    by_clip = board.by_clip()
    assert list(by_clip) == ["clip", "other"]
    assert by_clip["other"]["scale_mean"] == pytest.approx(third["scale"])
    assert by_clip["clip"]["residual_mm"] == pytest.approx((first["residual_mm"] + second["residual_mm"]) / 2)


def test_each_method_has_its_own_row(tube):
    flat = np.where(DEPTHS[0] > 0, 20.0, 0.0)
    board = score(tube, [(frame(), {"ours": DEPTHS[0], "flat": flat})])
    means = board.means()
    assert list(means) == ["ours", "flat"]
    assert means["ours"]["residual_mm"] < 1e-2 < means["flat"]["residual_mm"]
    assert board.by_clip("flat")["clip"] == {
        key: value for key, value in means["flat"].items() if key != "scale_spread_clip"
    }


def test_a_clip_is_registered_by_some_frames_which_are_spread_over_it(tube):
    board = score(
        tube,
        [(frame(number % 4, f"clip{number // 9}"), DEPTHS[number % 4]) for number in range(18)],
        frames_per_scene=2,
    )
    assert {clip: len(frames) for clip, frames in board.clips.items()} == {"clip0": 2, "clip1": 2}


def test_what_is_dark_at_the_rim_does_not_count_nor_do_the_pixels_beside_it(tube):
    rgb, depth = GREY.copy(), DEPTHS[0].copy()
    rgb[:, :5] = 0
    depth[:, : 5 + EROSION_PX] *= 0.4
    spoiled, whole = (score(tube, [(frame(rgb=picture), depth)]).means()["ours"] for picture in (rgb, GREY))
    assert spoiled["residual_mm"] < 1e-2
    assert whole["residual_mm"] > 0.1


def sparse(mask, world_from_cam):
    return SparseTruth(np.zeros((0, 2), int), np.zeros(0), world_from_cam, mask, 0)


def test_a_known_lens_circle_is_the_view(tube):
    mask, depth = np.ones(SIZE, bool), DEPTHS[0].copy()
    mask[:6] = False
    depth[: 6 + EROSION_PX] *= 0.4
    assert score(tube, [(frame(sparse=sparse(mask, np.eye(4))), depth)]).means()["ours"]["residual_mm"] < 1e-2


def test_poses_of_structure_from_motion_count_where_their_world_is_known(tube, guesses):
    """In a world that is turned, shifted and of another unit; without that knowledge the start is a guess."""
    world = Similarity(
        20.0, Rotation.from_euler("xyz", [40, 10, 80], degrees=True).as_matrix(), np.array([9.0, 2, -30])
    )
    there = np.eye(4)
    there[:3, :3] = world.rotation.T @ pose()[:3, :3]
    there[:3, 3] = moved_back(pose()[None, :3, 3], world)[0]
    one = frame(pose=None, sparse=sparse(np.ones(SIZE, bool), there))
    means = score(tube, [(one, DEPTHS[0] / 3)], surface_from_world=world).means()["ours"]
    assert means["scale_mean"] == pytest.approx(3, rel=1e-3)
    assert means["moved_mm"] < 0.02
    assert len(guesses) == 0
    unknown = score(tube, [(one, DEPTHS[0] / 3)]).means()["ours"]
    assert len(guesses) == 1
    assert unknown["scale_mean"] == pytest.approx(3, rel=1e-3)
    assert "moved_mm" not in unknown


def test_means_of_motion_are_of_the_frames_whose_pose_is_known(tube, guesses):
    board = score(tube, [(frame(0, pose=None), DEPTHS[0] / 3), (frame(1), DEPTHS[1])])
    first, second = board.clips["clip"]
    assert len(guesses) == 1
    assert "moved_mm" not in first.scores
    assert board.means()["ours"]["moved_mm"] == second.scores["moved_mm"]


def test_frames_outside_clips_are_one_scene(tube):
    frames = [Frame(f"{number}", GREY, pose=pose(number), K=K) for number in range(2)]
    board = score(tube, [(one, DEPTHS[number]) for number, one in enumerate(frames)])
    assert {clip: [one.name for one in registered] for clip, registered in board.clips.items()} == {
        WITHOUT_CLIP: ["0", "1"]
    }


def test_what_cannot_be_registered_says_why(tube):
    away = pose()
    away[:3, 3] = 0, 0, 500
    empty = np.zeros(SIZE)
    empty[3, 4:8] = 10, np.nan, np.inf, -2
    board = score(
        tube,
        [
            (frame(0, "no camera", K=None), DEPTHS[0]),
            (frame(0, "elsewhere", pose=away), DEPTHS[0]),
            (frame(0, "empty"), {"ours": empty, "other": DEPTHS[0]}),
        ],
    )
    assert board.unscored == {
        "no camera/0": "the camera is not known; give --intrinsics or --fov",
        "elsewhere/0, ours": "its pose looks where the surface is not",
        "empty/0, ours": "too few pixels of its view have depth: 1",
    }
    assert list(board.clips) == ["empty"]
    assert list(board.means()) == ["other"]


def test_a_scale_at_its_bound_is_counted_as_not_trusted(tube):
    board = score(tube, [(frame(), np.where(DEPTHS[0] > 0, 20.0, 0.0))], scale_bounds=(0.99, 1.01))
    assert board.means()["ours"]["untrusted"] == 1


def test_without_frames_there_is_nothing(tube):
    board = score(tube, [])
    assert (board.means(), board.by_clip(), board.clips, board.unscored) == ({}, {}, {}, {})


def test_details_are_json_and_hold_each_frames_similarity(tube):
    details = json.loads(json.dumps(score(tube, [(frame(), DEPTHS[0] / 2)]).details()))
    (one,) = details["clips"]["clip"]["frames"]
    assert (one["name"], one["method"], one["trusted"]) == ("clip/0", "ours", True)
    assert one["similarity"]["scale"] == pytest.approx(2, rel=1e-3)
    np.testing.assert_allclose(one["similarity"]["rotation"], pose()[:3, :3], atol=1e-3)
    np.testing.assert_allclose(one["start"]["translation"], pose()[:3, 3])
    assert details["mean"]["ours"]["residual_mm"] == one["residual_mm"]
    assert details["unscored"] == {}


def test_thinned_frames_have_the_same_points_at_fewer_pixels():
    """300 x 260 pixels are more than 40,000, so every second row and column stays."""
    rng = np.random.default_rng(0)
    size, depth = (300, 260), rng.uniform(5, 50, (300, 260))
    large = Frame("large", rng.uniform(size=(*size, 3)), K=np.array([[200.0, 0, 120.25], [0, 190, 140.75], [0, 0, 1]]))
    mask = rng.random(size) > 0.5
    thinned = thin_out(Frame(**vars(large) | {"sparse": sparse(mask, np.eye(4))}), None, {"ours": depth})
    np.testing.assert_array_equal(thinned.frame.rgb, large.rgb[::2, ::2])
    np.testing.assert_array_equal(thinned.mask, mask[::2, ::2])
    dot = np.zeros((*size, 3), np.uint8)
    whole = depth_to_points(depth, large.K, dot)[0].reshape(*size, 3)[::2, ::2]
    few = depth_to_points(thinned.depths["ours"], thinned.frame.K, dot[::2, ::2])[0]
    np.testing.assert_allclose(few.reshape(whole.shape), whole, rtol=1e-5)


def test_small_frames_are_not_thinned():
    assert thin_out(frame(), None, {"ours": DEPTHS[0]}).frame.rgb.shape == GREY.shape


def test_a_view_loses_its_rim_but_not_the_pictures_border():
    view = np.ones((7, 9), bool)
    view[3, 4] = False
    expected = np.ones((7, 9), bool)
    expected[2:5, 3:6] = False
    np.testing.assert_array_equal(eroded(view, 1), expected)
