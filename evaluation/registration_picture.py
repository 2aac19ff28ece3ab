"""A picture of a cloud on the surface that it is registered to, coloured by its distances."""

from pathlib import Path

import numpy as np

from models.geometry.registration import rms_radius
from models.geometry.surface import Surface
from util.colormap import colorize_error, sample_colors
from util.files import atomic_path
from util.plots import DPI, INK, principal_directions

SIZE_INCHES = (9.0, 4.6)
MAX_DOTS = 30_000  # of cloud and surface each
AROUND = 0.7  # what is shown of the surface, in radii of the cloud beyond its ends
SURFACE_COLOR = "#c9ccd3"


def draw_registration(
    path: Path, surface: Surface, points: np.ndarray, distances: np.ndarray, max_distance: float, unit: str, title: str
) -> None:
    """Write a picture of two views: along the direction in which the cloud extends least, and along the second.

    Args:
        path: PNG to write, whole or not at all.
        surface: is drawn in grey, where the cloud is.
        points: of the cloud, on the surface, (N, 3).
        distances: from each to the surface, (N,); the largest are drawn on top.
        max_distance: of the brightest colour.
        unit: of all lengths, for the labels.
        title: above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    directions, centre = principal_directions(points), points.mean(axis=0)
    shown = _some(len(points))
    shown = shown[np.argsort(distances[shown])]
    cloud, colors = (points[shown] - centre) @ directions.T, colorize_error(distances[shown][None], max_distance)[0]
    walls = (surface.points - centre) @ directions.T
    low, high = cloud.min(axis=0) - AROUND * rms_radius(points), cloud.max(axis=0) + AROUND * rms_radius(points)
    walls = walls[((walls >= low) & (walls <= high)).all(axis=1)]
    walls = walls[_some(len(walls))]
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=8.5, color=INK)
    panels = figure.subplots(1, 2)
    for axes, vertical in zip(panels, (1, 2), strict=True):
        axes.scatter(walls[:, 0], walls[:, vertical], s=0.5, color=SURFACE_COLOR, linewidths=0)
        axes.scatter(cloud[:, 0], cloud[:, vertical], s=1.5, c=colors / 255, linewidths=0)
        axes.set(aspect="equal", xlim=(low[0], high[0]), ylim=(low[vertical], high[vertical]))
        axes.set_xlabel(f"1st direction [{unit}]", fontsize=8)
        axes.set_ylabel(f"{('1st', '2nd', '3rd')[vertical]} direction [{unit}]", fontsize=8)
        axes.tick_params(labelsize=7)
    colors_of_bar = ScalarMappable(Normalize(0, max_distance), ListedColormap(sample_colors(colorize_error, 256) / 255))
    bar = figure.colorbar(colors_of_bar, ax=panels, shrink=0.8, extend="max")
    bar.set_label(f"distance to the surface [{unit}]", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _some(count: int) -> np.ndarray:
    """Indices of ``MAX_DOTS`` at most, at random: every n-th would draw stripes that the surface does not have."""
    return np.random.default_rng(0).permutation(count)[:MAX_DOTS]
