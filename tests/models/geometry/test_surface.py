"""Nearest places on surfaces: by hand, against all triangles one by one, and never nearer than they are."""

import numpy as np
import pytest

from models.geometry import surface as module
from models.geometry.surface import Surface, draw_points, nearest_on_segments, nearest_on_triangles, plane_normals
from tests.models.geometry.bumpy_tube import bumpy_tube

CORNERS = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0]])
SQUARE = np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]])
SQUARE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize(
    ("point", "nearest"),
    [
        ([1, 1, 5], [1, 1, 0]),  # above the inside
        ([1, 1, -5], [1, 1, 0]),
        ([-2, -1, 3], [0, 0, 0]),  # beyond each corner
        ([9, -1, 0], [4, 0, 0]),
        ([-1, 7, 2], [0, 3, 0]),
        ([2, -4, 1], [2, 0, 0]),  # beyond each side
        ([-3, 2, 1], [0, 2, 0]),
        ([2 + 3, 1.5 + 4, 7], [2, 1.5, 0]),  # the long side's normal is (3, 4) / 5
        ([4, 3, 0], [2.56, 1.08, 0]),  # by hand: 4, 3 projected onto the line 3 x + 4 y = 12
    ],
)
def test_nearest_place_on_a_triangle_by_hand(point, nearest):
    for order in ([0, 1, 2], [1, 2, 0], [2, 1, 0]):  # corners may come in any order
        np.testing.assert_allclose(nearest_on_triangles(np.array(point, float), CORNERS[order]), nearest, atol=1e-12)


def test_no_other_place_on_a_triangle_is_nearer():
    rng = np.random.default_rng(0)
    triangles, points = rng.normal(size=(200, 3, 3)), 2 * rng.normal(size=(200, 3))
    found = np.linalg.norm(nearest_on_triangles(points, triangles) - points, axis=1)
    u, v = (share.ravel() for share in np.meshgrid(np.linspace(0, 1, 81), np.linspace(0, 1, 81)))
    u, v = u[u + v <= 1 + 1e-9], v[u + v <= 1 + 1e-9]
    weights = np.stack([1 - u - v, u, v])  # a grid of places on each triangle
    grid = np.einsum("kg,nkc->ngc", weights, triangles)
    nearest = np.linalg.norm(grid - points[:, None], axis=2).min(axis=1)
    assert (found <= nearest + 1e-12).all()
    sides = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    assert (found >= nearest - sides / 80).all()


def test_triangles_without_an_area_are_lines_and_points():
    line = np.array([[0.0, 0, 0], [2, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(nearest_on_triangles(np.array([1.5, 3, 0]), line), [1.5, 0, 0])
    np.testing.assert_allclose(nearest_on_triangles(np.array([5.0, 3, 0]), line), [2, 0, 0])
    np.testing.assert_allclose(nearest_on_triangles(np.array([5.0, 3, 0]), np.ones((3, 3))), [1, 1, 1])
    np.testing.assert_allclose(nearest_on_segments(np.zeros(3), np.ones(3), np.ones(3)), [1, 1, 1])


def test_a_mesh_gives_the_nearest_of_all_its_triangles_and_never_a_smaller_distance():
    vertices, faces = bumpy_tube(24, 20)
    mesh = Surface.from_mesh(vertices, faces, samples=8000)
    rng = np.random.default_rng(1)
    points = mesh.points[rng.choice(len(mesh.points), 150)] + rng.normal(size=(150, 3))
    feet = mesh.closest(points)
    all_feet = nearest_on_triangles(points[:, None], vertices[faces][None])
    true = np.linalg.norm(all_feet - points[:, None], axis=2).min(axis=1)
    assert (feet.distances >= true - 1e-12).all()
    np.testing.assert_allclose(feet.distances, true, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(feet.points - points, axis=1), feet.distances)


def test_normals_are_those_of_the_triangles():
    feet = Surface.from_mesh(*bumpy_tube()).closest(np.array([[0.0, 0, 30], [0, 1, 31]]))
    np.testing.assert_allclose(np.linalg.norm(feet.normals, axis=1), 1)
    square = Surface.from_mesh(SQUARE, SQUARE_FACES, samples=50).closest(np.array([[3.0, 4, 2], [12, 5, 1]]))
    np.testing.assert_allclose(np.abs(square.normals), [[0, 0, 1], [0, 0, 1]], atol=1e-12)


def test_beyond_the_border_the_distance_is_to_the_border_and_not_to_the_plane():
    square = Surface.from_mesh(SQUARE, SQUARE_FACES, samples=500)
    np.testing.assert_allclose(square.closest(np.array([[13.0, 5, 4], [-3, -4, 0]])).distances, [5, 5])


def test_points_are_drawn_evenly_by_area_and_on_every_triangle():
    tiny = np.array([[20.0, 0, 0], [20.01, 0, 0], [20, 0.01, 0]])
    vertices = np.concatenate([CORNERS, 2 * CORNERS + [0, 0, 9], tiny])
    mesh = Surface.from_mesh(vertices, np.arange(9).reshape(3, 3), samples=5000)
    near, far = (mesh.points[:, 2] == z for z in (0.0, 9.0))
    assert far.sum() / (near & (mesh.points[:, 0] < 10)).sum() == pytest.approx(4, rel=0.01)
    assert (mesh.points[:, 0] >= 20).sum() == 1
    np.testing.assert_allclose(mesh.points[far].mean(axis=0), (2 * CORNERS).mean(axis=0) + [0, 0, 9], atol=0.1)
    np.testing.assert_allclose(nearest_on_triangles(mesh.points, mesh.triangles), mesh.points, atol=1e-9)


def test_points_drawn_on_a_triangle_prefer_none_of_its_corners():
    drawn = draw_points(np.broadcast_to(CORNERS, (20_000, 3, 3)), np.random.default_rng(0))
    assert (drawn[:, 0] / 4 + drawn[:, 1] / 3 <= 1 + 1e-12).all()
    np.testing.assert_allclose(drawn.mean(axis=0), CORNERS.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(drawn[:, :2].var(axis=0), [4**2 / 18, 3**2 / 18], rtol=0.05)  # of a triangle, by hand


def test_a_seed_draws_the_same_points():
    first, again, other = (Surface.from_mesh(SQUARE, SQUARE_FACES, 40, seed).points for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_triangles_without_an_area_are_left_out_of_a_mesh():
    mesh = Surface.from_mesh(np.concatenate([CORNERS, CORNERS[:1]]), np.array([[0, 1, 2], [0, 3, 1]]), samples=30)
    assert len(mesh.points) == 30
    assert np.isfinite(mesh.closest(np.zeros((1, 3))).normals).all()


def test_of_plain_points_the_nearest_counts_and_its_neighbours_give_the_normal():
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0), [0.0]), axis=-1).reshape(-1, 3)
    feet = Surface(grid).closest(np.array([[2.25, 2.0, 3.0], [1.5 - 0.3, 3, 0]]))
    np.testing.assert_allclose(feet.points, [[2, 2, 0], [1, 3, 0]])
    np.testing.assert_allclose(feet.distances, [np.hypot(0.25, 3), 0.2])
    np.testing.assert_allclose(np.abs(feet.normals), [[0, 0, 1], [0, 0, 1]], atol=1e-9)


def test_a_single_point_is_a_surface_too():
    feet = Surface(np.array([[1.0, 2, 3]])).closest(np.array([[1.0, 2, 5], [4, 6, 3]]))
    np.testing.assert_allclose(feet.distances, [2, 5])


def test_normal_of_a_tilted_plane():
    rng = np.random.default_rng(0)
    u, v = np.array([2.0, 1, 0]), np.array([0.0, 1, 1])
    groups = rng.normal(size=(4, 9, 1)) * u + rng.normal(size=(4, 9, 1)) * v + rng.normal(size=(4, 1, 3))
    expected = np.cross(u, v) / np.linalg.norm(np.cross(u, v))
    np.testing.assert_allclose(np.abs(plane_normals(groups) @ expected), 1)


@pytest.mark.parametrize("plain", [True, False])
def test_blocks_of_points_are_as_points_one_by_one(monkeypatch, plain):
    mesh = Surface.from_mesh(*bumpy_tube(10, 12), samples=500)
    surface = Surface(mesh.points) if plain else mesh
    points = np.random.default_rng(3).normal(size=(11, 3)) * 10
    whole = surface.closest(points)
    monkeypatch.setattr(module, "BLOCK", 3)
    for part, array in zip(surface.closest(points), whole, strict=True):
        np.testing.assert_array_equal(part, array)
    assert surface.closest(points[:0]).points.shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Surface(np.zeros((0, 3))), r"at least one, got \(0, 3\)"),
        (lambda: Surface(np.zeros((4, 2))), r"got \(4, 2\)"),
        (lambda: Surface(np.zeros((4, 3)), np.zeros((3, 3, 3))), r"must be \(4, 3, 3\), one a point, got \(3, 3, 3\)"),
        (lambda: Surface(np.full((4, 3), np.nan)), "points that are not finite"),
        (lambda: Surface.from_mesh(SQUARE[:, :2], SQUARE_FACES), r"got \(4, 2\) and \(2, 3\)"),
        (lambda: Surface.from_mesh(SQUARE, np.array([[0, 1, 2, 3]])), r"got \(4, 3\) and \(1, 4\)"),
        (lambda: Surface.from_mesh(SQUARE + np.inf, SQUARE_FACES), "corners that are not finite"),
        (lambda: Surface.from_mesh(SQUARE, np.array([[0, 0, 1]])), "no triangle with an area"),
        (lambda: Surface.from_mesh(SQUARE, np.array([[0, 1, 4]])), "vertices 0 to 4, but there are 4"),
        (lambda: Surface.from_mesh(SQUARE, np.array([[-1, 1, 2]])), "vertices -1 to 2, but there are 4"),
        (lambda: Surface.from_mesh(SQUARE, np.zeros((0, 3), int)), "no triangle with an area"),
    ],
)
def test_what_is_no_surface_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
