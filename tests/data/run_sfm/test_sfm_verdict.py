"""Numbers of a reconstruction, and what they are worth."""

from dataclasses import replace

import numpy as np
import pytest

from data.run_sfm.verdict import Limits, Measures, faults, largest_angles, measure
from tests.data.sfm.tiny_clip import CENTRE, FOCAL, STEP, make_clip

GOOD = Measures(
    frames=40, registered=38, points=900, track_mean=7.5, track_median=6.0, error_px=1.2, angle_deg=4.5, in_view=0.99,
    behind=0.0, depth=(1.0, 2.0, 3.0), focal_prior=700.0, focal_final=700.0,
)  # fmt: skip


def test_a_good_reconstruction_has_no_fault():
    assert faults(GOOD, Limits()) == []


@pytest.mark.parametrize(
    ("change", "still_good", "reason"),
    [
        ({"frames": 9, "registered": 9}, {"frames": 10, "registered": 10}, "9 frames are registered, fewer than 10"),
        ({"points": 99}, {"points": 100}, "99 points, fewer than 100"),
        ({"registered": 19}, {"registered": 20}, "only 48% of the frames"),
        ({"track_median": 3.5}, {"track_median": 4.0}, "seen in 3.5 frames in median"),
        ({"error_px": 2.01}, {"error_px": 2.0}, "error of 2.01 px is above 2 px"),
        ({"focal_final": 580.0}, {"focal_final": 640.0}, "went from 700 to 580 px"),
        ({"focal_final": 3823.0}, {"focal_final": 760.0}, "went from 700 to 3823 px"),
        ({"angle_deg": 1.6}, {"angle_deg": 2.0}, "1.6 degrees in median, less than 2"),
        ({"behind": 0.06}, {"behind": 0.05}, "6.0% of the observations lie behind"),
        ({"in_view": 0.9}, {"in_view": 0.95}, "only 90.0% of the observations lie in the view"),
    ],
)
def test_each_fault_is_named_beyond_its_limit_and_alone(change, still_good, reason):
    (fault,) = faults(replace(GOOD, **change), Limits())
    assert reason in fault
    assert faults(replace(GOOD, **still_good), Limits()) == []


def test_limits_are_the_users():
    assert faults(GOOD, Limits(min_frames=39, min_points=901)) == [
        "38 frames are registered, fewer than 39",
        "900 points, fewer than 901",
    ]


def test_the_measures_of_a_clip_are_those_counted_by_hand():
    clip = make_clip(num_views=8, num_points=30)
    found = measure(clip, np.linspace(0.5, 1.5, 30), frames=16, focal_prior=49.0)
    lengths = [sum(1 for _, seen in clip.observations if seen == point) for point in range(30)]
    depths = [clip.points[point, 2] for _, point in clip.observations]  # the cameras do not turn or go forward
    assert (found.frames, found.registered, found.points) == (16, 8, 30)
    assert found.registered_share == 0.5
    assert found.track_mean == pytest.approx(np.mean(lengths))
    assert found.track_median == np.median(lengths)
    assert found.error_px == pytest.approx(1.0)
    assert found.depth == pytest.approx(tuple(np.percentile(depths, (1, 50, 99))))
    assert (found.focal_prior, found.focal_final) == (49.0, FOCAL[0])
    assert found.focal_drift == pytest.approx(1 / 49)
    assert found.behind == 0.0


def test_the_angle_of_a_point_is_that_of_the_two_cameras_that_are_farthest_apart():
    clip = make_clip(num_views=4, num_points=3)
    clip = replace(
        clip,
        points=np.array([[0.0, 0, 2], [STEP, 0, 1], [0.0, 0, 2]]),
        observations=np.array([(0, 0), (0, 1), (0, 2), (1, 2), (2, 1), (2, 2), (3, 0)], np.int32),
    )
    expected = [np.arctan(3 * STEP / 2), 2 * np.arctan(STEP), np.arctan(2 * STEP / 2)]
    np.testing.assert_allclose(largest_angles(clip), np.degrees(expected))


def test_a_small_angle_keeps_its_digits():
    clip = make_clip(num_views=2, num_points=3)
    clip = replace(
        clip, points=np.array([[0.0, 0, 1e6]] * 3), observations=np.array([(v, p) for v in (0, 1) for p in range(3)])
    )
    np.testing.assert_allclose(largest_angles(clip), np.degrees(STEP / 1e6), rtol=1e-6)


def test_observations_behind_the_camera_and_outside_the_mask_are_counted():
    clip = make_clip(num_views=2, num_points=4)
    columns = np.array([10.0, 50.0, 20.0, 63.6])  # of view 0; the last one rounds to a column beyond the picture
    points = np.stack([2 * (columns - CENTRE[0]) / FOCAL[0], np.zeros(4), [2.0, 2, -2, 2]], axis=1)
    mask = clip.mask.copy()
    mask[:, 40:60] = 254  # on the rim, not inside
    seen = np.array([(0, 0), (0, 1), (0, 2), (0, 3)], np.int32)
    found = measure(replace(clip, points=points, mask=mask, observations=seen), np.ones(4), 2, 50.0)
    assert found.in_view == 0.25
    assert found.behind == 0.25
