"""Shape of the colons: stated ranges, closed walls, no two alike."""

import numpy as np
import pytest

from data.phantom.centreline import random_centreline
from data.phantom.colon import Colon
from data.phantom.folds import random_folds
from data.phantom.polyps import StalkedPolyp, build_stalked_mesh
from data.phantom.raycast import Raycaster
from data.phantom.trajectory import MIN_CLEARANCE_MM, random_clip, random_views


@pytest.mark.parametrize("seed", range(6))
def test_bends_and_lumen_stay_in_the_stated_ranges(seed: int) -> None:
    line = random_centreline(np.random.default_rng(seed), 360.0)

    # Bend radius from the points alone: the circle through three of them, 10 mm apart.
    a, b, c = line.points[:-40], line.points[20:-20], line.points[40:]
    twice_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    sides = [np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (a, c))]
    bend_radius = sides[0] * sides[1] * sides[2] / (2.0 * twice_area)

    assert bend_radius.min() > 40.0 * 0.99  # 1 %: the chord is not the arc
    assert bend_radius.max() < 150.0 * 1.05  # the direction of the bend turns as well, which lengthens it a little
    assert line.radius_mm.min() >= 10.0
    assert line.radius_mm.max() <= 30.0
    assert (line.radius_mm * line.curvature).max() < 0.6


def test_frame_is_orthonormal_and_follows_the_curve() -> None:
    line = random_centreline(np.random.default_rng(1), 300.0)
    products = np.einsum("nij,nik->njk", line.frames, line.frames)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-9)
    steps = np.diff(line.points, axis=0) / np.diff(line.s_mm)[:, None]
    assert np.einsum("ni,ni->n", steps, line.frames[:-1, :, 0]).min() > 0.9999


def test_folds_are_thin_sharp_and_well_apart() -> None:
    line = random_centreline(np.random.default_rng(2), 400.0)
    folds = random_folds(np.random.default_rng(3), line)
    assert {fold.row for fold in folds} == {0, 1, 2}
    for fold in folds:
        assert 3.0 <= fold.height_mm <= 9.0
        assert 2.0 <= fold.thickness_mm <= 4.0
        radius = float(line.radius_at(fold.station_mm))
        middle = fold.height(np.array([fold.station_mm]), np.array([fold.offset_rad]), radius)[0, 0]
        assert middle == pytest.approx(fold.height_mm, rel=0.15, abs=0.3)  # its edge is softened where the row ends
        aside = fold.height(np.array([fold.station_mm]), np.array([fold.offset_rad + np.pi / 3]), radius)[0, 0]
        assert aside < 0.4 * fold.height_mm  # the corner of the triangle, at the taenia


def test_every_ray_from_anywhere_inside_hits_a_wall_that_faces_it(colons: list[Colon], directions: np.ndarray) -> None:
    for colon in colons:
        line = colon.centreline
        for s in np.linspace(5.0, line.length_mm - 5.0, 12):
            hits = colon.raycaster.cast(line.at(np.array(s))[0], directions)  # raises when one escapes
            facing = -np.einsum("ni,ni->n", hits.normals, directions)
            # Smooth normals may point a little away where the silhouette of a fold is seen.
            assert np.mean(facing > 0.0) > 0.99
            assert hits.distance_mm.max() < line.length_mm


def test_an_open_mesh_is_reported(colons: list[Colon], directions: np.ndarray) -> None:
    outside = np.full(3, 1e4)
    with pytest.raises(RuntimeError, match="left the colon"):
        colons[0].raycaster.cast(outside, directions)


def test_colons_of_different_splits_differ(colons: list[Colon]) -> None:
    first, second = (colon.centreline for colon in colons)
    assert first.length_mm != second.length_mm
    assert np.abs(first.points[:500] - second.points[:500]).max() > 5.0


def test_cameras_keep_their_distance_from_all_tissue(colons: list[Colon], directions: np.ndarray) -> None:
    for colon in colons:
        rng = np.random.default_rng(5)
        poses = np.concatenate([random_views(rng, colon, 6), random_clip(rng, colon, 10)])
        for pose in poses:
            assert colon.raycaster.cast(pose[:3, 3], directions).distance_mm.min() > MIN_CLEARANCE_MM
            np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
            assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)


def test_clips_move_like_a_hand(colons: list[Colon]) -> None:
    for seed in range(5):
        poses = random_clip(np.random.default_rng(seed), colons[0], 24)
        steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        turns = np.einsum("tij,tij->t", poses[1:, :3, :3], poses[:-1, :3, :3])
        angles = np.degrees(np.arccos(np.clip((turns - 1.0) / 2.0, -1.0, 1.0)))
        assert steps.max() < 4.5  # up to 2 mm along the lumen, the rest sideways and round a bend
        assert angles.max() < 6.0


def test_a_stalked_polyp_stands_in_the_lumen_with_normals_outwards() -> None:
    line = random_centreline(np.random.default_rng(4), 300.0)
    mesh = build_stalked_mesh(line, StalkedPolyp(150.0, 1.0, head_mm=4.0, stalk_mm=5.0, lean_rad=0.2))
    origin = line.at(np.array(150.0))[0]
    towards_head = mesh.vertices[mesh.redness == 1.0].mean(axis=0) - origin
    distance = np.linalg.norm(towards_head)
    hits = Raycaster(mesh).cast(origin, towards_head[None] / distance)
    assert 0.0 < hits.distance_mm[0] <= distance + 1e-3 < line.radius_at(150.0)
    assert hits.redness[0] > 0.9
    assert hits.normals[0] @ towards_head < 0.0
