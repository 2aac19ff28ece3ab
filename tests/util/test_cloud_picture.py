import numpy as np
import pytest

from util.cloud_picture import draw_cloud

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# In a cube's corners, so that the extent is the same from all sides: right, low, far.
CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


def picture_of(points, colors, **view):
    return draw_cloud(np.array(points, float), np.array(colors, np.uint8), (60, 60), **view)


def colors_where(condition, color):
    return np.where(condition[:, None], color, (90, 90, 90)).astype(np.uint8)


def mean_place(picture, color):
    rows, columns = np.nonzero((picture == color).all(axis=2))
    return rows.mean(), columns.mean()


def test_without_a_turn_x_is_right_and_y_is_down_and_the_nearest_is_seen():
    near = CORNERS[:, 2] < 0
    picture = picture_of(CORNERS, colors_where(~near, RED))
    assert not (picture == RED).all(axis=2).any()
    picture = picture_of(CORNERS, colors_where(near & (CORNERS[:, 0] > 0) & (CORNERS[:, 1] < 0), GREEN))
    row, column = mean_place(picture, GREEN)
    assert row < 15
    assert column > 45


def test_a_yaw_of_90_degrees_shows_the_right_side():
    right = CORNERS[:, 0] > 0
    picture = picture_of(CORNERS, colors_where(right, RED), yaw_deg=90)
    assert (picture == RED).all(axis=2).any()
    assert not (picture == (90, 90, 90)).all(axis=2).any()


def test_a_pitch_of_90_degrees_shows_the_top():
    top = CORNERS[:, 1] < 0
    picture = picture_of(CORNERS, colors_where(top, BLUE), pitch_deg=90)
    assert not (picture == (90, 90, 90)).all(axis=2).any()


def test_a_dot_is_a_square_of_its_side():
    picture = picture_of(CORNERS, np.zeros((8, 3)), dot_px=3)
    assert (picture == 0).all(axis=2).sum() == 4 * 9


def test_a_wild_point_does_not_make_the_rest_small():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(-1, 1, (500, 3)), [[1000.0, 0, 0]]])
    rows, columns = np.nonzero((picture_of(points, np.zeros((501, 3))) == 0).all(axis=2))
    assert np.ptp(columns) > 45


def test_no_points_are_an_error():
    with pytest.raises(ValueError, match="N > 0"):
        draw_cloud(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), (10, 10))
