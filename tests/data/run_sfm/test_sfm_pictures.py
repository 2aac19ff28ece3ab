"""What the pictures of a reconstruction show, and where."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.run_sfm.pictures import draw_cameras, draw_points, viewing_axes
from tests.data.sfm.tiny_clip import CENTRE, FOCAL, STEP, make_clip


def coloured(picture: np.ndarray) -> np.ndarray:
    """Where a picture of grey frames has colour, bool (H, W)."""
    values = picture.astype(int)
    return values.max(axis=2) - values.min(axis=2) > 60


def test_a_point_is_drawn_where_it_projects_and_below_where_it_is_five_views_later(tmp_path):
    clip = make_clip(num_views=6, num_points=4, frames=tmp_path)
    points = np.array([[0.1, 0.1, 1.0], [0.1, 0.1, 1.0], [0.1, 0.1, 1.5], [0.1, 0.1, 0.5]])
    seen = np.array([(0, 0), (0, 1), (5, 2), (5, 3)], np.int32)  # the last two are seen later, and set the colours
    draw_points(tmp_path / "points.jpg", replace(clip, points=points, observations=seen))
    sheet = cv2.imread(str(tmp_path / "points.jpg"))
    scale = 800 / 64  # the view is the whole picture
    band = (sheet.shape[0] - 4) // 2 - round(48 * scale)  # captions
    x, y = ((FOCAL[0] * 0.1 + CENTRE[0] + 0.5) * scale, (FOCAL[1] * 0.1 + CENTRE[1] + 0.5) * scale)
    x_later = (FOCAL[0] * (0.1 - 5 * STEP) + CENTRE[0] + 0.5) * scale
    half = band + round(48 * scale) + 4
    for column, row in ((x, band + y), (x_later, half + band + y)):
        patch = coloured(sheet[round(row) - 3 : round(row) + 3, round(column) - 3 : round(column) + 3])
        assert patch.mean() > 0.7
    between = coloured(sheet[round(band + y) - 2 : round(band + y) + 2, round(x_later) : round(x)])
    assert between.any(axis=0).mean() > 0.9  # the line


def test_the_axes_are_the_viewing_direction_and_across_it_the_path(tmp_path):
    clip = make_clip()
    axes = viewing_axes(clip)
    np.testing.assert_allclose(axes[0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(np.abs(axes[1]), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)  # nothing is mirrored


def test_the_axes_turn_with_the_world():
    clip = make_clip()
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler("xyz", [40, -70, 15], degrees=True).as_matrix()
    turned = viewing_axes(replace(clip, poses=world @ clip.poses))
    np.testing.assert_allclose(turned[0], world[:3, 2], atol=1e-12)
    np.testing.assert_allclose(np.abs(turned[1] @ world[:3, 0]), 1, atol=1e-12)


@pytest.mark.parametrize("direction", [(0.0, 0, 0), (0.0, 0, 1.0)])
def test_cameras_that_stand_still_or_go_straight_ahead_have_axes_and_a_picture(tmp_path, direction):
    clip = make_clip()
    poses = np.tile(np.eye(4), (len(clip), 1, 1))
    poses[:, :3, 3] = np.outer(np.arange(len(clip)), direction)
    clip = replace(clip, poses=poses)
    np.testing.assert_allclose(viewing_axes(clip) @ viewing_axes(clip).T, np.eye(3), atol=1e-12)
    draw_cameras(tmp_path / "t.png", clip)
    assert cv2.imread(str(tmp_path / "t.png")).std() > 5


def test_cameras_that_look_all_around_have_axes():
    clip = make_clip(num_views=4)
    poses = clip.poses.copy()
    poses[:, :3, :3] = [Rotation.from_euler("y", turn, degrees=True).as_matrix() for turn in (0, 90, 180, 270)]
    axes = viewing_axes(replace(clip, poses=poses))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
