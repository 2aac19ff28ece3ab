"""Depth and flow against answers that do not come from the renderer."""

import numpy as np
import pytest
import trimesh

from data.phantom.camera import Intrinsics, square_intrinsics, transform, transform_inverse
from data.phantom.colon import Colon
from data.phantom.mesh import Mesh, merge_meshes
from data.phantom.raycast import Raycaster
from data.phantom.sensor import inside_octagon
from data.phantom.trajectory import random_clip, random_views
from data.phantom.truth import true_flow
from data.phantom.view import cast_depth
from util.errors import UserError

CAMERA = Intrinsics(width=40, height=30, fx=18.0, fy=15.0, cx=17.0, cy=16.5)  # uneven, so that a swap shows
ROOM_MM, SCREEN_MM = 60.0, 25.0


def _flat_mesh(shape: trimesh.Trimesh) -> Mesh:
    count = len(shape.vertices)
    zeros = np.zeros(count)
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces), np.ones((count, 3)), zeros, zeros, zeros)


@pytest.fixture(scope="module")
def room() -> Raycaster:
    """A cube of 120 mm round the origin, with a 10 mm wide post before its wall at z = 60, at z = 25."""
    post = trimesh.creation.box((10.0, 200.0, 0.01))
    post.apply_translation((0.0, 0.0, SCREEN_MM))
    return Raycaster(merge_meshes([_flat_mesh(trimesh.creation.box((2 * ROOM_MM,) * 3)), _flat_mesh(post)]))


def _room_depth(camera: Intrinsics, position: np.ndarray) -> np.ndarray:
    """Depth of the room seen along +z, worked out wall by wall."""
    y, x = np.mgrid[0 : camera.height, 0 : camera.width]
    ray_x, ray_y = (x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy  # per mm of depth
    wall = np.minimum(
        (ROOM_MM - np.sign(ray_x) * position[0]) / np.maximum(np.abs(ray_x), 1e-9),
        (ROOM_MM - np.sign(ray_y) * position[1]) / np.maximum(np.abs(ray_y), 1e-9),
    )
    wall = np.minimum(wall, ROOM_MM - position[2])
    screen = SCREEN_MM - 0.005 - position[2]
    on_post = np.abs(position[0] + ray_x * screen) < 5.0
    return np.where(on_post, np.minimum(screen, wall), wall)


def _pose(x: float, y: float, z: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def _colon(raycaster: Raycaster) -> Colon:
    return Colon(centreline=None, mesh=None, raycaster=raycaster)


def test_depth_is_along_the_optical_axis_not_along_the_ray(room: Raycaster) -> None:
    position = np.array([3.0, -4.0, -20.0])
    depth_mm = cast_depth(_colon(room), CAMERA, _pose(*position))
    np.testing.assert_allclose(depth_mm, _room_depth(CAMERA, position), rtol=1e-5)


def test_depth_on_a_colon_is_that_of_the_triangle_hit(colons: list[Colon]) -> None:
    colon, camera = colons[0], square_intrinsics(16, 110.0)
    pose = random_views(np.random.default_rng(0), colon, 1)[0]
    depth_mm = cast_depth(colon, camera, pose)
    triangles = transform_inverse(pose, colon.mesh.vertices)[colon.mesh.faces]  # (F, 3, 3) in the camera
    for row, column in ((0, 0), (3, 12), (8, 7), (15, 2), (11, 15)):
        ray = np.array([(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, 1.0])
        assert depth_mm[row, column] == pytest.approx(_first_depth(triangles, ray), abs=1e-3)


def _first_depth(triangles: np.ndarray, ray: np.ndarray) -> float:
    """Smallest z where ``ray`` (with z = 1) meets a triangle, by solving all 3 x 3 systems."""
    a, edge1, edge2 = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    across = np.cross(ray, edge2)
    determinant = np.einsum("ni,ni->n", edge1, across)
    with np.errstate(divide="ignore", invalid="ignore"):  # a triangle seen from its side is no hit
        u = -np.einsum("ni,ni->n", a, across) / determinant
        side = np.cross(-a, edge1)
        v = side @ ray / determinant
        z = np.einsum("ni,ni->n", edge2, side) / determinant
        return float(z[(u >= 0) & (v >= 0) & (u + v <= 1) & (z > 0)].min())


def test_neighbouring_frames_see_the_same_points(colons: list[Colon]) -> None:
    colon, camera = colons[1], square_intrinsics(64, 110.0)
    poses = random_clip(np.random.default_rng(2), colon, 4)
    everywhere = np.ones((64, 64), bool)
    for here, there in zip(poses[:-1], poses[1:], strict=True):
        depth_mm = cast_depth(colon, camera, here)
        truth = true_flow(colon.raycaster, camera, depth_mm, here, there, everywhere)
        x, y = camera.pixel_grid()
        points = transform(here, camera.unproject(x, y) * depth_mm.reshape(-1, 1))
        offset = points - there[:3, 3]
        distance = np.linalg.norm(offset, axis=1)
        hits = colon.raycaster.cast(there[:3, 3], offset / distance[:, None])
        gap_mm = np.abs(hits.distance_mm - distance)[truth.visible.reshape(-1)]
        # Every point: the two rays meet in one place up to single precision. The exception are rays that just
        # graze a fold's edge, which may slip past it.
        assert np.mean(gap_mm < 0.1) > 0.999
        assert np.median(gap_mm) < 1e-3
        assert truth.visible.mean() > 0.5


def test_hidden_points_are_those_behind_the_post(room: Raycaster) -> None:
    camera = square_intrinsics(120, 100.0)
    here, there = _pose(0.0, 0.0, 0.0), _pose(8.0, 0.0, 0.0)
    depth_mm = cast_depth(_colon(room), camera, here)
    truth = true_flow(room, camera, depth_mm, here, there, np.ones((120, 120), bool))

    x, y = camera.pixel_grid()
    points = camera.unproject(x, y) * depth_mm.reshape(-1, 1)
    # Seen from (8, 0, 0), a point behind the post is hidden when the line to it crosses |x| < 5 at the post's depth.
    crossing = 8.0 + (points[:, 0] - 8.0) * SCREEN_MM / points[:, 2]
    hidden = (points[:, 2] > SCREEN_MM + 1.0) & (np.abs(crossing) < 5.0)
    u = -8.0 * camera.fx / points[:, 2]
    stays = x + u > -1e-3
    unclear = np.abs(np.abs(crossing) - 5.0) < 0.05  # on the post's very edge
    expected = stays & ~hidden
    np.testing.assert_array_equal(truth.visible.reshape(-1)[~unclear], expected[~unclear])
    assert hidden.sum() > 500
    np.testing.assert_allclose(truth.flow.reshape(-1, 2)[:, 0], u, atol=1e-3)
    np.testing.assert_allclose(truth.flow.reshape(-1, 2)[:, 1], 0.0, atol=1e-6)


def test_moving_forwards_spreads_the_picture(room: Raycaster) -> None:
    depth_mm = cast_depth(_colon(room), CAMERA, _pose(0.0, 0.0, 0.0))
    truth = true_flow(room, CAMERA, depth_mm, _pose(0, 0, 0), _pose(0, 0, 2.0), np.ones((30, 40), bool))
    y, x = np.mgrid[0:30, 0:40]
    outwards = truth.flow[..., 0] * (x - CAMERA.cx) + truth.flow[..., 1] * (y - CAMERA.cy)
    assert outwards.min() >= -1e-9
    assert not truth.visible[0].any()  # the first row leaves the picture


def test_black_corners_count_as_not_visible(room: Raycaster) -> None:
    inside = inside_octagon(30, 40, 0.25)
    depth_mm = cast_depth(_colon(room), CAMERA, _pose(0.0, 0.0, 0.0))
    same = true_flow(room, CAMERA, depth_mm, _pose(0, 0, 0), _pose(0, 0, 0), inside)
    np.testing.assert_array_equal(same.visible, inside)
    assert not inside[0, 0]
    assert inside[0, 20]
    assert inside[15].all()


def test_fov_spans_the_outer_pixel_edges() -> None:
    camera = square_intrinsics(64, 90.0)
    edge = camera.unproject(np.array([-0.5, 63.5]), np.array([31.5, 31.5]))
    np.testing.assert_allclose(edge[:, 0], [-1.0, 1.0])  # tan 45 degrees
    np.testing.assert_allclose(edge[:, 1], 0.0)
    for fov_deg in (89.0, 121.0):
        with pytest.raises(UserError, match="field of view"):
            square_intrinsics(64, fov_deg)
