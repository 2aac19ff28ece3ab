"""SfM points on the pixel grid of a view: sparse depth, soft mask and sparse flow (Liu et al., CARE 2018, Eq. 1 and 2).

A ``View`` is a list of points; the maps, which are nearly all 0, are made of it when they are needed.
"""

from typing import Literal, NamedTuple

import numpy as np

from data.sfm.clip import INSIDE, project_points

Collisions = Literal["nearest", "last"]
MAX_FLOW = 5.0  # in picture widths or heights: what flies farther is wrong; as published


class View(NamedTuple):
    """Points in one view."""

    points: np.ndarray  # numbers, int64 (M,)
    pixels: np.ndarray  # row * W + column, int64 (M,)
    depth: np.ndarray  # along the optical axis, float64 (M,)


def points_in_sight(in_camera: np.ndarray, numbers: np.ndarray, K: np.ndarray, mask: np.ndarray) -> View:
    """The points before the camera whose rounded projection lies where the mask is ``INSIDE``, maybe several a pixel.

    Args:
        in_camera: points in camera coordinates, float64 (N, 3).
        numbers: what they are called, (N,).
        K: (3, 3) [px of the mask].
        mask: uint8 (H, W).
    """
    height, width = mask.shape
    columns, rows = np.rint(project_points(in_camera, K)).T  # half to even
    with np.errstate(invalid="ignore"):
        inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    inside[inside] = mask[rows[inside].astype(int), columns[inside].astype(int)] == INSIDE
    pixels = (rows[inside] * width + columns[inside]).astype(np.int64)
    return View(numbers[inside], pixels, in_camera[inside, 2])


def one_a_pixel(view: View, collisions: Collisions = "nearest") -> View:
    """Of several points on a pixel, the ``nearest`` stays, or the ``last`` one as published."""
    # The first of each pixel in this order stays.
    order = np.arange(len(view.pixels))[::-1] if collisions == "last" else np.argsort(view.depth, kind="stable")
    _, first = np.unique(view.pixels[order], return_index=True)
    chosen = order[first]
    return View(*(values[chosen] for values in view))


def sparse_map(view: View, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 (H, W): the values (M,) at the pixels of the drawn points, 0 elsewhere."""
    flat = np.zeros(size[0] * size[1], np.float32)
    flat[view.pixels] = values
    return flat.reshape(size)


def point_flow(
    here: np.ndarray, there: np.ndarray, K: np.ndarray, size: tuple[int, int], rounding: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """How points move from one view to another, as a share of the picture's width and height.

        f = ((u_there - u_here) / W, (v_there - v_here) / H)

    Args:
        here, there: the same points in the coordinates of both cameras, float64 (M, 3).
        K: of both, (3, 3) [px].
        size: of the picture (H, W).
        rounding: round both projections to pixels first, as published.

    Returns:
        float64 (M, 2), and bool (M,): the point is before both cameras and moves by no more than ``MAX_FLOW``. The
        flow of others is 0.
    """
    ends = [project_points(points, K) for points in (here, there)]
    if rounding:
        ends = [np.rint(end) for end in ends]
    flow = (ends[1] - ends[0]) / (size[1], size[0])
    with np.errstate(invalid="ignore"):
        known = (np.abs(flow) <= MAX_FLOW).all(axis=1)
    return np.where(known[:, None], flow, 0.0), known
