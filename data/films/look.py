"""What is the same in all of a film: where the view is, what was drawn over it, and whether it is interlaced."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.films.frames import sample_film
from data.films.interlace import CombCount
from data.view_mask import find_view, largest_part
from util.errors import UserError

SAMPLES = 120  # frames that are looked at
UNIFORM = 4.0  # grey levels that a frame's colours spread by at least: no signal, and no light, show no view
BORDER_SHARE = 0.85  # of the frames in which the border is dark: recorders show menus now and then
MIN_SIDE_PX, MAX_ASPECT = 32, 4.0  # of frames that motion can be measured in
MIN_SAMPLES = 20  # with fewer, what happens to stand still is no overlay yet
MOVES = 15.0  # grey levels that a pixel of the view changes by, in a film that can tell
STILL = 3.0  # and one of an overlay at most
WIDTH = 640  # px that larger frames are scaled down to for it
EDGE = 8.0  # gradient of the strokes of a text [grey levels a pixel]
EDGE_SHARE = 0.9  # of the frames that an overlay's edges are seen in
ONE_WAY = 0.7  # share of the gradients' length that is left in their mean, as those of an overlay point one way
EDGES_WITHIN, EDGES_AROUND = 0.2, 0.5  # shares of a text's area, and of a picture's outline, that such edges are
SOFT_RIM = 0.005  # share of the picture's height that the view is made smaller by
RIM, GAP, MARGIN, MIN_SIDE = 0.03, 0.02, 0.006, 0.008  # shares of the picture's height; see _still_areas


@dataclass(frozen=True)
class FilmLook:
    """Of a film, all bool (H, W).

    Args:
        view: where it shows something: the largest part inside the black border.
        overlay: texts and pictures over the view that stand still; False outside of it.
        interlaced: its odd rows are of another moment than the even ones.
        picture: one of its frames, RGB uint8 (H, W, 3).
    """

    view: np.ndarray
    overlay: np.ndarray
    interlaced: bool
    picture: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Where the film shows what the camera sees."""
        return self.view & ~self.overlay


def study_film(source: Path) -> FilmLook:
    """Look at frames from all over a film.

    Raises:
        UserError: nothing of it can be read, it is black or of one colour, or its frames are too small or flat, or
            differ in size.
    """
    still, combs, richest = StillParts(), CombCount(), RichestFrame()
    view = find_view(_brightest(_watched(source, still, combs, richest)), BORDER_SHARE)
    if not view.any():
        raise UserError(f"{source} is black")
    # The rim of the view is blurred, and compression makes it darker and brighter.
    rim = _square(2 * _pixels(SOFT_RIM, view) + 1)
    view = cv2.erode(largest_part(view).astype(np.uint8), rim, borderValue=1) > 0
    return FilmLook(view, still.overlay(view), combs.interlaced, richest.picture)


def _watched(source: Path, *watchers: "StillParts | CombCount | RichestFrame") -> Iterator[np.ndarray]:
    """Frames of a film that show something, which the watchers see too."""
    size, shown = None, 0
    for number, rgb in enumerate(sample_film(source, SAMPLES)):
        size = size or rgb.shape
        if rgb.shape != size:
            raise UserError(f"{source}: picture {number} of the film is {rgb.shape[:2]} pixels, the first {size[:2]}")
        if min(size[:2]) < MIN_SIDE_PX or max(size[:2]) > MAX_ASPECT * min(size[:2]):
            raise UserError(
                f"{source}: frames of {size[0]}x{size[1]} pixels are too small or too narrow to see motion in"
            )
        if rgb[::8, ::8].std(axis=(0, 1)).max() < UNIFORM:
            continue
        for watcher in watchers:
            watcher.add(rgb)
        shown += 1
        yield rgb
    if not shown:
        raise UserError(f"{source} is black, or of one colour")


def _brightest(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The brightest channel of each frame, in [0, 1], (H, W, 1)."""
    for rgb in frames:
        red, green, blue = cv2.split(rgb)
        yield (cv2.max(cv2.max(red, green), blue).astype(np.float32) / 255)[..., None]


class RichestFrame:
    """Keeps the frame with the most contrast."""

    def __init__(self) -> None:
        self.contrast, self.picture = -1.0, np.zeros((1, 1, 3), np.uint8)

    def add(self, rgb: np.ndarray) -> None:
        """See a frame, RGB uint8 (H, W, 3)."""
        contrast = float(rgb[::8, ::8].std())
        if contrast > self.contrast:
            self.contrast, self.picture = contrast, rgb


class StillParts:
    """Sums over the frames of a film that tell what in it never changes."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = self._squares = self._right = self._down = self._length = self._steep = np.float32(0)

    def add(self, rgb: np.ndarray) -> None:
        """See a frame, RGB uint8 (H, W, 3)."""
        height, width = rgb.shape[:2]
        scale = min(1.0, WIDTH / width)
        # Every second row: those of one moment, should it be interlaced.
        colours = cv2.resize(rgb[::2], (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        colours = colours.astype(np.float32)
        right, down = (cv2.Sobel(colours, cv2.CV_32F, *along) / 8 for along in ((1, 0), (0, 1)))
        self._sum, self._squares = self._sum + colours, self._squares + colours**2
        self._right, self._down = self._right + right, self._down + down
        length = np.hypot(right, down)
        self._length, self._steep = self._length + length, self._steep + (length > EDGE)
        self.count += 1

    def overlay(self, view: np.ndarray) -> np.ndarray:
        """What stands still within the view, bool (H, W): of one grey level throughout, or with edges that stay."""
        if self.count < MIN_SAMPLES:
            return np.zeros_like(view)
        edges = self._edges()
        small_view = cv2.resize(view.astype(np.uint8), edges.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        mean = self._sum / self.count
        spread = np.sqrt(np.maximum(self._squares / self.count - mean**2, 0)).max(axis=2)
        if np.median(spread[small_view]) < MOVES:  # the whole film stands still, or nearly
            return np.zeros_like(view)
        areas = _still_areas((spread < STILL) | edges, small_view)
        drawn = cv2.dilate(_with_edges(areas, edges).astype(np.uint8), _square(2 * _pixels(MARGIN, edges) + 1))
        return (cv2.resize(drawn, view.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0) & view

    def _edges(self) -> np.ndarray:
        """Edges that stay, bool, in any colour: a blue mark on red tissue may be as bright."""
        one_way = np.hypot(self._right, self._down) >= ONE_WAY * self._length
        return (one_way & (self._steep >= EDGE_SHARE * self.count)).any(axis=2)


def _still_areas(still: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Still pixels as areas, bool: letters closed to lines, outlines filled; not the view's rim, which is still too."""
    framed = cv2.copyMakeBorder(view.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1] > _pixels(RIM, view)
    found = (still & inner).astype(np.uint8)
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, _square(2 * _pixels(GAP, view) + 1))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(closed), outlines, -1, 1, cv2.FILLED)
    return cv2.morphologyEx(filled, cv2.MORPH_OPEN, _square(_pixels(MIN_SIDE, view))) > 0


def _with_edges(areas: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Those of the areas that are drawn: full of edges, as text is, or with an edge for an outline.

    In a slow film a dark or evenly lit part of the scene stands still as well, but nothing draws a line around it.
    """
    count, labels = cv2.connectedComponents(areas.astype(np.uint8))
    outline = cv2.morphologyEx(areas.astype(np.uint8), cv2.MORPH_GRADIENT, _square(3)) > 0
    near_edges = cv2.dilate(edges.astype(np.uint8), _square(5)) > 0
    around = cv2.dilate(labels.astype(np.uint16), _square(3))  # the outline lies on both sides of the border
    within, sizes = (np.bincount(labels[mask], minlength=count) for mask in (edges, np.ones_like(edges)))
    edged, lengths = (np.bincount(around[mask], minlength=count) for mask in (outline & near_edges, outline))
    drawn = (within >= EDGES_WITHIN * sizes) | (edged >= EDGES_AROUND * np.maximum(lengths, 1))
    drawn[0] = False
    return drawn[labels]


def _pixels(share: float, picture: np.ndarray) -> int:
    """A share of the picture's height, at least 1 px."""
    return max(1, round(share * len(picture)))


def _square(side: int) -> np.ndarray:
    return np.ones((side, side), np.uint8)
