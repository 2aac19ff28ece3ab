"""The part of the resized frames that is learned from: a box around the lens circle, of the same size in all clips."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.sfm.clip import INSIDE
from util.errors import UserError

EROSION = np.ones((5, 5), np.uint8)  # of the resized mask; at the rim the resized frames mix inside and outside
MASK_LEVEL = 0.9  # of full: what counts as inside for losses, while points must lie where it is full


@dataclass(frozen=True)
class Window:
    """A box in resized frames: ``height`` x ``width`` pixels from row ``top`` and column ``left``.

    It may begin before the frame or end behind it, where the frame is too small for it: that is black.
    """

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """That part of (H, W) or (H, W, C); what lies outside the picture is 0."""
        above, before = max(0, -self.top), max(0, -self.left)
        below = max(0, self.top + self.height - picture.shape[0])
        behind = max(0, self.left + self.width - picture.shape[1])
        pads = [(above, below), (before, behind), *[(0, 0)] * (picture.ndim - 2)]
        padded = np.pad(picture, pads)
        top, left = self.top + above, self.left + before
        return padded[top : top + self.height, left : left + self.width]


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask, uint8 (H, W), at ``size`` (H, W): bilinear, as published."""
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_LINEAR)


def box_size(mask: np.ndarray, divisor: int) -> tuple[int, int]:
    """(H, W) of the box for a resized mask: the first multiples of ``divisor`` above the extent of what is inside.

    Extent is the last row minus the first, as published: a box is always larger than that.

    Raises:
        UserError: nothing is inside.
    """
    rows, columns = _extent(mask)
    return tuple(last - first + divisor - (last - first) % divisor for first, last in (rows, columns))


def place_window(mask: np.ndarray, size: tuple[int, int]) -> Window:
    """The box of ``size`` (H, W) around what is inside a resized mask, moved into the picture as far as it fits."""
    starts = []
    for (first, last), length, side in zip(_extent(mask), size, mask.shape, strict=True):
        start = max(first - (length - (last - first)) // 2, 0)
        starts.append(min(start, side - length) if length <= side else (side - length) // 2)
    return Window(*starts, *size)


def erode(mask: np.ndarray) -> np.ndarray:
    """A resized mask without its rim; the picture's own border is no rim."""
    return cv2.erode(mask, EROSION)


def _extent(mask: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, and first and last column, of what is wholly inside."""
    rows, columns = np.nonzero(mask == INSIDE)
    if not len(rows):
        raise UserError("no pixel of the mask is inside the lens circle once the frames are resized")
    return (int(rows.min()), int(rows.max())), (int(columns.min()), int(columns.max()))
