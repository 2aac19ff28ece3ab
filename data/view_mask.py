"""The visible field of an endoscope: what is picture and what is the black border around it."""

from collections.abc import Iterable

import cv2
import numpy as np

from util.errors import UserError

BORDER_LEVEL = 24 / 255  # black borders of compressed video reach about 16 of 255
# A pixel is border when it is dark in nearly all frames: overlays and compression light it up now and then.
DARK_SHARE = 0.95
INSCRIBED_STEPS = 64  # in which a box is shrunk towards the view's centre


def find_view(frames: Iterable[np.ndarray]) -> np.ndarray:
    """The view that the frames of one clip share.

    Border is what stays dark and hangs together with the picture's edge; a dark lumen in the middle is no border.

    Args:
        frames: RGB in [0, 1], each (H, W, 3), all of one size.

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
    always_dark = (dark >= DARK_SHARE * count).astype(np.uint8)
    _, labels = cv2.connectedComponents(always_dark)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return ~np.isin(labels, np.setdiff1d(edge, 0))


def largest_part(view: np.ndarray) -> np.ndarray:
    """The largest connected part of a view (H, W), without the texts and marks that recorders write beside it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(view.astype(np.uint8))
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def bounding_box(view: np.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the smallest box around a view (H, W); bottom and right are exclusive."""
    rows, columns = np.flatnonzero(view.any(axis=1)), np.flatnonzero(view.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def inscribed_box(view: np.ndarray) -> tuple[int, int, int, int]:
    """The view's bounding box, shrunk evenly towards its centre until no pixel of the border is left in it.

    Raises:
        UserError: the centre itself is border.
    """
    top, bottom, left, right = bounding_box(view)
    for step in range(INSCRIBED_STEPS):
        dy, dx = (round((end - start) / 2 * step / INSCRIBED_STEPS) for start, end in ((top, bottom), (left, right)))
        box = view[top + dy : bottom - dy, left + dx : right - dx]
        if box.size and box.all():
            return top + dy, bottom - dy, left + dx, right - dx
    raise UserError("the black border reaches into the centre of the view; --no_crop keeps the frames as they are")
