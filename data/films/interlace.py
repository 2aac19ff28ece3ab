"""Interlaced video: a frame's even and odd rows are of two moments, and what moves gets a comb for an edge."""

import cv2
import numpy as np

# Curvature down the columns over that along the rows: 0.7 to 1.5 in pictures of cameras, 3 and more in combed ones.
COMBED = 2.5
COMBED_SHARE = 0.1  # of the frames of a film, from which on it is interlaced: where nothing moves there is no comb
COMB = 6  # grey levels by which an odd row stands out from both its neighbours
REACH = (5, 9)  # (rows, columns) around a comb that are made new too [px]


class CombCount:
    """Counts frames with combs."""

    def __init__(self) -> None:
        self.combed = self.count = 0

    def add(self, rgb: np.ndarray) -> None:
        """See a frame, RGB uint8 (H, W, 3)."""
        self.combed += combing(rgb) > COMBED
        self.count += 1

    @property
    def interlaced(self) -> bool:
        """Whether the frames are those of an interlaced film."""
        return self.count > 0 and self.combed >= COMBED_SHARE * self.count


def combing(rgb: np.ndarray) -> float:
    """How much more changes from row to row than from column to column: about 1 in a picture without a comb.

    The middle of the picture is looked at, RGB uint8 (H, W, 3).
    """
    height, width = rgb.shape[:2]
    middle = rgb[height // 4 : height - height // 4, width // 4 : width - width // 4]
    grey = cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY).astype(np.float32)
    down, along = (_curvature(picture) for picture in (grey, grey.T))
    return float(down / (along + 1e-3))


def deinterlaced(rgb: np.ndarray) -> np.ndarray:
    """The moment of the even rows: the odd ones become the mean of their neighbours where they form a comb.

    Elsewhere, where nothing moved between the two moments, they are as sharp as before.

    Args:
        rgb: uint8 (H, W, 3).
    """
    return np.where(comb_mask(rgb)[..., None], _even_rows(rgb), rgb)


def comb_mask(rgb: np.ndarray) -> np.ndarray:
    """Where odd rows stand out from both neighbours to the same side, and a little around it: bool (H, W)."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.int16)
    over, under = grey[1:-1] - grey[:-2], grey[1:-1] - grey[2:]
    # Even rows are seen from the odd ones' moment, so they stand out just as well.
    stands_out = np.minimum(np.abs(over), np.abs(under)) > COMB
    combs = np.zeros(grey.shape, np.uint8)
    combs[1:-1] = stands_out & (np.sign(over) == np.sign(under))
    # A comb has several teeth; a thin bright line has one.
    teeth = cv2.boxFilter(combs, cv2.CV_32F, (1, 5), normalize=False) >= 2
    return cv2.dilate(teeth.astype(np.uint8), np.ones(REACH, np.uint8)) > 0


def _even_rows(rgb: np.ndarray) -> np.ndarray:
    """The picture with each odd row as the mean of its neighbours."""
    even = rgb[::2].astype(np.uint16)
    below = np.concatenate((even[1:], even[-1:]))
    made = rgb.copy()
    odd = made[1::2]
    odd[:] = ((even + below + 1) // 2)[: len(odd)]
    return made


def _curvature(grey: np.ndarray) -> float:
    """Mean length of the fourth difference down the columns."""
    fourth = grey[:-4] - 4 * grey[1:-3] + 6 * grey[2:-2] - 4 * grey[3:-1] + grey[4:]
    return float(np.abs(fourth).mean())
