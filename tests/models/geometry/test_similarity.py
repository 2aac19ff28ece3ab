"""The similarity between two sets of points: known ones come back, and what has none is refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry.similarity import is_one_point, umeyama

SCALE, TRANSLATION = 3.7, np.array([5.0, -40.0, 8.0])
ROTATION = Rotation.from_euler("xyz", [30, -75, 160], degrees=True).as_matrix()


def points(count=9, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)) * [10, 4, 1] + [100, 0, -30]


def error(similarity, src, dst):
    return np.square(similarity.apply(src) - dst).sum()


def test_a_known_similarity_comes_back():
    found = umeyama(points(), SCALE * points() @ ROTATION.T + TRANSLATION)
    assert found.scale == pytest.approx(SCALE, abs=1e-9)
    np.testing.assert_allclose(found.rotation, ROTATION, atol=1e-9)
    np.testing.assert_allclose(found.translation, TRANSLATION, atol=1e-9)


def test_three_points_are_enough():
    found = umeyama(points(3), SCALE * points(3) @ ROTATION.T + TRANSLATION)
    np.testing.assert_allclose(found.rotation, ROTATION, atol=1e-9)


def test_scale_by_hand():
    """A square's corners, twice as far out on one side: the mean of 1 and 2."""
    src = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    found = umeyama(src, src * [2, 1, 1] + [0, 0, 7])
    assert found.scale == pytest.approx(1.5)
    np.testing.assert_allclose(found.rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.translation, [0, 0, 7], atol=1e-12)


def test_mirrored_points_get_the_best_rotation_and_no_reflection():
    """The mirror along the axis of the smallest extent costs least when the other two are kept."""
    src = points() - points().mean(axis=0)
    axes = np.linalg.svd(src)[2]
    src = src @ axes.T  # extents fall from x to z
    mirrored = src * [1, 1, -1]
    found = umeyama(src, mirrored)
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(found.rotation, np.eye(3), atol=1e-9)
    squares = np.square(src).sum(axis=0)
    assert found.scale == pytest.approx((squares[0] + squares[1] - squares[2]) / squares.sum(), abs=1e-9)


def test_no_similarity_nearby_fits_better():
    src, dst = points(), points(seed=1)
    found = umeyama(src, dst)
    rng = np.random.default_rng(2)
    for _ in range(50):
        turned = Rotation.from_rotvec(rng.normal(size=3) * 0.05).as_matrix() @ found.rotation
        scale = found.scale * (1 + rng.normal() * 0.05)
        # the best translation for this scale and rotation
        moved = found._replace(
            scale=scale, rotation=turned, translation=dst.mean(axis=0) - scale * turned @ src.mean(axis=0)
        )
        assert error(moved, src, dst) >= error(found, src, dst)


def test_without_a_scale_it_is_a_rigid_motion():
    found = umeyama(points(), SCALE * points() @ ROTATION.T + TRANSLATION, with_scale=False)
    assert found.scale == 1.0
    np.testing.assert_allclose(found.rotation, ROTATION, atol=1e-9)


def test_points_of_a_plane_have_one_rotation():
    flat = points() * [1, 1, 0]
    found = umeyama(flat, SCALE * flat @ ROTATION.T + TRANSLATION)
    np.testing.assert_allclose(found.rotation, ROTATION, atol=1e-9)


def test_points_of_a_line_fit_whatever_their_turn_about_it():
    line = np.arange(5.0)[:, None] * [1, 2, -1] + [3, 0, 0]
    moved = SCALE * line @ ROTATION.T + TRANSLATION
    found = umeyama(line, moved)
    assert found.scale == pytest.approx(SCALE)
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(found.apply(line), moved, atol=1e-9)


@pytest.mark.parametrize(
    ("src", "dst", "message"),
    [
        (points(2), points(2), "at least 3 points, got 2"),
        (points(4), points(5), r"must both be \(N, 3\), got \(4, 3\) and \(5, 3\)"),
        (points()[:, :2], points()[:, :2], r"must both be \(N, 3\)"),
        (np.full((4, 3), 7.1), points(4), "all points of src are one point"),
        (points(4), np.zeros((4, 3)), "all points of dst are one point"),
        (points(4) * [[1], [np.nan], [1], [1]], points(4), "src has points that are not finite"),
    ],
)
def test_what_has_no_similarity_is_refused(src, dst, message):
    with pytest.raises(ValueError, match=message):
        umeyama(src, dst)


def test_points_are_one_when_only_rounding_parts_them():
    assert is_one_point(np.full((3, 3), 100.0) + [[0], [1e-13], [0]])
    assert not is_one_point(np.full((3, 3), 100.0) + [[0], [1e-3], [0]])
