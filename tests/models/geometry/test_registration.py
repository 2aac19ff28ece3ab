"""Registration: known similarities come back, nothing collapses or mirrors, and all points count in the residual."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from data.phantom.camera import square_intrinsics
from data.phantom.colon import random_colon
from data.phantom.plan import Task
from data.phantom.trajectory import random_clip
from data.phantom.view import cast_depth
from models.geometry.registration import plane_slopes, plane_step, register, rms_radius
from models.geometry.registration_starts import IDENTITY
from models.geometry.similarity import Similarity
from models.geometry.surface import Feet, Surface
from tests.models.geometry.bumpy_tube import TRUE, bumpy_tube, misses, moved_back, off, points_on

AXES = ([1.0, 0, 0], [0.3, 1, -0.5], [-1.0, 0.4, 1])
SQUARE = np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]])


@pytest.fixture(scope="module")
def tube():
    return Surface.from_mesh(*bumpy_tube())


def cloud(count=1500, part=1.0, seed=5):
    """A part of the tube, in a frame and unit of its own: ``TRUE`` brings it back."""
    return moved_back(points_on(*bumpy_tube(), count, seed, part), TRUE)


def assert_recovered(similarity, points, within=1e-3):
    assert max(misses(similarity, TRUE, points)) < within


@pytest.mark.parametrize(
    ("angle_deg", "scale", "shift"), [(10, 1.2, 0.1), (15, 0.8, 0.2), (15, 1.2, 0.0), (5, 1.0, 0.3)]
)
@pytest.mark.parametrize("axis", AXES)
def test_a_known_similarity_comes_back_to_a_thousandth(tube, axis, angle_deg, scale, shift):
    points = cloud(500)
    found = register(points, tube, [off(TRUE, points, axis, angle_deg, scale, shift)])
    assert_recovered(found.similarity, points)
    assert found.converged
    assert not found.at_bound
    assert found.mean < 1e-3
    assert np.linalg.det(found.similarity.rotation) == pytest.approx(1)


def test_a_cloud_of_a_part_comes_back_to_that_part(tube):
    points = cloud(500, part=0.4)
    found = register(points, tube, [off(TRUE, points, AXES[1], 10, 1.2, 0.1)])
    assert_recovered(found.similarity, points)


def test_depth_of_a_rendered_colon_comes_back_from_its_mesh():
    """The accepted case: a frame of the phantom, in another unit, from a start that is off by 12 degrees and 20 %."""
    shape_rng, _, camera_rng, _ = Task("video_test", 0, 2, seed=3).generators()
    colon = random_colon(shape_rng)
    pose, camera = random_clip(camera_rng, colon, 2)[0], square_intrinsics(40, 110.0)
    depth = cast_depth(colon, camera, pose).reshape(-1, 1)
    true = Similarity(4.0, pose[:3, :3], pose[:3, 3])
    points = camera.unproject(*camera.pixel_grid()) * depth / true.scale
    mesh = Surface.from_mesh(colon.mesh.vertices, colon.mesh.faces)
    found = register(points, mesh, [off(true, points, AXES[2], 12, 0.8, 0.1)])
    assert max(misses(found.similarity, true, points)) < 1e-3
    assert found.mean < 0.01  # mm


def test_a_surface_of_plain_points_does_nearly_as_well(tube):
    points, plain = cloud(500), Surface(tube.points[::2])
    found = register(points, plain, [off(TRUE, points, AXES[0], 10, 1.2, 0.1)])
    assert_recovered(found.similarity, points, within=2e-3)
    # Among points that are strewn over a plane, the nearest is half a root of the area that each has away.
    area = trimesh.Trimesh(*bumpy_tube(), process=False).area / len(plain.points)
    assert found.mean == pytest.approx(0.5 * np.sqrt(area), rel=0.15)


def test_the_worst_points_are_left_out_of_the_fit_and_counted_in_the_mean(tube):
    points = cloud(1000)
    rng = np.random.default_rng(2)
    points[:80] += rng.normal(size=(80, 3)) * 3  # 7.5 in the surface's unit
    start = off(TRUE, points, AXES[1], 10, 0.85, 0.1)
    found = register(points, tube, [start])
    assert_recovered(found.similarity, points)
    assert found.share_used == pytest.approx(0.9)
    assert found.trimmed_mean < 1e-3
    assert found.mean > 0.1
    everything = register(points, tube, [start], trim=0.0)
    assert misses(everything.similarity, TRUE, points)[1] > 3e-3
    assert everything.trimmed_mean == pytest.approx(everything.mean)


def test_distances_are_of_all_points_however_few_are_fitted(tube):
    points = cloud(700) + np.random.default_rng(3).normal(size=(700, 3)) * 0.05
    found = register(points, tube, [TRUE], fit_points=100)
    np.testing.assert_array_equal(found.distances, tube.closest(found.similarity.apply(points)).distances)
    assert found.mean == pytest.approx(found.distances.mean())
    assert found.p95 == pytest.approx(np.percentile(found.distances, 95))
    assert found.trimmed_mean == pytest.approx(np.sort(found.distances)[:630].mean())
    assert found.share_used == 0.9


def test_a_mirrored_cloud_is_turned_and_never_mirrored(tube):
    points = cloud(200) * [1, 1, -1]
    found = register(points, tube, [off(TRUE, points, AXES[1], 20, 1.0, 0.0)])
    assert np.linalg.det(found.similarity.rotation) == pytest.approx(1)
    assert found.mean > 0.2


def test_noise_of_the_cloud_does_not_shrink_it():
    """A gentle wall, and noise of 0.3 on a cloud of 18 x 16: in the surface's unit it would fit best 38 % smaller."""
    side_x, side_y = np.meshgrid(np.linspace(-15, 15, 60), np.linspace(-12, 12, 50), indexing="ij")
    vertices = gentle_wall(side_x.ravel(), side_y.ravel())
    here = np.arange(len(vertices)).reshape(side_x.shape)
    upper = np.stack([here[:-1, :-1], here[1:, :-1], here[:-1, 1:]], axis=-1).reshape(-1, 3)
    lower = np.stack([here[1:, :-1], here[1:, 1:], here[:-1, 1:]], axis=-1).reshape(-1, 3)
    surface = Surface.from_mesh(vertices, np.concatenate([upper, lower]), samples=5000)
    rng = np.random.default_rng(0)
    points = gentle_wall(*rng.uniform(-1, 1, (2, 1500)) * [[9], [8]])
    points[:, 2] += 0.3 * rng.normal(size=1500)
    points = moved_back(points, TRUE)
    found = register(points, surface, [off(TRUE, points, AXES[1], 10, 1.2, 0.2)])
    assert found.similarity.scale == pytest.approx(TRUE.scale, rel=0.08)
    assert found.mean == pytest.approx(surface.closest(TRUE.apply(points)).distances.mean(), rel=0.05)


def gentle_wall(x, y):
    """Points (N, 3) of a wall that is curved along both sides, one way and the other."""
    return np.stack([x, y, 0.02 * x**2 - 0.012 * y**2 + 0.8 * np.sin(x / 4) * np.cos(y / 5)], axis=1)


@pytest.mark.parametrize("bounds", [(0.5, 2.0), (0.9, 1.05)])
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_the_scale_of_what_fits_nowhere_stays_within_its_bounds(tube, bounds, scale):
    blob = np.random.default_rng(0).normal(size=(200, 3)) * 4 + [0, 0, 30]
    start = Similarity(scale, np.eye(3), np.array([0.0, 0, 30 - 30 * scale]))
    found = register(blob, tube, [start], scale_bounds=bounds, trim=0.0)
    assert scale * bounds[0] <= found.similarity.scale <= scale * bounds[1]
    assert found.at_bound == (found.similarity.scale in (scale * bounds[0], scale * bounds[1]))


@pytest.mark.parametrize(("start", "bound"), [(0.8, 1.1), (1.3, 0.9)])
def test_a_scale_beyond_its_bound_is_told(tube, start, bound):
    points = cloud(300)
    found = register(points, tube, [off(TRUE, points, AXES[0], 2, start, 0.0)], scale_bounds=(0.9, 1.1))
    assert found.at_bound
    assert found.similarity.scale == pytest.approx(start * bound * TRUE.scale)


def test_a_scale_may_be_fixed(tube):
    points = cloud(400)
    start = off(TRUE, points, AXES[0], 8, 1.0, 0.1)
    found = register(points, tube, [start], scale_bounds=(1.0, 1.0))
    assert found.similarity.scale == start.scale
    assert not found.at_bound
    assert_recovered(found.similarity, points)


def test_of_several_starts_the_best_is_kept_and_told(tube):
    points = cloud(300)
    upside_down = TRUE._replace(rotation=Rotation.from_euler("x", 180, degrees=True).as_matrix() @ TRUE.rotation)
    good = off(TRUE, points, AXES[2], 10, 1.1, 0.0)
    for starts in ([upside_down, good], [good, upside_down]):
        found = register(points, tube, starts)
        assert_recovered(found.similarity, points)
        assert found.start is good
        assert register(points, tube, starts, iterations=2).start is good


def test_a_start_at_a_tenth_of_the_size_fits_closer_and_yet_loses(tube):
    """Of a cloud that is tiny all points are near the wall: it is by the cloud's own unit that starts are compared."""
    points = cloud(300) + np.random.default_rng(4).normal(size=(300, 3)) * 0.6
    place = tube.points[np.linalg.norm(tube.points - [6, 0, 30], axis=1).argmin()]
    tiny = Similarity(0.1, np.eye(3), place - 0.1 * points.mean(axis=0))
    alone = register(points, tube, [tiny])
    found = register(points, tube, [tiny, TRUE])
    assert alone.trimmed_mean < 0.5 * found.trimmed_mean
    assert found.start is TRUE


def test_what_had_too_few_iterations_says_so(tube):
    points = cloud(300)
    start = off(TRUE, points, AXES[0], 15, 0.8, 0.2)
    found = register(points, tube, [start], iterations=1)
    assert not found.converged
    assert found.iterations == 2  # one with the first points, and one with all
    before = tube.closest(start.apply(points)).distances.mean()
    assert found.mean < before


def test_moving_the_world_moves_the_result_along(tube):
    points = cloud(300)
    start = off(TRUE, points, AXES[1], 8, 1.1, 0.1)
    world = Similarity(
        0.01, Rotation.from_euler("zyx", [50, 10, -70], degrees=True).as_matrix(), np.array([3.0, 1, -2])
    )

    def there(similarity):
        rotation = world.rotation @ similarity.rotation
        return Similarity(world.scale * similarity.scale, rotation, world.apply(similarity.translation))

    found = register(points, tube, [start])
    vertices, faces = bumpy_tube()
    moved = register(points, Surface.from_mesh(world.apply(vertices), faces), [there(start)])
    expected = there(found.similarity)
    assert moved.similarity.scale == pytest.approx(expected.scale)
    np.testing.assert_allclose(moved.similarity.rotation, expected.rotation, atol=1e-6)
    np.testing.assert_allclose(moved.similarity.translation, expected.translation, atol=1e-6)


def test_a_plane_is_found_and_what_a_plane_cannot_tell_is_left_as_it_was():
    plane = Surface.from_mesh(SQUARE, np.array([[0, 1, 2], [0, 2, 3]]), samples=400)
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(3, 7, (200, 2)), np.zeros((200, 1))], axis=1)
    tilt = Rotation.from_rotvec([0.2, 0, 0]).as_matrix()
    found = register(points, plane, [Similarity(1.0, tilt, np.array([0.0, 0, 0.5]))])
    assert found.mean < 1e-6
    assert found.similarity.scale == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(found.similarity.apply(points).mean(axis=0), points.mean(axis=0), atol=0.3)


def test_trimesh_finds_the_same_where_both_have_the_time_to(tube):
    """Its closest points creep, so it gets a start close by and many iterations."""
    points = points_on(*bumpy_tube(), 400)
    start = off(IDENTITY, points, AXES[1], 2, 1.02, 0.01)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = start.scale * start.rotation, start.translation
    total, _, _ = trimesh.registration.icp(
        points, tube.points, matrix, threshold=1e-9, max_iterations=300, reflection=False, scale=True
    )
    found = register(points, tube, [start], trim=0.0).similarity
    assert np.cbrt(np.linalg.det(total[:3, :3])) == pytest.approx(found.scale, rel=5e-3)
    np.testing.assert_allclose(total[:3, :3], found.scale * found.rotation, atol=1e-2)
    np.testing.assert_allclose(points @ total[:3, :3].T + total[:3, 3], found.apply(points), atol=0.3)


def test_slopes_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    arms, foot_arms, normals = rng.normal(size=(3, 6, 3))

    def distances(step):
        turned = arms @ Rotation.from_rotvec(step[:3]).as_matrix().T
        return (normals * (np.exp(step[3]) * turned + step[4:] - foot_arms)).sum(axis=1) / np.exp(step[3])

    h = 1e-6
    differences = [(distances(h * one) - distances(-h * one)) / (2 * h) for one in np.eye(7)]
    np.testing.assert_allclose(plane_slopes(arms, foot_arms, normals), np.stack(differences, axis=1), atol=1e-8)


@pytest.mark.parametrize("size", [1e-3, 1e-2])
def test_a_step_leaves_an_error_of_second_order(size):
    """Planes all round, with their feet known: what one step leaves is the square of what there was."""
    rng = np.random.default_rng(1)
    points, normals = rng.normal(size=(2, 60, 3)) * 5
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    feet = Feet(points, normals, np.zeros(60))
    start = off(IDENTITY, points, AXES[2], np.degrees(size), 1 + size, size)
    step = plane_step(points, feet, start)
    assert max(misses(step, IDENTITY, points)) < 3 * size**2 + 1e-5 * size  # the damping, besides


def test_a_step_is_cut_short_where_it_is_no_more_linear():
    points = points_on(*bumpy_tube(), 50)
    feet = Feet(points + [1000.0, 0, 0], np.tile([1.0, 0, 0], (50, 1)), np.zeros(50))
    step = plane_step(points, feet, IDENTITY)
    moved = np.linalg.norm(step.apply(points).mean(axis=0) - points.mean(axis=0))
    assert moved == pytest.approx(0.3 * rms_radius(points), rel=1e-3)


def test_radius_by_hand():
    assert rms_radius(np.array([[1.0, 0, 0], [1, 2, 0], [1, 0, 4], [1, 2, 4]])) == pytest.approx(np.sqrt(1 + 4))


GOOD = np.random.default_rng(0).normal(size=(20, 3))


@pytest.mark.parametrize(
    ("points", "changes", "message"),
    [
        (GOOD[:, :2], {}, r"must be \(N, 3\), got \(20, 2\)"),
        (GOOD[:0], {}, "at least 10 points to be registered, got 0"),
        (GOOD[:9], {}, "at least 10 points to be registered, got 9"),
        (GOOD * [[np.nan]] + 0, {}, "points that are not finite"),
        (np.full((20, 3), 7.0), {}, "one point, which has no scale"),
        (GOOD, {"starts": []}, "at least one start"),
        (GOOD, {"starts": [IDENTITY._replace(scale=0.0)]}, r"must be positive, got \[0.0\]"),
        (GOOD, {"starts": [IDENTITY._replace(scale=float("nan"))]}, "must be positive"),
        (GOOD, {"trim": 1.0}, r"trim must lie in \[0, 1\), got 1.0"),
        (GOOD, {"trim": -0.1}, "trim must lie"),
        (GOOD, {"scale_bounds": (1.1, 2.0)}, r"must hold 1, got \(1.1, 2.0\)"),
        (GOOD, {"scale_bounds": (0.0, 2.0)}, "scale_bounds are multiples"),
        (GOOD, {"iterations": 0}, "need iterations >= 1 and fit_points >= 10, got 0 and 2000"),
        (GOOD, {"fit_points": 5}, "got 100 and 5"),
    ],
)
def test_what_cannot_be_registered_is_refused(tube, points, changes, message):
    with pytest.raises(ValueError, match=message):
        register(points, tube, **({"starts": [IDENTITY]} | changes))
