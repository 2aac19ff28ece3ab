"""The middle line of a colon: a smooth curve in space with a frame that does not twist along it."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from data.phantom.smooth_noise import smooth_curve

MIN_BEND_RADIUS_MM = 40.0
MAX_BEND_RADIUS_MM = 150.0
MIN_LUMEN_RADIUS_MM = 10.0
MAX_LUMEN_RADIUS_MM = 30.0
MAX_RADIUS_TO_BEND = 0.55  # the wall's inner side would fold over itself at 1; pouches bulge beyond the lumen radius
STEP_MM = 0.5
WALL_GAP_MM = 12.0  # between the lumina of two loops: twice a pouch's bulge, and a gap


@dataclass(frozen=True)
class Centreline:
    """Curve, parallel-transport frame and lumen radius, sampled every ``STEP_MM`` of arc length.

    Attributes:
        s_mm: arc length [mm], (N,).
        points: positions [mm], (N, 3).
        frames: columns are the tangent and the two normals of the parallel-transport frame, (N, 3, 3).
        curvature: 1 / bend radius [1/mm], (N,).
        radius_mm: mean lumen radius [mm], (N,).
    """

    s_mm: np.ndarray
    points: np.ndarray
    frames: np.ndarray
    curvature: np.ndarray
    radius_mm: np.ndarray

    @property
    def length_mm(self) -> float:
        return float(self.s_mm[-1])

    def at(self, s_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (..., 3) and frame (..., 3, 3) at arc length ``s_mm``; beyond the ends it goes straight on."""
        s_inside = np.clip(s_mm, 0.0, self.length_mm)
        spline = CubicSpline(self.s_mm, np.concatenate([self.points, self.frames.reshape(-1, 9)], axis=1))
        values = spline(s_inside)
        frames = values[..., 3:].reshape(*np.shape(s_mm), 3, 3)
        points = values[..., :3] + (s_mm - s_inside)[..., None] * frames[..., :, 0]
        return points, frames

    def radius_at(self, s_mm: np.ndarray) -> np.ndarray:
        """Mean lumen radius [mm] at arc length ``s_mm``."""
        return np.interp(s_mm, self.s_mm, self.radius_mm)


def random_centreline(rng: np.random.Generator, length_mm: float) -> Centreline:
    """Draw centrelines until one does not run into itself."""
    while True:
        centreline = _draw(rng, length_mm)
        if not _meets_itself(centreline):
            return centreline


def _draw(rng: np.random.Generator, length_mm: float) -> Centreline:
    num = round(length_mm / STEP_MM) + 1
    period = 80.0 / STEP_MM  # bends and narrowings change over 80 mm or more, as flexures and segments do
    low, high = 1.0 / MAX_BEND_RADIUS_MM, 1.0 / MIN_BEND_RADIUS_MM
    # The power makes long gentle stretches and a few sharp flexures.
    curvature = low + (high - low) * _squash(smooth_curve(rng, num, period)[:, 0]) ** 1.5
    bend_direction = np.cumsum(smooth_curve(rng, num, period)[:, 0]) * STEP_MM / 60.0 + rng.uniform(0, 2 * np.pi)
    points, frames = _integrate(curvature, bend_direction)
    mean_radius = rng.uniform(14.0, 25.0)
    radius = mean_radius * (1.0 + 0.13 * smooth_curve(rng, num, period)[:, 0])
    radius = np.minimum(radius, MAX_RADIUS_TO_BEND / curvature)
    radius = np.clip(radius, MIN_LUMEN_RADIUS_MM, MAX_LUMEN_RADIUS_MM)
    return Centreline(np.arange(num) * STEP_MM, points, frames, curvature, radius)


def _squash(x: np.ndarray) -> np.ndarray:
    """Map a curve of standard deviation 1 smoothly into (0, 1)."""
    return 0.5 + 0.5 * np.tanh(x)


def _integrate(curvature: np.ndarray, bend_direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bishop frame: T' = k1 N1 + k2 N2, N1' = -k1 T, N2' = -k2 T, with (k1, k2) = curvature (cos, sin)(direction).

    Each step turns the frame exactly (Rodrigues) about the axis -k2 N1 + k1 N2, so it stays orthonormal.
    """
    k1, k2 = curvature * np.cos(bend_direction), curvature * np.sin(bend_direction)
    points, frames = np.zeros((len(k1), 3)), np.zeros((len(k1), 3, 3))
    frame = np.eye(3)[:, [2, 0, 1]]
    for i in range(len(k1)):
        frames[i] = frame
        if i + 1 < len(k1):
            axis = np.array([0.0, -k2[i], k1[i]]) * STEP_MM  # in the frame's own coordinates
            turned = frame @ _rotation(axis)
            points[i + 1] = points[i] + 0.5 * STEP_MM * (frame[:, 0] + turned[:, 0])
            frame = turned
    return points, frames


def _rotation(axis: np.ndarray) -> np.ndarray:
    """Rotation matrix by ``|axis|`` radians about ``axis`` (Rodrigues)."""
    angle = np.linalg.norm(axis)
    x, y, z = axis / max(angle, 1e-12)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def _meets_itself(centreline: Centreline) -> bool:
    """True when two parts of the tube that are far apart along it come too near in space."""
    every = round(4.0 / STEP_MM)
    points, radius, s = centreline.points[::every], centreline.radius_mm[::every], centreline.s_mm[::every]
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    touching = radius[:, None] + radius[None] + WALL_GAP_MM
    # Neighbours along a bend are near each other without meeting: the bend radius guards those.
    apart = np.abs(s[:, None] - s[None]) > 1.8 * touching
    return bool(np.any(apart & (distance < touching)))
