"""Depth that lies beside its frame is noticed, by as much as it was moved; depth in its place is not."""

import cv2
import numpy as np
import pytest

from data.check.alignment import best_shift, correlation
from data.formats import FolderFormat


def folds(seed, size=(240, 320)):
    """Frame and depth of something with sharp folds: brighter where it is nearer, with texture of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    depth = np.full(size, 60.0, np.float32)
    for _ in range(7):
        cx, cy, r = rng.uniform(40, 280), rng.uniform(40, 200), rng.uniform(15, 60)
        depth = np.where((x - cx) ** 2 + (y - cy) ** 2 < r**2, rng.uniform(15, 45), depth)
    texture = cv2.GaussianBlur(rng.normal(0, 1, size), (0, 0), 5)
    rgb = np.repeat((20 / depth * (1 + 0.5 * texture))[..., None], 3, axis=2).clip(0, 1)
    return rgb.astype(np.float32), depth.astype(np.float32)


def moved(depth, dx, dy):
    return np.roll(depth, (dy, dx), axis=(0, 1))


def test_depth_in_its_place_fits_best_there():
    assert best_shift([folds(seed) for seed in range(6)]) is None
    assert best_shift([]) is None


@pytest.mark.parametrize(("dx", "dy"), [(12, 0), (0, -14), (-10, 16)])
def test_depth_that_was_moved_is_told_with_the_way_back(dx, dy):
    pairs = [(rgb, moved(depth, dx, dy)) for rgb, depth in (folds(seed) for seed in range(6))]
    shift = best_shift(pairs)
    assert (shift.x, shift.y) == pytest.approx((-dx, -dy), abs=2.1)  # 2 px of the frame are one of those compared
    assert shift.gain > 1.25


def test_depth_of_other_frames_fits_nowhere():
    pairs = [(folds(seed)[0], folds(seed + 50)[1]) for seed in range(12)]
    assert best_shift(pairs) is None


def test_correlation_of_equal_edges_is_1_in_the_middle():
    edges = np.random.default_rng(0).random((60, 160)).astype(np.float32)
    found = correlation(edges, edges)
    middle = found.shape[0] // 2
    assert found[middle, middle] == pytest.approx(1, abs=1e-4)
    assert np.delete(found.ravel(), found.size // 2).max() < 0.2


def test_rendered_and_real_sets_are_aligned_and_shifted_ones_are_not(shared_data):
    source = FolderFormat(shared_data / "simcol3d")
    pairs = [(source.read_frame(item.image), source.read_depth_mm(item)) for item in source.items(".")]
    assert best_shift(pairs) is None
    assert best_shift([(rgb, moved(depth, 25, 0)) for rgb, depth in pairs]).x == pytest.approx(-25, abs=6)
