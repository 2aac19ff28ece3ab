"""Diagrams, drawn by Matplotlib; it is loaded when one is drawn, so that a training does without it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from util.files import atomic_path

WIDTH_INCHES, ROOM_INCHES = 6.4, 1.5  # room for the title, the numbers and the legend
DPI = 140
MIN_SHARE = 0.25  # height of a panel by its width, also of a straight path: its small bends and its labels need room
MARGIN = 0.05  # around the paths
INK, GRID = "#1a1b1e", "#e2e3e7"
COLORS = ("#0a66c2", "#d9730d", "#7a3db8")  # of the paths beside the true one


def draw_camera_path(path: Path, true_mm: np.ndarray, others_mm: Mapping[str, np.ndarray], title: str) -> None:
    """Write a picture of a camera's true path and of others aligned with it, seen from two sides.

    The first panel is the plane in which the true path extends most, the second shows the third direction.

    Args:
        path: PNG to write, whole or not at all.
        true_mm: true positions in their order [mm], (T, 3).
        others_mm: positions by what the legend calls them [mm], (T, 3) each.
        title: above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    directions, centre = principal_directions(true_mm), true_mm.mean(axis=0)
    paths = {name: (points - centre) @ directions.T for name, points in ({"true": true_mm} | dict(others_mm)).items()}
    low, high = _limits(np.concatenate(list(paths.values())))
    heights = (high - low)[1:] / (high - low)[0]
    figure = Figure(figsize=(WIDTH_INCHES, heights.sum() * WIDTH_INCHES + ROOM_INCHES), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=8.5, color=INK)
    panels = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    for axes, vertical in zip(panels, (1, 2), strict=True):
        _draw_panel(axes, {name: points[:, [0, vertical]] for name, points in paths.items()})
        axes.set(xlim=(low[0], high[0]), ylim=(low[vertical], high[vertical]), aspect="equal")
        axes.set_ylabel(f"{('1st', '2nd', '3rd')[vertical]} direction [mm]", fontsize=9)
    panels[1].set_xlabel("1st direction [mm], along which the true path extends most", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def principal_directions(points: np.ndarray) -> np.ndarray:
    """Unit vectors (3, 3), a row each, along which points (N, 3) extend most, second and least.

    The first leads from the first point to the last; all three are right-handed, so that nothing is shown mirrored.
    """
    directions = np.linalg.svd(points - points.mean(axis=0), full_matrices=True)[2]
    directions[0] *= 1 if directions[0] @ (points[-1] - points[0]) >= 0 else -1
    directions[1] *= 1 if directions[1][np.abs(directions[1]).argmax()] > 0 else -1
    directions[2] = np.cross(directions[0], directions[1])
    return directions


def _draw_panel(axes: Any, paths: Mapping[str, np.ndarray]) -> None:
    """Paths (T, 2) in one plane."""
    for (name, points), color in zip(paths.items(), (INK, *COLORS), strict=False):
        is_true = name == "true"
        axes.plot(*points.T, color=color, linewidth=2.4 if is_true else 1.4, label=name, solid_capstyle="round")
        axes.plot(*points[0], "o", color=color, markersize=7 if is_true else 4)
    axes.plot([], [], "o", color=INK, markersize=6, label="start")
    axes.tick_params(labelsize=8)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _limits(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits (3,) around points (N, 3); the first side is the longest, and none is too short."""
    low, high = points.min(axis=0), points.max(axis=0)
    longest = (high - low).max()
    sides = (1 + 2 * MARGIN) * np.maximum(high - low, longest * np.array([1.0, MIN_SHARE, MIN_SHARE]))
    return (low + high - sides) / 2, (low + high + sides) / 2
