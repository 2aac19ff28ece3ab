import numpy as np
import pytest

from data.sfm.window import Window, box_size, erode, place_window
from util.errors import UserError


def disc(size, rows, columns):
    mask = np.zeros(size, np.uint8)
    mask[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 255
    return mask


def test_a_box_is_a_multiple_of_the_divisor_that_is_larger_than_the_extent():
    assert box_size(disc((100, 200), (10, 50), (20, 90)), 16) == (48, 80)  # extents 40 and 70


def test_an_extent_that_is_a_multiple_already_grows_by_a_whole_one_as_published():
    assert box_size(disc((100, 200), (10, 42), (20, 84)), 32) == (64, 96)


def test_the_rim_does_not_count_as_inside():
    mask = disc((40, 40), (10, 20), (10, 20))
    mask[9], mask[25] = 254, 254
    assert box_size(mask, 8) == (16, 16)


def test_the_window_lies_around_what_is_inside():
    """Extent 40 in a box of 48: 4 of the 8 rows more are above."""
    assert place_window(disc((100, 200), (10, 50), (20, 90)), (48, 80)) == Window(6, 15, 48, 80)


def test_the_window_is_moved_into_the_picture():
    mask = disc((64, 64), (0, 20), (50, 63))
    window = place_window(mask, (32, 32))
    assert (window.top, window.left) == (0, 32)


def test_a_picture_too_small_for_the_box_gets_black_around_it():
    mask = disc((10, 20), (0, 9), (0, 19))
    window = place_window(mask, (16, 32))
    picture = np.arange(10 * 20 * 3).reshape(10, 20, 3)
    cut = window.cut(picture)
    assert cut.shape == (16, 32, 3)
    np.testing.assert_array_equal(cut[3:13, 6:26], picture)
    assert cut.sum() == picture.sum()


def test_a_cut_is_that_part_of_the_picture():
    picture = np.arange(60).reshape(6, 10)
    np.testing.assert_array_equal(Window(1, 2, 3, 4).cut(picture), picture[1:4, 2:6])


def test_erosion_takes_the_rim_but_not_the_border_of_the_picture():
    mask = disc((12, 12), (0, 8), (0, 8))
    expected = disc((12, 12), (0, 6), (0, 6))
    np.testing.assert_array_equal(erode(mask), expected)


def test_a_mask_with_nothing_inside_is_an_error():
    with pytest.raises(UserError, match="no pixel of the mask is inside"):
        box_size(np.full((8, 8), 254, np.uint8), 8)
