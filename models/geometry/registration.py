"""Registration of a cloud of points to a surface by a similarity, when nobody knows which point belongs where.

As in all iterated closest points, the nearest places of the surface are taken for what the points belong to, the cloud
is moved to fit them, and so on. Two things are not as usual:

The cloud is fitted to the planes in which these places lie (Chen and Medioni, Image and Vision Computing 1992), with
the scale as a seventh number beside rotation and translation. Fitting the places themselves in closed form (Besl and
McKay, PAMI 1992) cannot slide along smooth walls: after 100 iterations from a start that is off by 10 degrees and 20 %
the scale is still wrong by up to 6 % on a rendered colon. The planes bring it to 0.001 % in 5 to 10.

What is made least are the distances in the cloud's unit, that is divided by the scale. The noise is the cloud's: in the
surface's unit it shrinks with the cloud, and so the cloud that fits best is too small: on a gently curved wall, with
noise of 2 % of its width, by 38 %. In the cloud's unit it is too large there by 1.5 %.

Even so a small residual says little of the scale, which a smooth wall hardly resists. It is therefore kept within
bounds, and is to be told beside the residual.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from models.geometry.similarity import Similarity, is_one_point
from models.geometry.surface import Feet, Surface

MIN_POINTS = 10  # seven numbers are fitted, and some points are left out
TRIM, SCALE_BOUNDS = 0.1, (0.5, 2.0)
FIT_POINTS, FIRST_POINTS = 2_000, 500
PATIENCE = 5  # iterations without a gain, after which it is enough
MAX_STEP = 0.3  # rotation [rad], logarithm of the scale, shift [radii of the cloud]: beyond, the step is no more linear
DAMPING = 1e-6  # where the surface says nothing (a plane may slide, a ball turn) the cloud stays where it is


class Registration(NamedTuple):
    """A cloud of N points on a surface; lengths are in the surface's unit.

    ``mean`` and ``p95`` (what 95 % do not exceed) are of all distances. ``trimmed_mean`` is of the smallest, whose
    share of the points is ``share_used``, as in the fit.
    """

    similarity: Similarity  # surface_from_cloud
    start: Similarity  # the one that led there
    distances: np.ndarray  # (N,), from each point to the surface
    mean: float
    trimmed_mean: float
    p95: float
    share_used: float
    iterations: int
    converged: bool
    at_bound: bool  # the scale has come to one of its bounds and is not to be trusted


class Fit(NamedTuple):
    """What one start led to; ``residual`` is the trimmed mean distance of the fitted points, in the cloud's unit."""

    similarity: Similarity
    residual: float
    iterations: int
    converged: bool
    at_bound: bool


class Rules(NamedTuple):
    """How a fit goes on and when it ends; see ``register``."""

    trim: float
    iterations: int
    scale_bounds: tuple[float, float]
    tolerance: float


def register(
    points: np.ndarray,
    surface: Surface,
    starts: Sequence[Similarity],
    *,
    trim: float = TRIM,
    iterations: int = 100,
    scale_bounds: tuple[float, float] = SCALE_BOUNDS,
    tolerance: float = 1e-5,
    fit_points: int = FIT_POINTS,
    seed: int = 0,
) -> Registration:
    """Bring a cloud onto a surface, from several starts, of which the best is kept.

    From each start ``FIRST_POINTS`` of the points are fitted. The best has the smallest trimmed mean distance in the
    cloud's unit; from there on more points are fitted.

    Args:
        points: the cloud, of any unit, (N, 3).
        surface: may extend beyond the cloud, which need not cover it.
        starts: surface_from_cloud, about; see ``registration_starts.py``.
        trim: share of the points that are not fitted, each time those farthest from the surface.
        iterations: at most so many a start.
        scale_bounds: smallest and largest scale, as multiples of the start's.
        tolerance: a gain in ``PATIENCE`` iterations that is none, as a share of the cloud's radius.
        fit_points: larger clouds are fitted by so many of their points; the distances are of all.
        seed: of which.

    Raises:
        ValueError: the cloud is not (N, 3), has fewer than 10 points, all in one place, or some that are not finite;
            there is no start, or one without a positive scale; or a parameter lies outside its range.
    """
    check_cloud(points)
    _check_parameters(starts, trim, iterations, scale_bounds, fit_points)
    points = points.astype(np.float64)
    drawn = points[np.random.default_rng(seed).permutation(len(points))[:fit_points]]
    rules = Rules(trim, iterations, scale_bounds, tolerance)
    first = [_fit(drawn[:FIRST_POINTS], surface, start, start.scale, rules) for start in starts]
    start, found = min(zip(starts, first, strict=True), key=lambda pair: pair[1].residual)
    best = _fit(drawn, surface, found.similarity, start.scale, rules)
    distances = surface.closest(best.similarity.apply(points)).distances
    used = _count_used(len(points), trim)
    return Registration(
        best.similarity,
        start,
        distances,
        mean=float(distances.mean()),
        trimmed_mean=float(np.sort(distances)[:used].mean()),
        p95=float(np.percentile(distances, 95)),
        share_used=used / len(points),
        iterations=found.iterations + best.iterations,
        converged=best.converged,
        at_bound=best.at_bound,
    )


def plane_step(points: np.ndarray, feet: Feet, current: Similarity) -> Similarity:
    """The similarity that brings points nearer to the planes of their feet: one Gauss-Newton step.

        q = s R p + t,    c = mean foot,    u = (q - c) / r,    v = (foot - c) / r,    r^2 = mean |q - mean q|^2
        q' = c + r shift + e^growth exp(turn) (q - c)
        n . (q' - foot) / (r e^growth)  ~  n . (u - v) + turn . (u x n) + growth n . v + shift . n

    This is the distance from the plane in radii of the cloud, which have grown to r e^growth. All turns and grows about
    the feet, so that a cloud before a plane is shifted there, and not made large until the way counts little.
    Its squares are added up over the points, and ``DAMPING`` times those of the seven numbers; the least sum is taken.
    A step longer than ``MAX_STEP`` is cut short.

    Args:
        points: p, (N, 3), not all in one place.
        feet: foot and n of each moved point q.
        current: s, R, t.
    """
    moved = current.apply(points)
    centre = feet.points.mean(axis=0)
    radius = rms_radius(moved)
    arms, foot_arms = (moved - centre) / radius, (feet.points - centre) / radius
    A = plane_slopes(arms, foot_arms, feet.normals)
    b = ((foot_arms - arms) * feet.normals).sum(axis=1)
    step = np.linalg.solve(A.T @ A / len(A) + DAMPING * np.eye(7), A.T @ b / len(A))
    step *= MAX_STEP / max(np.abs(step).max(), MAX_STEP)
    turn, growth, shift = Rotation.from_rotvec(step[:3]).as_matrix(), float(np.exp(step[3])), radius * step[4:]
    translation = centre + shift + growth * turn @ (current.translation - centre)
    return Similarity(growth * current.scale, turn @ current.rotation, translation)


def plane_slopes(arms: np.ndarray, foot_arms: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """How the distances from planes change with turn (3), growth (1) and shift (3), (N, 7); see ``plane_step``.

    Args:
        arms: u, (N, 3).
        foot_arms: v, (N, 3).
        normals: n, (N, 3).
    """
    growth = (foot_arms * normals).sum(axis=1, keepdims=True)
    return np.concatenate([np.cross(arms, normals), growth, normals], axis=1)


def rms_radius(points: np.ndarray) -> float:
    """Root of the mean squared distance of points (N, 3) from their centre."""
    return float(np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=1).mean()))


def _fit(points: np.ndarray, surface: Surface, current: Similarity, scale: float, rules: Rules) -> Fit:
    """Iterate from ``current``, the scale being bounded in multiples of ``scale``.

    The best iterate is kept, since the last one need not be it.
    """
    low, high = (bound * scale for bound in rules.scale_bounds)
    used, centre = _count_used(len(points), rules.trim), points.mean(axis=0)
    least_gain = rules.tolerance * rms_radius(points)
    best, residuals, converged = current, [], False
    for _ in range(rules.iterations + 1):
        feet = surface.closest(current.apply(points))
        kept = np.argpartition(feet.distances, used - 1)[:used]
        residuals.append(float(feet.distances[kept].mean()) / current.scale)
        best = current if residuals[-1] == min(residuals) else best
        converged = _gain(residuals) <= least_gain
        if converged:
            break
        current = plane_step(points[kept], Feet(*(array[kept] for array in feet)), current)
        bounded = current._replace(scale=min(max(current.scale, low), high))
        current = keeping(bounded, centre, current.apply(centre))
    at_bound = low < high and best.scale in (low, high)
    return Fit(best, min(residuals), len(residuals) - 1, converged, at_bound)


def _gain(residuals: list[float]) -> float:
    """What the last ``PATIENCE`` iterations have gained."""
    before, since = residuals[:-PATIENCE], residuals[-PATIENCE:]
    return min(before) - min(since) if before else np.inf


def keeping(similarity: Similarity, centre: np.ndarray, place: np.ndarray) -> Similarity:
    """The similarity with the translation that brings ``centre`` to ``place``."""
    return similarity._replace(translation=place - similarity.scale * similarity.rotation @ centre)


def _count_used(count: int, trim: float) -> int:
    return count - int(trim * count)


def check_cloud(points: np.ndarray) -> None:
    """Raise the errors of ``register`` about the cloud."""
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"a cloud must be (N, 3), got {points.shape}")
    if len(points) < MIN_POINTS:
        raise ValueError(f"a cloud needs at least {MIN_POINTS} points to be registered, got {len(points)}")
    if not np.isfinite(points).all():
        raise ValueError("the cloud has points that are not finite")
    if is_one_point(points):
        raise ValueError("all points of the cloud are one point, which has no scale and no direction")


def _check_parameters(
    starts: Sequence[Similarity], trim: float, iterations: int, scale_bounds: tuple[float, float], fit_points: int
) -> None:
    if not starts:
        raise ValueError("a registration needs at least one start")
    scales = [start.scale for start in starts]
    if not all(0 < scale < np.inf for scale in scales):
        raise ValueError(f"the scales of the starts must be positive, got {scales}")
    if not 0 <= trim < 1:
        raise ValueError(f"trim must lie in [0, 1), got {trim}")
    if not 0 < scale_bounds[0] <= 1 <= scale_bounds[1] < np.inf:
        raise ValueError(f"scale_bounds are multiples of the start's scale and must hold 1, got {scale_bounds}")
    if iterations < 1 or fit_points < MIN_POINTS:
        raise ValueError(f"need iterations >= 1 and fit_points >= {MIN_POINTS}, got {iterations} and {fit_points}")
