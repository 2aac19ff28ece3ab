"""Starts: right-handed and where they should be; a pose's scale is that of what the camera sees."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry.registration import register
from models.geometry.registration_starts import (
    IDENTITY,
    depth_ratio,
    perturbed_starts,
    pose_start,
    principal_axes,
    rough_starts,
)
from models.geometry.similarity import Similarity
from models.geometry.surface import Surface
from tests.models.geometry.bumpy_tube import TRUE, bumpy_tube, misses, moved_back, points_on

WORLD = Similarity(0.2, Rotation.from_euler("xyz", [80, 20, -40], degrees=True).as_matrix(), np.array([5.0, -60, 12]))


@pytest.fixture(scope="module")
def tube():
    return Surface.from_mesh(*bumpy_tube())


def view_of(depth_of, count=60):
    """Points that a camera at the origin sees along z, at the depth of each direction (x, y): (N, 3)."""
    x, y = (side.ravel() for side in np.meshgrid(np.linspace(-1, 1, count), np.linspace(-0.7, 0.7, count)))
    return np.stack([x, y, np.ones_like(x)], axis=1) * depth_of(x, y)[:, None]


@pytest.mark.parametrize("samples", [100, 40_000])
def test_rough_starts_bring_a_whole_cloud_near_enough_to_be_registered(samples):
    """Whatever the short axes of the drawn points are: they are as good as chance on a tube that is nearly round."""
    points = moved_back(points_on(*bumpy_tube(), 300), TRUE)
    surface = Surface.from_mesh(*bumpy_tube(), samples)
    found = register(points, surface, rough_starts(points, surface))
    assert max(misses(found.similarity, TRUE, points)) < 1e-3


def test_rough_starts_have_the_surfaces_centre_size_and_axes_and_are_all_different():
    rng = np.random.default_rng(0)
    wall = rng.normal(size=(4000, 3)) * [9, 1, 4]
    points = moved_back(wall[::2], TRUE)
    starts = rough_starts(points, Surface(wall))
    assert len(starts) == 16
    for start in starts:
        assert start.scale == pytest.approx(TRUE.scale, rel=0.05)
        assert np.linalg.det(start.rotation) == pytest.approx(1)
        np.testing.assert_allclose(start.rotation @ start.rotation.T, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(start.apply(points).mean(axis=0), wall.mean(axis=0), atol=1e-9)
        longest = start.rotation @ TRUE.rotation.T @ [1, 0, 0]  # lies along the longest axis of the wall
        np.testing.assert_allclose(np.abs(longest), [1, 0, 0], atol=0.05)
    assert min(misses(start, TRUE, points)[1] for start in starts) < 0.05
    apart = [misses(one, other, points)[1] for index, one in enumerate(starts) for other in starts[:index]]
    assert min(apart) == pytest.approx(np.pi / 4)
    plain = rough_starts(points, Surface(wall), turns=1)
    np.testing.assert_allclose([misses(one, plain[0], points)[1] for one in plain[1:]], np.pi)


def test_rough_starts_need_sizes(tube):
    with pytest.raises(ValueError, match="the surface is one point"):
        rough_starts(tube.points, Surface(np.ones((3, 3))))
    with pytest.raises(ValueError, match="at least 10 points"):
        rough_starts(tube.points[:4], tube)


def test_axes_point_along_the_extents_and_are_no_mirror():
    points = np.random.default_rng(0).normal(size=(5000, 3)) * [9, 1, 4]
    axes = principal_axes(points)
    np.testing.assert_allclose(np.abs(axes), np.eye(3)[:, [1, 2, 0]], atol=0.05)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_perturbed_starts_turn_and_scale_about_the_point_that_stays():
    centre = np.array([3.0, -8, 20])
    starts = perturbed_starts(TRUE, centre, angle_deg=12, scale_factor=1.3)
    assert starts[0] is TRUE
    assert len(starts) == 9
    for start in starts:
        np.testing.assert_allclose(start.apply(centre), TRUE.apply(centre), atol=1e-9)
    angles = [np.degrees(misses(start, TRUE, np.eye(3))[1]) for start in starts]
    np.testing.assert_allclose(angles, [0, 0, 0] + 6 * [12], atol=1e-9)
    np.testing.assert_allclose([start.scale / TRUE.scale for start in starts], [1, 1.3, 1 / 1.3] + 6 * [1])
    turns = [Rotation.from_matrix(start.rotation @ TRUE.rotation.T).as_rotvec() for start in starts[3:]]
    np.testing.assert_allclose(np.sum(turns, axis=0), 0, atol=1e-12)
    assert np.linalg.matrix_rank(turns) == 3


def test_perturbations_can_be_left_out_one_by_one():
    assert len(perturbed_starts(TRUE, np.zeros(3), angle_deg=0)) == 3
    assert len(perturbed_starts(TRUE, np.zeros(3), scale_factor=1)) == 7
    assert perturbed_starts(TRUE, np.zeros(3), angle_deg=0, scale_factor=1) == [TRUE]


def test_depth_ratio_is_the_factor_between_a_wall_and_points_on_it():
    wall = view_of(lambda x, y: 30 + 10 * x + 5 * y**2, count=150)
    assert depth_ratio(view_of(lambda x, y: 30 + 10 * x + 5 * y**2) / 4, wall) == pytest.approx(4, rel=0.02)


def test_depth_ratio_does_not_see_what_is_hidden_or_behind():
    wall, points = view_of(lambda x, y: 30 + 0 * x, count=150), view_of(lambda x, y: 10 + 0 * x)
    behind = np.random.default_rng(0).normal(size=(3000, 3)) * [50, 50, 10] - [0, 0, 60]
    assert depth_ratio(points, np.concatenate([3 * wall, wall, behind])) == pytest.approx(3)


def test_depth_ratio_forgives_a_part_of_the_picture():
    points = view_of(lambda x, y: np.where(x < -0.4, 2.0, 10.0))
    assert depth_ratio(points, view_of(lambda x, y: 30 + 0 * x, count=150)) == pytest.approx(3)


def test_a_camera_that_looks_elsewhere_has_no_depth_ratio():
    points = view_of(lambda x, y: 10 + 0 * x)
    assert depth_ratio(points, points * [1, 1, -1]) is None
    assert depth_ratio(points, points[:4]) is None


def test_a_pose_start_has_the_pose_and_the_scale_of_what_is_seen():
    """The camera is turned and away from the origin; its depth is 5 times too small."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_euler("xyz", [10, 50, 5], degrees=True).as_matrix(), [7.0, -3, 11]
    seen = view_of(lambda x, y: 40 + 10 * x)
    surface = Surface(view_of(lambda x, y: 40 + 10 * x, count=150) @ pose[:3, :3].T + pose[:3, 3])
    start = pose_start(seen / 5, surface, pose)
    assert start.scale == pytest.approx(5, rel=0.02)
    np.testing.assert_allclose(start.rotation, pose[:3, :3])
    np.testing.assert_allclose(start.translation, pose[:3, 3])
    np.testing.assert_allclose(start._replace(scale=5.0).apply(seen / 5), seen @ pose[:3, :3].T + pose[:3, 3])


def test_a_pose_of_another_world_is_brought_to_the_surface():
    """The same camera told in a world that is turned, shifted and 5 times larger than the surface's."""
    surface = Surface(view_of(lambda x, y: 40 + 10 * x, count=150))
    pose = np.eye(4)  # of the camera at the surface's origin, in WORLD's frame: surface = WORLD(world)
    pose[:3, :3] = WORLD.rotation.T
    pose[:3, 3] = moved_back(np.zeros((1, 3)), WORLD)[0]
    start = pose_start(view_of(lambda x, y: 40 + 10 * x), surface, pose, WORLD)
    assert start.scale == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(start.rotation, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(start.translation, 0, atol=1e-9)


def test_a_pose_that_looks_away_gives_no_start():
    surface = Surface(view_of(lambda x, y: 40 + 0 * x))
    away = np.diag([1.0, -1, -1, 1])
    assert pose_start(view_of(lambda x, y: 10 + 0 * x), surface, away) is None


def test_identity_changes_nothing():
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(IDENTITY.apply(points), points)
