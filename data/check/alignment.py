"""Whether depth lies where its frame shows it: edges of both, over small shifts."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from data.check.findings import WARNING, Finding
from data.formats import DataFormat, Item

FRAMES = 24  # of a split, evenly spread
WIDTH = 160  # that edges are compared at [px]
REACH = 12  # largest shift [px of WIDTH]
BLUR = 1.0  # [px of WIDTH]
MIN_SHIFT = 3.0  # [px of WIDTH]; less is within what shading makes of edges
MIN_GAIN = 1.25  # of the correlation, from which another shift fits better
MIN_FIT = 0.1  # correlation, below which nothing fits anywhere
STRONGEST = 95.0  # percentile at which edges are cut, so that one of them does not outweigh all others


class Shift(NamedTuple):
    """By how much depth would have to move to fit best, and how much better that would be."""

    x: float  # [px of the frame]
    y: float
    gain: float  # correlation there over that without a shift


def misaligned(name: str, source: DataFormat, items: Sequence[Item]) -> Iterator[Finding]:
    """A warning when depth fits its frames better at another place; frames must be readable."""
    if not items:
        return
    picked = [items[index] for index in np.linspace(0, len(items) - 1, min(FRAMES, len(items))).round().astype(int)]
    pairs = [(source.read_frame(item.image), source.read_depth_mm(item)) for item in picked]
    shift = best_shift([pair for pair in pairs if (pair[1] > 0).any() and pair[0].shape[:2] == pair[1].shape])
    if shift is not None:
        yield Finding(
            "misaligned",
            f"the split {name}",
            f"has depth that fits its frames {shift.gain:.2f} times as well when moved by ({shift.x:+.0f}, "
            f"{shift.y:+.0f}) px (x to the right, y down)",
            "were both cropped and resized in the same way, and do the numbers of the files belong together?",
            WARNING,
        )


def best_shift(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Shift | None:
    """The shift of depth (H, W) at which its edges lie on those of the frame (H, W, 3), if it is not none."""
    total = np.zeros((2 * REACH + 1, 2 * REACH + 1))
    for rgb, depth_mm in pairs:
        total += correlation(edges_of_frame(rgb), edges_of_depth(depth_mm))
    y, x = np.unravel_index(total.argmax(), total.shape)
    dx, dy, best = x - REACH, y - REACH, total[y, x] / max(1, len(pairs))
    gain = best / max(total[REACH, REACH] / max(1, len(pairs)), MIN_FIT / 2)
    if best < MIN_FIT or gain < MIN_GAIN or np.hypot(dx, dy) < MIN_SHIFT:
        return None
    scale = pairs[0][0].shape[1] / WIDTH
    return Shift(float(dx * scale), float(dy * scale), float(gain))


def correlation(of_frame: np.ndarray, of_depth: np.ndarray) -> np.ndarray:
    """How alike edges are (-1 to 1) when those of depth move by (-REACH .. REACH): (y, x)."""
    inner = of_frame[REACH:-REACH, REACH:-REACH]
    # Each place of the template in the other picture is a shift, in the opposite direction.
    return cv2.matchTemplate(of_depth, inner, cv2.TM_CCOEFF_NORMED)[::-1, ::-1]


def edges_of_frame(rgb: np.ndarray) -> np.ndarray:
    """Strength of the edges of brightness, in its logarithm, so that dark parts count too."""
    return _edges(np.log(_small(rgb.mean(axis=2)) + 0.05), None)


def edges_of_depth(depth_mm: np.ndarray) -> np.ndarray:
    """Strength of the edges of depth, in its logarithm; 0 where it is invalid."""
    valid = (depth_mm > 0).astype(np.float32)
    weight = _small(valid)
    mean = _small(np.where(depth_mm > 0, np.log(np.maximum(depth_mm, 1e-3)), 0.0)) / np.maximum(weight, 1e-6)
    inside = cv2.erode((weight > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return _edges(np.where(weight > 0.99, mean, np.median(mean[weight > 0.99]) if inside.any() else 0.0), inside)


def _small(values: np.ndarray) -> np.ndarray:
    height = max(4 * REACH, round(values.shape[0] * WIDTH / values.shape[1]))
    return cv2.resize(values.astype(np.float32), (WIDTH, height), interpolation=cv2.INTER_AREA)


def _edges(values: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    smooth = cv2.GaussianBlur(values.astype(np.float32), (0, 0), BLUR)
    strength = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    strength = np.minimum(strength, np.percentile(strength, STRONGEST))
    return strength if inside is None else np.where(inside, strength, 0.0).astype(np.float32)
