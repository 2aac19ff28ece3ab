"""Semilunar folds: thin crescents between the taeniae, which give the colon its triangular lumen.

Three longitudinal muscle bands (taeniae) divide the wall into three rows. A fold crosses one row; its free edge is
nearly a straight chord, so that three folds at one station leave a triangular opening with corners at the taeniae.
"""

from dataclasses import dataclass

import numpy as np

from data.phantom.centreline import Centreline

NUM_ROWS = 3
MIN_SPACING_MM = 15.0
MAX_SPACING_MM = 40.0
MIN_PROTRUSION_MM, MAX_PROTRUSION_MM = 3.0, 9.0
MIN_PROTRUSION, MAX_PROTRUSION = 0.2, 0.45  # of the lumen radius


@dataclass(frozen=True)
class Fold:
    """One semilunar fold.

    Attributes:
        row: which of the three rows it crosses.
        station_mm: arc length of its middle [mm].
        height_mm: how far its free edge stands into the lumen in the middle [mm].
        thickness_mm: full thickness at half height [mm].
        tilt_mm: shift along the colon per radian across the row [mm].
        arch_mm: shift along the colon per radian squared [mm].
        lean: shift of the edge along the colon per mm of height; makes folds overhang.
        straightness: 1 is a straight free edge, 0 a round one.
        offset_rad: the fold's middle from the row's middle [rad].
    """

    row: int
    station_mm: float
    height_mm: float
    thickness_mm: float
    tilt_mm: float
    arch_mm: float
    lean: float
    straightness: float
    offset_rad: float

    @property
    def steep_mm(self) -> float:
        """Distance from the station within which the fold is steep and needs a fine mesh [mm]."""
        return 1.5 * self.thickness_mm + abs(self.tilt_mm) + abs(self.arch_mm)

    @property
    def reach_mm(self) -> float:
        """Distance from the station beyond which less than 0.1 % of the height is left [mm]."""
        return 3.0 * self.thickness_mm + 1.2 * abs(self.tilt_mm) + 1.5 * abs(self.arch_mm)

    def height(self, s_mm: np.ndarray, row_angle: np.ndarray, radius_mm: float) -> np.ndarray:
        """Inward displacement (n, m) [mm] at arc lengths ``s_mm`` (n,) and angles from the row's middle (m,) [rad].

        ``radius_mm`` is the lumen's mean radius here.
        """
        angle = np.clip(row_angle - self.offset_rad, -1.2, 1.2)  # beyond lies nothing but other rows
        x = (s_mm[:, None] - self.station_mm - self.tilt_mm * angle - self.arch_mm * angle**2) / (
            0.5 * self.thickness_mm
        )
        return self._crescent(angle, radius_mm) / (1.0 + x**4)

    def _crescent(self, angle: np.ndarray, radius_mm: float) -> np.ndarray:
        """Height of the free edge above the wall [mm]: a chord of the lumen, mixed with a rounder arc."""
        chord = radius_mm - (radius_mm - self.height_mm) / np.cos(angle)
        soft = 0.06 * radius_mm
        chord = soft * np.logaddexp(0.0, chord / soft)
        arc = self.height_mm * np.exp(-((angle / 0.6) ** 4))
        return self.straightness * chord + (1.0 - self.straightness) * arc


def random_folds(rng: np.random.Generator, centreline: Centreline) -> list[Fold]:
    """Draw the folds of a whole colon, ordered along it."""
    ring_share = rng.uniform(0.45, 0.95)  # how often all three rows fold at nearly one station
    style = {
        "protrusion": rng.uniform(0.26, 0.42),
        "thickness": rng.uniform(2.2, 3.4),
        "spacing": rng.uniform(17.0, 32.0),
        "straightness": rng.uniform(0.6, 1.0),
    }
    folds: list[Fold] = []
    station = rng.uniform(5.0, 15.0)
    while station < centreline.length_mm - 5.0:
        is_ring = rng.random() < ring_share
        rows = range(NUM_ROWS) if is_ring else rng.permutation(NUM_ROWS)[: rng.integers(1, 3)]
        scatter_mm = 1.2 if is_ring else 4.0
        for row in rows:
            folds.append(_random_fold(rng, centreline, int(row), station + rng.normal(0.0, scatter_mm), style))
        station += float(np.clip(style["spacing"] * rng.lognormal(0.0, 0.25), MIN_SPACING_MM, MAX_SPACING_MM))
    return sorted(folds, key=lambda fold: fold.station_mm)


def _random_fold(
    rng: np.random.Generator, centreline: Centreline, row: int, station_mm: float, style: dict[str, float]
) -> Fold:
    radius = float(centreline.radius_at(station_mm))
    protrusion = np.clip(style["protrusion"] * rng.lognormal(0.0, 0.15), MIN_PROTRUSION, MAX_PROTRUSION)
    return Fold(
        row=row,
        station_mm=station_mm,
        height_mm=float(np.clip(protrusion * radius, MIN_PROTRUSION_MM, MAX_PROTRUSION_MM)),
        thickness_mm=float(np.clip(style["thickness"] * rng.lognormal(0.0, 0.12), 2.0, 4.0)),
        tilt_mm=rng.normal(0.0, 1.2),
        arch_mm=rng.normal(0.0, 1.0),
        lean=float(np.clip(rng.normal(0.0, 0.22), -0.5, 0.5)),
        straightness=float(np.clip(style["straightness"] + rng.normal(0.0, 0.1), 0.3, 1.0)),
        offset_rad=rng.normal(0.0, 0.07),
    )
