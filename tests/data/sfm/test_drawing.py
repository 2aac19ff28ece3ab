import numpy as np
import pytest

from data.sfm.drawing import MAX_FLOW, View, one_a_pixel, point_flow, points_in_sight, sparse_map

K = np.array([[10.0, 0, 4.0], [0, 20.0, 3.0], [0, 0, 1.0]])
SIZE = (8, 10)
MASK = np.full(SIZE, 255, np.uint8)


def at(x, y, z):
    """The point that projects to (x, y) from depth z."""
    return [(x - 4.0) / 10 * z, (y - 3.0) / 20 * z, z]


def test_a_point_is_drawn_at_its_rounded_projection_with_its_depth():
    view = points_in_sight(np.array([at(6.4, 2.6, 5.0)]), np.array([7]), K, MASK)
    depth = sparse_map(view, view.depth, SIZE)
    assert view.points.tolist() == [7]
    assert np.argwhere(depth).tolist() == [[3, 6]]
    assert depth[3, 6] == 5.0


def test_halves_are_rounded_to_even():
    view = points_in_sight(np.array([at(2.5, 3.5, 1.0)]), np.array([0]), K, MASK)
    assert divmod(int(view.pixels[0]), SIZE[1]) == (4, 2)


@pytest.mark.parametrize(
    "point", [at(-0.6, 3, 1), at(9.6, 3, 1), at(5, -0.6, 1), at(5, 7.6, 1), [0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]
)
def test_what_is_outside_the_picture_or_not_before_the_camera_is_not_in_sight(point):
    assert len(points_in_sight(np.array([point]), np.array([0]), K, MASK).points) == 0


def test_the_border_pixels_belong_to_the_picture():
    corners = np.array([at(0, 0, 1), at(9, 7, 1)])
    assert len(points_in_sight(corners, np.arange(2), K, MASK).points) == 2


def test_only_what_is_wholly_inside_the_mask_is_in_sight():
    mask = MASK.copy()
    mask[3, 6] = 254
    points = np.array([at(6, 3, 1), at(7, 3, 1)])
    assert points_in_sight(points, np.arange(2), K, mask).points.tolist() == [1]


def test_of_several_points_on_a_pixel_the_nearest_stays_or_the_last_as_published():
    view = View(np.array([4, 5, 6, 7]), np.array([33, 33, 33, 2]), np.array([3.0, 1.0, 2.0, 9.0]))
    nearest, last = one_a_pixel(view), one_a_pixel(view, "last")
    assert dict(zip(nearest.pixels.tolist(), nearest.points.tolist(), strict=True)) == {2: 7, 33: 5}
    assert dict(zip(last.pixels.tolist(), last.points.tolist(), strict=True)) == {2: 7, 33: 6}
    assert dict(zip(nearest.pixels.tolist(), nearest.depth.tolist(), strict=True)) == {2: 9.0, 33: 1.0}


def test_flow_is_the_difference_of_the_projections_as_a_share_of_width_and_height():
    here, there = np.array([at(2.2, 3.0, 5.0)]), np.array([at(4.7, 1.0, 4.0)])
    flow, known = point_flow(here, there, K, SIZE)
    np.testing.assert_allclose(flow, [[2.5 / 10, -2.0 / 8]])
    assert known.all()


def test_published_flow_is_between_whole_pixels():
    here, there = np.array([at(2.2, 3.0, 5.0)]), np.array([at(4.7, 1.0, 4.0)])
    np.testing.assert_allclose(point_flow(here, there, K, SIZE, rounding=True)[0], [[3 / 10, -2 / 8]])


def test_flow_to_a_point_behind_the_other_camera_or_very_far_away_is_unknown():
    here = np.array([at(2, 3, 5), at(2, 3, 5), at(2, 3, 5)])
    there = np.array([[0.0, 0.0, -2.0], at(2 + (MAX_FLOW + 0.1) * 10, 3, 1), at(2 + (MAX_FLOW - 0.1) * 10, 3, 1)])
    flow, known = point_flow(here, there, K, SIZE)
    assert known.tolist() == [False, False, True]
    assert np.isfinite(flow).all()
    assert not flow[:2].any()
