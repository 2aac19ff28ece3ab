import numpy as np
import pytest

from data.sfm.simulate import Simulation, simulate_sfm
from tests.data.sfm.tiny_clip import CENTRE, FOCAL, SIZE, STEP
from tests.data.sfm.truth_clip import write_truth_clip
from util.errors import UserError

EXACT = Simulation(points=60, noise=0.0, outliers=0.0, max_track=6)


@pytest.fixture
def clip_and_truth(tmp_path):
    return write_truth_clip(tmp_path)


def relative_depth_errors(made, truth):
    """Of all observations, after one scale for the clip: depth of the point in its view against the map there."""
    ratios = []
    for view, point in made.observations.tolist():
        x, y, z = made.in_camera(view, np.array([point]))[0]
        column, row = round(x / z * FOCAL[0] + CENTRE[0]), round(y / z * FOCAL[1] + CENTRE[1])
        if 0 <= column < SIZE[1] and 0 <= row < SIZE[0]:
            ratios.append(truth.depth_mm(view)[row, column] / z)
    ratios = np.array(ratios)
    return np.abs(ratios / np.median(ratios) - 1)


def test_exact_points_lie_on_the_surface_in_every_view_of_their_track_up_to_one_scale(clip_and_truth):
    clip, truth = clip_and_truth
    made = simulate_sfm(clip, truth, EXACT)
    errors = relative_depth_errors(made, truth)
    assert len(errors) == len(made.observations)
    assert errors.max() < 0.01  # a map changes by that within a pixel


def test_a_track_is_of_frames_in_a_row_and_of_the_stated_lengths(clip_and_truth):
    made = simulate_sfm(*clip_and_truth, EXACT)
    for point in range(len(made.points)):
        views = made.observations[made.observations[:, 1] == point, 0]
        assert np.array_equal(views, np.arange(views[0], views[-1] + 1))
        assert EXACT.min_track <= len(views) <= EXACT.max_track


def test_the_world_and_the_unit_are_not_those_of_the_truth(clip_and_truth):
    clip, truth = clip_and_truth
    made = simulate_sfm(clip, truth, EXACT)
    true_step, step = 100 * STEP, np.linalg.norm(np.diff(made.poses[:, :3, 3], axis=0), axis=1)
    np.testing.assert_allclose(step, step[0])
    assert not np.isclose(step[0], true_step, rtol=0.01)
    assert not np.allclose(made.poses[0, :3, :3], np.eye(3), atol=0.01)


def test_noise_and_outliers_are_as_large_as_asked_for(clip_and_truth):
    clip, truth = clip_and_truth
    noisy = relative_depth_errors(simulate_sfm(clip, truth, Simulation(60, noise=0.02, outliers=0.0)), truth)
    assert 0.008 < np.median(noisy) < 0.03
    wild = relative_depth_errors(simulate_sfm(clip, truth, Simulation(60, noise=0.0, outliers=0.3)), truth)
    assert 0.1 < (wild > 0.05).mean() < 0.5


def test_the_same_seed_gives_the_same_points_and_another_one_others(clip_and_truth):
    first, again = (simulate_sfm(*clip_and_truth, EXACT) for _ in range(2))
    other = simulate_sfm(*clip_and_truth, Simulation(points=60, noise=0.0, outliers=0.0, seed=1))
    np.testing.assert_array_equal(first.points, again.points)
    assert first.points.shape != other.points.shape or not np.allclose(first.points, other.points)


def test_a_clip_without_poses_is_an_error(clip_and_truth):
    clip, truth = clip_and_truth
    (truth.folder / "poses.json").unlink()
    with pytest.raises(UserError, match="has no poses, so no SfM can be made up"):
        simulate_sfm(clip, truth, EXACT)
