from dataclasses import replace

import numpy as np
import pytest

from data.sfm.visibility import visible_points
from tests.data.sfm.tiny_clip import make_clip


@pytest.fixture
def clip():
    """Five views; point 0 triangulated from view 2 alone, point 1 from 0 and 4, point 2 from none."""
    observations = np.array([(0, 1), (2, 0), (4, 1)], np.int32)
    return replace(make_clip(num_views=5, num_points=3), observations=observations)


def as_lists(visible):
    return [points.tolist() for points in visible]


def test_without_overlap_a_view_sees_what_was_triangulated_from_it(clip):
    assert as_lists(visible_points(clip)) == [[1], [], [0], [], [1]]


def test_the_closed_interval_reaches_as_far_back_as_ahead(clip):
    assert as_lists(visible_points(clip, 1)) == [[1], [0, 1], [0], [0, 1], [1]]


def test_the_published_interval_lacks_its_upper_end(clip):
    """View a has the points of [a - 1, a + 1), that is of a - 1 and a."""
    assert as_lists(visible_points(clip, 1, "half_open")) == [[1], [1], [0], [0], [1]]


def test_the_published_interval_without_overlap_is_empty(clip):
    assert as_lists(visible_points(clip, 0, "half_open")) == [[], [], [], [], []]


def test_a_point_that_two_views_around_share_counts_once(clip):
    assert as_lists(visible_points(clip, 4))[2] == [0, 1]


@pytest.mark.parametrize(("overlap", "interval"), [(0, "closed"), (2, "closed"), (3, "half_open")])
def test_it_is_what_the_definition_says_view_by_view(overlap, interval):
    clip = make_clip(num_views=9, num_points=40, seed=3)
    for view, points in enumerate(visible_points(clip, overlap, interval)):
        end = view + overlap + (interval == "closed")
        expected = {point for v, point in clip.observations.tolist() if view - overlap <= v < end}
        assert points.tolist() == sorted(expected)


def test_a_negative_overlap_is_refused(clip):
    with pytest.raises(ValueError, match="negative"):
        visible_points(clip, -1)
