"""Frames become clips by what moved since the last one that was taken."""

from dataclasses import dataclass

import pytest

from data.films.chooser import ClipChooser, MotionLimits, Place, unbroken
from data.films.select import Reason, Selection

LIMITS = MotionLimits(min_motion=1.0, max_motion=5.0, max_gap=4, min_length=2, clip_length=100)


@dataclass
class At:
    """A frame that shows where the camera is."""

    place: float


def clips_of(places, limits=LIMITS, stretches=None):
    """Numbers of the frames of each clip, for a camera at these places."""
    chooser = ClipChooser(stretches or [list(range(len(places)))], lambda a, b: abs(a.place - b.place), limits)
    clips = []
    for number, place in enumerate(places):
        if not chooser.wants(number):
            continue
        step = chooser(number, At(place))
        if step.place is Place.FIRST:
            clips.append([number])
        elif step.place is Place.NEXT:
            assert step.gap == number - clips[-1][-1]
            assert step.motion == pytest.approx(abs(place - places[clips[-1][-1]]))
            clips[-1].append(number)
    return clips


def test_each_frame_is_taken_where_all_of_them_move_enough():
    assert clips_of([0, 2, 4, 6]) == [[0, 1, 2, 3]]


def test_frames_between_which_too_little_moves_are_left_out():
    assert clips_of([0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4]) == [[0, 3, 6]]


def test_a_trembling_camera_has_to_get_away_from_where_it_was():
    assert clips_of([0, 0.5, -0.5, 0.5, 1.5]) == [[0, 4]]


def test_a_clip_ends_where_more_moves_than_flow_can_follow():
    assert clips_of([0, 2, 4, 11, 13]) == [[0, 1, 2], [3, 4]]


def test_a_clip_ends_where_nothing_moves_for_too_long():
    assert clips_of([0, 2, 2, 2, 2, 2, 2, 4, 6]) == [[0, 1], [6, 7, 8]]


def test_long_clips_are_cut():
    limits = MotionLimits(min_motion=1, max_motion=5, max_gap=4, clip_length=3)
    assert clips_of([0, 2, 4, 6, 8, 10, 12], limits) == [[0, 1, 2], [3, 4, 5], [6]]


def test_stretches_are_clips_of_their_own_and_other_frames_are_not_wanted():
    assert clips_of([0, 2, 4, 6, 8, 10], stretches=[[0, 1], [3, 4, 5]]) == [[0, 1], [3, 4, 5]]


def test_a_duplicate_breaks_nothing_and_other_faults_and_cuts_do():
    found = [None, None, Reason.DUPLICATE, None, Reason.DARK, None, None, None]
    assert unbroken(Selection(found, [7])) == [[0, 1, 3], [5, 6], [7]]
