import numpy as np
import pytest

from data.sfm.drawing import View
from data.sfm.outliers import light_consistent_points, smooth_brightness, suspects


def slow_suspects(values, share):
    """The rule as it is written: from the fullest bin on, one up and one down, asked after each."""
    edges = np.arange(1000) * values.max() / 1000
    counts = np.histogram(values, edges)[0]
    low = high = int(counts.argmax())
    total, held = counts.sum(), counts[low]
    while True:
        if high + 1 < len(counts):
            high += 1
            held += counts[high]
            if held >= share * total:
                break
        if low - 1 >= 0:
            low -= 1
            held += counts[low]
            if held >= share * total:
                break
        if low == 0 and high == len(counts) - 1:
            break
    return (values <= edges[low]) | (values >= edges[high + 1])


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("seed", range(3))
def test_suspects_are_those_of_the_written_rule(seed, share):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(5, 0.5, 150), rng.uniform(0, 40, 10)]).clip(min=0)
    np.testing.assert_array_equal(suspects(values, share), slow_suspects(values, share))


def test_what_is_far_brighter_or_darker_than_the_rest_is_suspect():
    values = np.array([1.0] * 50 + [1.004] * 45 + [30.0, 0.01])
    assert np.flatnonzero(suspects(values, 0.95)).tolist() == [95, 96]


def test_a_black_frame_has_no_suspects():
    assert not suspects(np.zeros(5), 0.99).any()


USUAL = [1.0, 1.001] * 15  # in bins of their own
BRIGHT = 9.0  # the largest value of a frame, which is always suspect


def frames(depths):
    """One-row frames of brightness 1, with a point in each of their pixels."""
    numbers = np.arange(len(depths[0]))
    return [np.ones((1, len(numbers)))] * len(depths), [View(numbers, numbers, np.array(depth)) for depth in depths]


def test_a_point_is_dropped_that_is_suspect_in_half_of_its_frames():
    light, views = frames([[5.0, BRIGHT, *USUAL], [1.0, BRIGHT, *USUAL]])
    assert np.flatnonzero(~light_consistent_points(light, views, 32, 0.9)).tolist() == [0, 1]


def test_a_point_is_kept_that_is_suspect_in_fewer():
    light, views = frames([[5.0, BRIGHT, *USUAL], [1.0, BRIGHT, *USUAL], [1.0, BRIGHT, *USUAL]])
    assert np.flatnonzero(~light_consistent_points(light, views, 32, 0.9)).tolist() == [1]


def test_where_all_values_are_one_there_are_no_suspects():
    assert not suspects(np.full(4, 2.5), 0.99).any()


def test_a_point_that_appears_nowhere_is_dropped():
    light, views = frames([[1.0, 1.0, 1.0]])
    assert light_consistent_points(light, views, 4, 0.9).tolist() == [True, True, True, False]


def test_a_frame_with_one_point_has_no_say():
    light, views = frames([[1.0]])
    assert not light_consistent_points(light, views, 1, 0.9).any()


def test_brightness_is_the_largest_colour_and_smooth():
    rgb = np.zeros((9, 9, 3), np.float32)
    rgb[..., 1] = 0.5
    rgb[4, 4, 1] = 1.0
    light = smooth_brightness(rgb)
    assert light[0, 0] == pytest.approx(0.5)
    assert 0.5 < light[4, 4] < 0.6
