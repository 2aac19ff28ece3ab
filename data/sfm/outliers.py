"""Points that do not fit the light: brightness falls with the square of the distance, so z^2 * brightness is alike."""

from collections.abc import Iterable

import cv2
import numpy as np

from data.sfm.drawing import View

BINS = 1000  # of which the last, up to the maximum itself, is left out as published
FILTER_PX, FILTER_SIGMA = 7, 25.0  # of the bilateral filter, for colours in [0, 1] and for pixels
MIN_POINTS = 2  # of a frame that has a say


def light_consistent_points(
    brightness: Iterable[np.ndarray], views: Iterable[View], num_points: int, inlier_share: float
) -> np.ndarray:
    """Which points are suspect in fewer than half of the frames that they appear in, bool (num_points,).

    A point that appears in no frame is not kept.

    Args:
        brightness: of each frame (H, W) in [0, 1], see ``smooth_brightness``.
        views: each frame's points in sight.
        num_points: N of the clip.
        inlier_share: see ``suspects``.
    """
    seen, suspect = np.zeros(num_points, np.int64), np.zeros(num_points, np.int64)
    for light, view in zip(brightness, views, strict=True):
        if len(view.points) < MIN_POINTS:
            continue
        seen[view.points] += 1
        values = np.square(view.depth) * light.ravel()[view.pixels]
        suspect[view.points[suspects(values, inlier_share)]] += 1
    return 2 * suspect < seen


def suspects(values: np.ndarray, inlier_share: float) -> np.ndarray:
    """Which of the values (N,) >= 0 lie outside the hill around the most frequent one, bool (N,).

    Of a histogram over [0, 0.999 max], bins are taken from the fullest one on, one above and one below by turns, until
    they hold ``inlier_share`` of what is in it. What lies at or beyond their outer edges is suspect, the largest value
    always.
    Source: the authors' code of 2022.
    """
    edges = np.arange(BINS) * (values.max() / BINS)
    counts, _ = np.histogram(values, edges) if edges[-1] > 0 else (np.zeros(0), None)
    if not counts.sum():  # all values are one
        return np.zeros(len(values), bool)
    peak = int(counts.argmax())
    outwards = peak + np.array([0, *(sign * step for step in range(1, len(counts)) for sign in (1, -1))])
    outwards = outwards[(outwards >= 0) & (outwards < len(counts))]
    enough = np.cumsum(counts[outwards]) >= inlier_share * counts.sum()
    taken = outwards[: max(2, int(enough.argmax()) + 1)]  # the fullest alone is not asked, as published
    return (values <= edges[taken.min()]) | (values >= edges[taken.max() + 1])


def smooth_brightness(rgb: np.ndarray) -> np.ndarray:
    """The largest of the three colours, after smoothing; float32 (H, W, 3) in [0, 1] to (H, W)."""
    return cv2.bilateralFilter(np.ascontiguousarray(rgb), FILTER_PX, FILTER_SIGMA, FILTER_SIGMA).max(axis=2)
