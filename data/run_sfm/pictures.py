"""What an SfM result looks like: its points on the frames, and its cameras before its points."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.image_files import read_rgb, write_picture
from data.sfm.clip import SfmClip, project_points
from util.colormap import PANEL_COLOR, add_color_bar, colorize_depth, side_by_side
from util.files import atomic_path
from util.plots import COLORS, DPI, GRID, INK, WIDTH_INCHES

COLUMNS = 3  # views that are drawn
AHEAD = 5  # views on, where the same points are drawn again
WIDTH = 800  # of each frame's view [px]
LIGHT = 0.8  # of the frame under the points, which is grey: their colours are those of tissue, too
DEPTH_PERCENTILES = (2, 98)  # the ends of the colours: a few stray points would take all of them
RIM_COLOUR = (235, 235, 235)
DOT, RIM = 4.0, 5.0  # radii [px]
FINE_BITS = 4  # OpenCV draws at fractions of a pixel of so many bits
POINTS_DRAWN = 4000
ARROWS = 24  # viewing directions that are drawn
ARROW_LENGTH = 0.12  # share of the picture's width
MARGIN = 0.04
MIN_HEIGHT = 0.25  # share of a panel's width
ROOM_INCHES = 1.1  # for title, legend and numbers


def draw_points(path: Path, clip: SfmClip) -> None:
    """Write frames of the clip with their points, above, and below the same points ``AHEAD`` views later.

    Points have the colour of their depth, and a thin line leads to where they are later. Where a reconstruction is
    right, a point sits on the same spot of the tissue in both.
    """
    views = np.unique(np.linspace(0, max(0, len(clip) - 1 - AHEAD), COLUMNS).round().astype(int))
    later = np.minimum(views + AHEAD, len(clip) - 1)
    depths = np.concatenate([clip.in_camera(view, _seen(clip, view))[:, 2] for view in range(len(clip))])
    low, high = np.percentile(depths, DEPTH_PERCENTILES)
    limits = float(low), float(max(high, low * 1.001 + 1e-12))
    columns = [_column(clip, int(view), int(other), limits) for view, other in zip(views, later, strict=True)]
    rows = [
        side_by_side([column[row] for column in columns], [f"frame {clip.numbers[view]}" for view in shown])
        for row, shown in enumerate((views, later))
    ]
    gap = np.full((4, rows[0].shape[1], 3), PANEL_COLOR, np.uint8)
    sheet = np.concatenate([rows[0], gap, rows[1]])
    write_picture(path, add_color_bar(sheet, limits[1], limits[0], unit=""))


def draw_cameras(path: Path, clip: SfmClip) -> None:
    """Write the camera's path with its viewing directions and the points, from two sides.

    The horizontal direction is the mean viewing direction, the vertical ones are those across it in which the path
    extends most and least.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes_3d = viewing_axes(clip)
    centres, points = clip.poses[:, :3, 3] @ axes_3d.T, _stray_points_left_out(clip) @ axes_3d.T
    directions = clip.poses[:, :3, 2] @ axes_3d.T
    low, high = _limits(np.concatenate([centres, points]))
    heights = (high - low)[1:] / (high - low)[0]
    figure = Figure(figsize=(WIDTH_INCHES, heights.sum() * WIDTH_INCHES + ROOM_INCHES), dpi=DPI, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    for axes, vertical, side in zip(panels, (1, 2), ("wider", "narrower"), strict=True):
        flat = [0, vertical]
        _draw_side(axes, centres[:, flat], directions[:, flat], points[:, flat], float(high[0] - low[0]))
        axes.set(xlim=(low[0], high[0]), ylim=(low[vertical], high[vertical]), aspect="equal")
        axes.set_ylabel(f"across, {side}", fontsize=9)
    panels[1].set_xlabel("along the mean viewing direction [unit of the clip's own]", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def viewing_axes(clip: SfmClip) -> np.ndarray:
    """Orthonormal, right-handed rows (3, 3): mean viewing direction, and across it where the path extends most."""
    forward = clip.poses[:, :3, 2].mean(axis=0)
    if np.linalg.norm(forward) < 1e-6:  # the camera looked all around
        forward = clip.poses[0, :3, 2]
    forward = forward / np.linalg.norm(forward)
    centred = clip.poses[:, :3, 3] - clip.poses[:, :3, 3].mean(axis=0)
    across = centred - np.outer(centred @ forward, forward)
    second = np.linalg.svd(across)[2][0]
    second = second - (second @ forward) * forward
    if np.linalg.norm(second) < 1e-6:  # the path is straight ahead: whichever direction is across
        second = np.cross(forward, np.eye(3)[np.abs(forward).argmin()])
    second = second / np.linalg.norm(second)
    return np.stack([forward, second, np.cross(forward, second)])


def _seen(clip: SfmClip, view: int) -> np.ndarray:
    """Numbers of the points that a view was used for."""
    return clip.observations[clip.observations[:, 0] == view, 1]


def _column(clip: SfmClip, view: int, later: int, limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A view with its points, and a later one with the same points."""
    points = _seen(clip, view)
    here, there = (clip.in_camera(one, points) for one in (view, later))
    colours = colorize_depth(here[None, :, 2], limits[1], limits[0])[0]
    ends = [project_points(one, clip.camera.K) for one in (here, there)]
    return _drawn(clip, view, ends[0], ends[1], colours), _drawn(clip, later, ends[1], ends[0], colours)


def _drawn(clip: SfmClip, view: int, places: np.ndarray, others: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The view's part of a frame with points at ``places`` [px] and lines to where they are in the other frame."""
    rows, columns = np.nonzero(clip.mask)
    top, left = rows.min(), columns.min()
    seen = read_rgb(clip.frames[view])[top : rows.max() + 1, left : columns.max() + 1]
    scale = WIDTH / seen.shape[1]
    grey = (LIGHT * 255 * seen.mean(axis=2)).round().astype(np.uint8)
    grey = cv2.resize(grey, (WIDTH, max(1, round(seen.shape[0] * scale))), interpolation=cv2.INTER_AREA)
    picture = np.repeat(grey[..., None], 3, axis=2)
    # Pixel edges are mapped on each other, not centres; what is far outside would not fit OpenCV's integers.
    ends = [(points - (left, top) + 0.5) * scale - 0.5 for points in (places, others)]
    good = (np.abs(np.concatenate(ends, axis=1)) < 4 * WIDTH).all(axis=1)
    starts, tips = (np.rint(one[good] * 2**FINE_BITS).astype(int).tolist() for one in ends)
    for start, tip, colour in zip(starts, tips, colours[good].tolist(), strict=True):
        cv2.line(picture, start, tip, colour, 1, cv2.LINE_AA, shift=FINE_BITS)
    for start, colour in zip(starts, colours[good].tolist(), strict=True):
        for radius, fill in ((RIM, RIM_COLOUR), (DOT, colour)):
            cv2.circle(picture, start, round(radius * 2**FINE_BITS), fill, cv2.FILLED, cv2.LINE_AA, shift=FINE_BITS)
    return picture


def _stray_points_left_out(clip: SfmClip) -> np.ndarray:
    """Points within the middle of the cloud, so that one stray point does not make all else a speck."""
    low, high = np.percentile(clip.points, (1, 99), axis=0)
    inside = ((clip.points >= low) & (clip.points <= high)).all(axis=1)
    kept = clip.points[inside] if inside.any() else clip.points
    return kept[:: max(1, len(kept) // POINTS_DRAWN)]


def _limits(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits (3,) around points (N, 3); no side is less than ``MIN_HEIGHT`` of the first."""
    low, high = points.min(axis=0), points.max(axis=0)
    sides = np.maximum(high - low, (high - low)[0] * np.array([1.0, MIN_HEIGHT, MIN_HEIGHT])) * (1 + 2 * MARGIN)
    return (low + high - sides) / 2, (low + high + sides) / 2


def _draw_side(axes: Any, centres: np.ndarray, directions: np.ndarray, points: np.ndarray, width: float) -> None:
    """Cameras (V, 2) with viewing directions (V, 2), and points (N, 2), in one plane."""
    every = max(1, len(centres) // ARROWS)
    tips = centres + ARROW_LENGTH * width * directions
    axes.scatter(*points.T, s=3, color=COLORS[0], alpha=0.5, linewidths=0, label="points")
    for start, tip in zip(centres[::every], tips[::every], strict=True):
        axes.annotate(
            "", xy=tip, xytext=start, arrowprops={"arrowstyle": "-|>", "color": COLORS[1], "lw": 0.7, "shrinkA": 0}
        )
    axes.plot([], [], color=COLORS[1], linewidth=1, label="viewing direction")
    axes.plot(*centres.T, color=INK, linewidth=1.8, label="camera", solid_capstyle="round")
    axes.plot(*centres[0], "o", color=INK, markersize=5, label="first frame")
    axes.tick_params(labelsize=8)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
