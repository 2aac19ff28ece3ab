"""Pictures of camera paths: what they show, and what drawing leaves behind."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from util.plots import MARGIN, _limits, draw_camera_path, principal_directions

ROOT = Path(__file__).parents[2]


def bend(count=30):
    """Long along y, bent along x, a little along z."""
    t = np.linspace(0, 1, count)
    return np.stack([10 * np.sin(3 * t), 40 * t, 0.5 * np.sin(9 * t)], axis=1)


def test_directions_lead_along_the_path_and_are_never_a_mirror():
    for points in (bend(), bend()[::-1], bend()[:, [2, 0, 1]]):
        directions = principal_directions(points)
        np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(directions) == pytest.approx(1.0)
        assert directions[0] @ (points[-1] - points[0]) > 0
        extents = np.ptp((points - points.mean(axis=0)) @ directions.T, axis=0)
        assert extents[0] > extents[1] > extents[2]


def test_directions_of_a_straight_path_and_of_three_points():
    line = np.arange(4.0)[:, None] * [0, 0, 3.0]
    np.testing.assert_allclose(principal_directions(line)[0], [0, 0, 1], atol=1e-12)
    assert principal_directions(bend(3)).shape == (3, 3)


def test_a_straight_path_still_has_room_for_its_bends():
    low, high = _limits(np.array([[0.0, 0, 0], [100, 2, 0]]))
    np.testing.assert_allclose(high - low, (1 + 2 * MARGIN) * np.array([100, 25, 25]))
    np.testing.assert_allclose((low + high) / 2, [50, 1, 0])


@pytest.mark.parametrize("path", [bend(), bend()[:, [1, 0, 2]] * [1, 0, 0]])
def test_a_picture_is_written_as_a_whole(tmp_path, path):
    target = tmp_path / "trajectory" / "clip.png"
    wild = path + np.random.default_rng(0).normal(size=path.shape) * 50
    draw_camera_path(target, path, {"ours": wild}, "clip\nATE 1.00 mm")
    picture = cv2.imread(str(target))
    assert min(picture.shape[:2]) > 400
    assert max(picture.shape[:2]) < 2500
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert [file.name for file in target.parent.iterdir()] == ["clip.png"]


def test_matplotlib_is_loaded_when_something_is_drawn_and_not_before():
    code = "import train, test, sys, util.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
