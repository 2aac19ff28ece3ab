"""What is written of a registered cloud: itself, coloured by its distances, and a picture of it on the surface."""

from pathlib import Path

import numpy as np

from evaluation.registration_picture import draw_registration
from models.geometry.registration import Registration
from models.geometry.surface import Surface
from util.colormap import colorize_error
from util.pointcloud import write_ply

LENGTHS = {"mean": "residual", "trimmed_mean": "trimmed", "p95": "95 % below"}  # and what titles call them


def write_registered(
    folder: Path,
    name: str,
    points: np.ndarray,
    surface: Surface,
    found: Registration,
    max_distance: float,
    unit: str = "mm",
) -> None:
    """``<name>_residual.ply``, the cloud in the surface's frame coloured by distance, and ``<name>.png``.

    Args:
        folder: for both files.
        name: of the cloud; may have folders in it.
        points: as they were registered, (N, 3).
        surface, found: what to, and how.
        max_distance: of the brightest colour.
        unit: of the surface.
    """
    moved = found.similarity.apply(points)
    colors = colorize_error(found.distances[None], max_distance)[0]
    write_ply(folder / f"{name}_residual.ply", moved, colors, unit, axes="axes of the surface")
    lengths = [f"{title} {getattr(found, key):.3g} {unit}" for key, title in LENGTHS.items()]
    title = f"{name}:  {',  '.join(lengths)},  scale {found.similarity.scale:.4g}"
    draw_registration(folder / f"{name}.png", surface, moved, found.distances, max_distance, unit, title)
