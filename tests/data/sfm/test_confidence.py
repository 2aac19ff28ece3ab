from dataclasses import replace

import numpy as np
import pytest

from data.sfm.confidence import CONFIDENCES, accumulated_parallax, point_confidence
from tests.data.sfm.tiny_clip import FOCAL, STEP, make_clip


@pytest.fixture
def clip():
    """Point 0 at depth 2 in views 0, 1 and 3; point 1 at depth 4 in views 1 and 2."""
    points = np.array([[0.1, 0.0, 2.0], [0.0, 0.1, 4.0], [0.0, 0.0, 3.0]])
    observations = np.array([(0, 0), (1, 0), (1, 1), (2, 1), (3, 0)], np.int32)
    return replace(make_clip(num_views=4, num_points=3), points=points, observations=observations)


def test_parallax_is_the_way_of_the_projection_along_the_track(clip):
    """A camera that moves by STEP moves a point at depth z by fx STEP / z; from view 1 to 3 twice as far."""
    expected = [3 * FOCAL[0] * STEP / 2, FOCAL[0] * STEP / 4, 0]
    np.testing.assert_allclose(accumulated_parallax(clip), expected, rtol=1e-12)


def test_parallax_sums_steps_and_not_the_distance_of_the_ends(clip):
    poses = clip.poses.copy()
    poses[3, 0, 3] = 0.0  # back to where it began
    there_and_back = FOCAL[0] * STEP / 2 * 2
    assert accumulated_parallax(replace(clip, poses=poses))[0] == pytest.approx(there_and_back)


def test_confidences_by_hand(clip):
    n, a = np.array([3, 2, 0]), np.array([7.5, 1.25, 0.0])
    frames = 1 - np.exp(-n / 5)
    np.testing.assert_allclose(point_confidence(clip, "frames"), frames)
    np.testing.assert_allclose(point_confidence(clip, "frames_parallax"), frames * (1 - np.exp(-a / 1.25)))
    np.testing.assert_allclose(point_confidence(clip, "product"), [1, 2.5 / 22.5, 0])
    np.testing.assert_array_equal(point_confidence(clip, "binary"), [1, 1, 1])


@pytest.mark.parametrize("mode", CONFIDENCES)
def test_a_camera_at_rest_gives_finite_confidences(clip, mode):
    still = replace(clip, poses=np.tile(np.eye(4), (4, 1, 1)))
    confidence = point_confidence(still, mode)
    assert np.isfinite(confidence).all()
    assert confidence[0] > 0


@pytest.mark.parametrize("mode", CONFIDENCES)
def test_the_unit_of_the_clip_changes_nothing(mode):
    clip = make_clip()
    poses = clip.poses.copy()
    poses[:, :3, 3] *= 37.0
    scaled = replace(clip, poses=poses, points=37.0 * clip.points)
    np.testing.assert_allclose(point_confidence(scaled, mode), point_confidence(clip, mode), rtol=1e-9)


def test_an_unknown_mode_is_an_error_that_lists_the_known_ones(clip):
    with pytest.raises(ValueError, match="unknown soft mask 'hope', known are: frames_parallax, frames"):
        point_confidence(clip, "hope")
