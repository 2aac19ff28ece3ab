"""The visible field of an endoscope: what is picture and what is the black border around it."""

from collections.abc import Iterable

import cv2
import numpy as np

from util.errors import UserError

BORDER_LEVEL = 24 / 255  # black borders of compressed video reach about 16 of 255
# A pixel is border when it is dark in nearly all frames: overlays and compression light it up now and then.
DARK_SHARE = 0.95
ALL_OF_A_PIXEL = 0.99
GRID = 160  # cells along the longer side, in which the largest box is looked for


def find_view(frames: Iterable[np.ndarray], dark_share: float = DARK_SHARE) -> np.ndarray:
    """The view that the frames of one clip share.

    Border is what stays dark and hangs together with the picture's edge; a dark lumen in the middle is no border.

    Args:
        frames: in [0, 1], each (H, W, C), all of one size; the brightest channel counts.
        dark_share: of the frames in which the border is dark.

    Returns:
        bool (H, W), True inside the view; all True when there is no border.

    Raises:
        ValueError: there is no frame.
    """
    dark, count = 0, 0
    for frame in frames:
        dark, count = dark + (frame.max(axis=2) < BORDER_LEVEL), count + 1
    if count == 0:
        raise ValueError("no frames to find the view in")
    always_dark = (dark >= dark_share * count).astype(np.uint8)
    _, labels = cv2.connectedComponents(always_dark)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return ~np.isin(labels, np.setdiff1d(edge, 0))


def resize_view(view: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A view for pictures of ``size`` (H, W): a pixel that shows anything else, be it a little, is none of it."""
    return cv2.resize(view.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) > ALL_OF_A_PIXEL


def largest_part(view: np.ndarray) -> np.ndarray:
    """The largest connected part of a view (H, W), without the texts and marks that recorders write beside it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(view.astype(np.uint8))
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def inscribed_box(view: np.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the largest box inside a view (H, W); bottom and right are exclusive.

    It is looked for on a coarse grid, and then every side is moved out as far as it goes.

    Raises:
        UserError: no part of the view is large enough for a box.
    """
    step = max(1, -(-max(view.shape) // GRID))
    coarse = view[: len(view) // step * step, : view.shape[1] // step * step]
    coarse = coarse.reshape(len(view) // step, step, -1, step).all(axis=(1, 3))
    if not coarse.any():
        raise UserError("the view is smaller than any box in it; --no_crop keeps the frames as they are")
    return _moved_out(view, tuple(step * side for side in _largest_box(coarse)))


def _largest_box(view: np.ndarray) -> tuple[int, int, int, int]:
    """Of all boxes, by all pairs of rows: the longest run of columns that lie in the view from the one to the other."""
    columns = np.arange(view.shape[1])
    best, box = 0, (0, 0, 0, 0)
    for top in range(len(view)):
        filled = np.logical_and.accumulate(view[top:])
        runs = columns - np.maximum.accumulate(np.where(filled, -1, columns), axis=1)
        areas = runs.max(axis=1) * np.arange(1, len(runs) + 1)
        if areas.max() > best:
            best, rows = areas.max(), int(areas.argmax())
            right, width = int(runs[rows].argmax()) + 1, int(runs[rows].max())
            box = (top, top + rows + 1, right - width, right)
    return box


def _moved_out(view: np.ndarray, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The box with each side moved out by whole rows and columns of the view."""
    top, bottom, left, right = box
    while top > 0 and view[top - 1, left:right].all():
        top -= 1
    while bottom < len(view) and view[bottom, left:right].all():
        bottom += 1
    while left > 0 and view[top:bottom, left - 1].all():
        left -= 1
    while right < view.shape[1] and view[top:bottom, right].all():
        right += 1
    return top, bottom, left, right
