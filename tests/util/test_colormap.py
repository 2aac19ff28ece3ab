import cv2
import numpy as np
import pytest

from util.colormap import (
    INVALID_COLOR,
    add_color_bar,
    colorize_depth,
    colorize_error,
    sample_colors,
    side_by_side,
)


def lightness(rgb):
    """CIE L* of uint8 RGB."""
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[..., 0]


def ramp(low, high, steps=256):
    return np.linspace(low, high, steps)[None]


def test_near_is_bright_and_lightness_falls_evenly_with_depth():
    steps = np.diff(lightness(colorize_depth(ramp(0.1, 200), 200))[0])
    assert steps.max() < 0.05  # rounding to 8 bits allows a hair upwards
    assert steps.min() > -1.0  # no edge that is not in the depth
    assert -steps.sum() > 90


def test_lightness_rises_evenly_with_the_error():
    steps = np.diff(lightness(colorize_error(ramp(0, 5), 5))[0])
    assert steps.min() > -0.05
    assert steps.max() < 1.0
    assert steps.sum() > 70


def test_one_depth_has_one_colour_whatever_else_is_in_the_picture():
    shallow, deep = np.array([[50.0, 10.0, 20.0]]), np.array([[50.0, 199.0, 120.0]])
    np.testing.assert_array_equal(colorize_depth(shallow, 200)[0, 0], colorize_depth(deep, 200)[0, 0])
    assert not np.array_equal(colorize_depth(shallow, 200)[0, 0], colorize_depth(shallow, 100)[0, 0])


def test_the_minimum_shifts_the_range():
    np.testing.assert_array_equal(
        colorize_depth(np.array([[60.0]]), 110, min_depth_mm=10), colorize_depth(np.array([[50.0]]), 100)
    )


def test_depths_beyond_the_range_get_the_colour_of_its_end():
    colors = colorize_depth(np.array([[5.0, 10.0, 100.0, 900.0]]), 100, min_depth_mm=10)[0]
    np.testing.assert_array_equal(colors[0], colors[1])
    np.testing.assert_array_equal(colors[2], colors[3])


def test_invalid_depth_is_grey_and_no_valid_depth_is():
    colors = colorize_depth(np.array([[0.0, -1.0, np.nan, np.inf]]), 200)[0]
    assert (colors == INVALID_COLOR).all()
    distance = np.abs(colorize_depth(ramp(0.1, 200), 200).astype(int) - INVALID_COLOR).max(axis=-1)
    assert distance.min() > 30


def test_a_given_mask_decides_what_is_valid():
    valid = np.array([[True, False]])
    colors = colorize_depth(np.array([[30.0, 30.0]]), 200, valid=valid)[0]
    assert (colors[1] == INVALID_COLOR).all()
    assert (colors[0] != INVALID_COLOR).any()


def test_an_error_of_zero_is_valid_and_nan_is_not():
    colors = colorize_error(np.array([[0.0, np.nan]]), 1.0)[0]
    np.testing.assert_array_equal(colors[0], sample_colors(colorize_error)[0])
    assert (colors[1] == INVALID_COLOR).all()


def test_colours_are_uint8_rgb_of_the_same_size():
    colors = colorize_depth(np.full((3, 5), 1.0, dtype=np.float32), 200)
    assert colors.shape == (3, 5, 3)
    assert colors.dtype == np.uint8
    assert colors[0, 0, 0] > colors[0, 0, 2]  # magma's bright end is yellow: red above blue


@pytest.mark.parametrize("shape", [(1, 4, 4), (4,), (4, 4, 3)])
def test_a_map_that_is_no_map_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        colorize_depth(np.ones(shape), 200)


def test_an_empty_range_and_a_mask_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="minimum < maximum"):
        colorize_depth(np.ones((2, 2)), 10, min_depth_mm=10)
    with pytest.raises(ValueError, match="valid must have the shape"):
        colorize_error(np.ones((2, 2)), 1.0, valid=np.ones((2, 3), dtype=bool))


@pytest.mark.parametrize("size", [(64, 64), (71, 120), (256, 200), (1080, 1350)])
def test_the_colour_bar_is_appended_and_covers_nothing(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    with_bar = add_color_bar(picture, 200)
    assert with_bar.shape[0] == size[0]
    assert with_bar.shape[1] > size[1] + 30
    np.testing.assert_array_equal(with_bar[:, : size[1]], picture)


@pytest.mark.parametrize("colorize", [colorize_depth, colorize_error])
def test_the_bar_runs_from_the_minimum_below_to_the_maximum_above(colorize):
    bar = add_color_bar(np.zeros((256, 8, 3), dtype=np.uint8), 80, colorize=colorize)[:, 8:]
    x = 15  # within the bar, left of the ticks
    lowest, highest = sample_colors(colorize)[[0, -1]]
    rows_low = np.flatnonzero((bar[:, x] == lowest).all(axis=1))
    rows_high = np.flatnonzero((bar[:, x] == highest).all(axis=1))
    assert rows_low.min() > rows_high.max()
    assert rows_low.max() - rows_high.min() > 220


def test_ticks_are_drawn_where_their_values_are():
    bar = add_color_bar(np.zeros((256, 8, 3), dtype=np.uint8), 200)[:, 8:]
    right = max(x for x in range(40) if (bar[128, x] != bar[0, 0]).any() and (bar[60, x] != bar[0, 0]).any())
    ticks = np.flatnonzero((bar[:, right + 1] == (236, 236, 240)).all(axis=1))
    assert len(ticks) == 5  # 0, 50, 100, 150, 200
    np.testing.assert_allclose(np.diff(ticks), (ticks[-1] - ticks[0]) / 4, atol=1)


def test_labels_tell_the_range_and_unit():
    blank = np.zeros((128, 8, 3), dtype=np.uint8)
    assert not np.array_equal(add_color_bar(blank, 200), add_color_bar(blank, 100))
    assert add_color_bar(blank, 200, unit="mm").shape[1] > add_color_bar(blank, 200, unit="").shape[1]


def test_a_picture_too_low_for_a_bar_is_refused():
    with pytest.raises(ValueError, match="at least 64 rows"):
        add_color_bar(np.zeros((63, 90, 3), dtype=np.uint8), 200)
    with pytest.raises(ValueError, match="RGB, uint8"):
        add_color_bar(np.zeros((64, 90), dtype=np.uint8), 200)


def test_side_by_side_keeps_the_pictures_and_their_order():
    first = np.full((64, 50, 3), 10, dtype=np.uint8)
    second = np.full((64, 80, 3), 90, dtype=np.uint8)
    row = side_by_side([first, second], ["input", "depth"], gap=4)
    assert row.shape[1] == 50 + 4 + 80
    np.testing.assert_array_equal(row[-64:, :50], first)
    np.testing.assert_array_equal(row[-64:, 54:], second)
    assert row.shape[0] > 64 + 12
    assert row[:-64, :50].max() > 150  # the caption


def test_side_by_side_enlarges_without_new_values_and_cuts_long_captions():
    small = np.zeros((32, 40, 3), dtype=np.uint8)
    small[:, 20:] = 255
    row = side_by_side([small, np.zeros((64, 64, 3), dtype=np.uint8)], ["a caption far too long for it", ""], gap=0)
    assert row.shape[1] == 80 + 64
    assert set(np.unique(row[-64:, :80])) == {0, 255}
    assert len(np.unique(row[:-64, 80:].reshape(-1, 3), axis=0)) == 1  # nothing runs over into the next one


def test_side_by_side_needs_a_caption_a_picture():
    with pytest.raises(ValueError, match="one caption a picture"):
        side_by_side([np.zeros((64, 64, 3), dtype=np.uint8)], [])
