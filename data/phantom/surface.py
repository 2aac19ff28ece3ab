"""The colon's wall: a radius over (arc length, angle), turned into a triangle mesh."""

from dataclasses import dataclass

import numpy as np

from data.phantom.centreline import Centreline
from data.phantom.folds import NUM_ROWS, Fold, random_folds
from data.phantom.mesh import Mesh, grid_faces, grid_normals
from data.phantom.polyps import SessilePolyp
from data.phantom.smooth_noise import smooth_curve, wrapped_noise

NUM_ANGLES = 192  # vertices round the lumen: 0.7 mm apart at a radius of 20 mm
FINE_STEP_MM, COARSE_STEP_MM = 0.32, 1.3  # on folds and polyps, and between them
ROW_ANGLE = 2.0 * np.pi / NUM_ROWS
TAENIA_HALF_WIDTH_MM = 4.0  # taeniae coli are 6 to 12 mm wide


@dataclass(frozen=True)
class Wall:
    """All that shapes the wall besides the centreline.

    Attributes:
        folds: see ``folds.py``.
        polyps: sessile polyps, which are part of the wall.
        twist: angle of the first taenia [rad], sampled as the centreline, (N,).
        pouch_mm: bulge of the haustra between two folds [mm].
        taenia_mm: height of the taeniae above the wall [mm].
        corner: how far the cross-section tends to a triangle, fraction of the radius.
        relief_mm: fine surface relief [mm] on a grid of 0.5 mm along the colon by ``NUM_ANGLES``.
    """

    folds: list[Fold]
    polyps: list[SessilePolyp]
    twist: np.ndarray
    pouch_mm: float
    taenia_mm: float
    corner: float
    relief_mm: np.ndarray


def random_wall(rng: np.random.Generator, centreline: Centreline, polyps: list[SessilePolyp]) -> Wall:
    """Draw folds, pouches, taeniae and relief for a centreline."""
    num = len(centreline.s_mm)
    return Wall(
        folds=random_folds(rng, centreline),
        polyps=polyps,
        twist=rng.uniform(0, 2 * np.pi) + 0.25 * smooth_curve(rng, num, 240.0)[:, 0],
        pouch_mm=rng.uniform(1.0, 3.0),
        taenia_mm=rng.uniform(0.3, 1.1),
        corner=rng.uniform(0.02, 0.07),
        relief_mm=_random_relief(rng, num),
    )


def build_wall_mesh(centreline: Centreline, wall: Wall) -> Mesh:
    """Closed triangle mesh of the wall with normals towards the lumen."""
    s = _stations(centreline, wall)
    theta = np.linspace(0.0, 2.0 * np.pi, NUM_ANGLES + 1)
    radius, height, shift, redness = _radius(centreline, wall, s, theta[:-1])
    close = np.r_[np.arange(NUM_ANGLES), 0]  # the last column repeats the first exactly: no gap at the seam
    radius, height, shift, redness = (part[:, close] for part in (radius, height, shift, redness))
    centre, frame = centreline.at(s[:, None] + shift)
    angle = theta[close][None, :, None]
    outward = np.cos(angle) * frame[..., 1] + np.sin(angle) * frame[..., 2]
    points = centre + radius[..., None] * outward
    normals = grid_normals(points, centreline.at(s)[0])
    normals[0], normals[-1] = frame[0, 0, :, 0], -frame[-1, 0, :, 0]  # at the poles of the end caps
    return Mesh(
        vertices=points.reshape(-1, 3),
        faces=grid_faces(len(s), NUM_ANGLES + 1),
        normals=normals.reshape(-1, 3),
        s_mm=(s[:, None] + height).reshape(-1),  # the way up a fold counts, else the texture would be stretched there
        theta=np.broadcast_to(theta, radius.shape).reshape(-1),
        redness=redness.reshape(-1),
    )


def _random_relief(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Soft lumps, transverse wrinkles and fine unevenness [mm]; rows are 0.5 mm apart."""
    shape = (rows, NUM_ANGLES)
    lumps = rng.uniform(0.15, 0.45) * wrapped_noise(rng, shape, (16.0, 14.0))
    wrinkles = rng.uniform(0.05, 0.3) * wrapped_noise(rng, shape, (5.0, 22.0))
    fine = rng.uniform(0.02, 0.06) * wrapped_noise(rng, shape, (3.0, 3.0))
    return lumps + wrinkles + fine


def _stations(centreline: Centreline, wall: Wall) -> np.ndarray:
    """Arc lengths of the vertex rings [mm]: dense on folds, polyps and end caps, sparse between."""
    s = np.linspace(0.0, centreline.length_mm, round(centreline.length_mm / 0.1) + 1)
    step = np.full_like(s, COARSE_STEP_MM)
    for feature in [*wall.folds, *wall.polyps]:
        step[np.abs(s - feature.station_mm) < feature.steep_mm] = FINE_STEP_MM
    step[np.minimum(s, s[-1] - s) < 5.0] = FINE_STEP_MM
    count = np.concatenate([[0.0], np.cumsum(0.1 / step[1:])])
    num = int(np.ceil(count[-1])) + 1
    return np.interp(np.linspace(0.0, count[-1], num), count, s)


def _radius(
    centreline: Centreline, wall: Wall, s: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Four fields (n, m): the wall's distance from the centreline [mm], the height of folds and polyps in it [mm],
    its shift along the centreline by leaning folds [mm], and its redness."""
    mean_radius = centreline.radius_at(s)[:, None]
    from_taenia = theta[None] - np.interp(s, centreline.s_mm, wall.twist)[:, None]
    taenia_distance_mm = _wrap(from_taenia, ROW_ANGLE) * mean_radius
    radius = mean_radius * (1.0 + wall.corner * np.cos(NUM_ROWS * from_taenia))
    radius = radius - wall.taenia_mm * np.exp(-((taenia_distance_mm / TAENIA_HALF_WIDTH_MM) ** 4))
    radius = radius + _relief_at(wall.relief_mm, centreline, s) + _pouches(wall, s, from_taenia)
    height, shift = _fold_heights(wall.folds, s, from_taenia, mean_radius)
    height = np.minimum(height, 0.5 * mean_radius)
    redness = np.zeros_like(radius)
    for polyp in wall.polyps:
        bump, red = polyp.height(s[:, None], theta[None], mean_radius)
        height, redness = height + bump, np.maximum(redness, red)
    return (radius - height) * _end_caps(centreline, s)[:, None], height, shift, redness


def _fold_heights(
    folds: list[Fold], s: np.ndarray, from_taenia: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inward height of all folds [mm] and the shift their lean causes [mm], (n, m) each."""
    height, shift = np.zeros_like(from_taenia), np.zeros_like(from_taenia)
    for fold in folds:
        near = slice(*np.searchsorted(s, [fold.station_mm - fold.reach_mm, fold.station_mm + fold.reach_mm]))
        station = min(int(np.searchsorted(s, fold.station_mm)), len(s) - 1)
        row_angle = _wrap(from_taenia[station] - (fold.row + 0.5) * ROW_ANGLE, 2.0 * np.pi)
        one = fold.height(s[near], row_angle, radius[station, 0])
        height[near] += one
        shift[near] += fold.lean * one
    return height, shift


def _pouches(wall: Wall, s: np.ndarray, from_taenia: np.ndarray) -> np.ndarray:
    """Haustra: the wall bulges outwards between two folds of a row [mm], (n, m)."""
    bulge = np.zeros_like(from_taenia)
    for row in range(NUM_ROWS):
        stations = np.unique([fold.station_mm for fold in wall.folds if fold.row == row])
        if len(stations) < 2:
            continue
        phase = np.interp(s, stations, np.arange(len(stations)))
        along = 0.5 - 0.5 * np.cos(2.0 * np.pi * phase)
        row_angle = _wrap(from_taenia - (row + 0.5) * ROW_ANGLE, 2.0 * np.pi)
        across = np.cos(np.clip(row_angle, -0.5 * ROW_ANGLE, 0.5 * ROW_ANGLE) * 1.5) ** 2
        bulge += wall.pouch_mm * along[:, None] * across
    return bulge


def _relief_at(relief_mm: np.ndarray, centreline: Centreline, s: np.ndarray) -> np.ndarray:
    """Relief interpolated linearly at the rings, (n, m)."""
    position = np.clip(s / centreline.length_mm, 0.0, 1.0) * (len(relief_mm) - 1)
    low = np.minimum(position.astype(int), len(relief_mm) - 2)
    fraction = (position - low)[:, None]
    return (1.0 - fraction) * relief_mm[low] + fraction * relief_mm[low + 1]


def _end_caps(centreline: Centreline, s: np.ndarray) -> np.ndarray:
    """Factor that rounds both ends off like half a ball, so that no ray leaves the colon."""
    to_end = np.minimum(s, centreline.length_mm - s)
    cap = np.where(s < 0.5 * centreline.length_mm, centreline.radius_mm[0], centreline.radius_mm[-1])
    return np.sqrt(1.0 - (1.0 - np.clip(to_end / cap, 0.0, 1.0)) ** 2)


def _wrap(angle: np.ndarray, period: float) -> np.ndarray:
    """Angle to the nearest multiple of ``period``, in [-period / 2, period / 2)."""
    return (angle + 0.5 * period) % period - 0.5 * period
