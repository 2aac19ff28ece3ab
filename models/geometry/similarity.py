"""The similarity that brings points onto points they are known to belong to: a scale, a rotation and a translation."""

from typing import NamedTuple

import numpy as np

MIN_POINTS = 3
ROUNDING = 1e-10  # points whose extent is below this share of their distance from the origin are one point


class Similarity(NamedTuple):
    """dst = scale * rotation @ src + translation."""

    scale: float
    rotation: np.ndarray  # (3, 3), determinant 1
    translation: np.ndarray  # (3,)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3), moved."""
        return self.scale * points @ self.rotation.T + self.translation


def umeyama(src: np.ndarray, dst: np.ndarray, with_scale: bool = True) -> Similarity:
    """The similarity of the smallest squared error, in closed form.

        s, R, t = argmin sum |dst_i - (s R src_i + t)|^2
        U D V^T = 1/N sum (dst_i - mean dst)(src_i - mean src)^T,    S = diag(1, 1, sign(det U det V))
        R = U S V^T,    s = trace(D S) / var src,    t = mean dst - s R mean src

    S keeps R a rotation where a reflection would fit better. Of points on one line the turn about that line is left
    open; R is then one of the rotations that fit equally well.
    Source: Umeyama, PAMI 1991, eq. 34 to 43.

    Args:
        src: points that are moved, float64, (N, 3).
        dst: where they belong, (N, 3), point by point.
        with_scale: whether the scale is free; otherwise it is 1.

    Raises:
        ValueError: the shapes differ, there are fewer than 3 points, one is not finite, or all of a side are one point.
    """
    if src.shape != dst.shape or src.ndim != 2 or src.shape[1] != 3:
        raise ValueError(f"src and dst must both be (N, 3), got {src.shape} and {dst.shape}")
    if len(src) < MIN_POINTS:
        raise ValueError(f"a similarity needs at least {MIN_POINTS} points, got {len(src)}")
    src, dst = src.astype(np.float64), dst.astype(np.float64)
    for name, points in (("src", src), ("dst", dst)):
        if not np.isfinite(points).all():
            raise ValueError(f"{name} has points that are not finite")
        if is_one_point(points):
            raise ValueError(f"all points of {name} are one point, which has no scale and no direction")

    mean_src, mean_dst = src.mean(axis=0), dst.mean(axis=0)
    centred_src, centred_dst = src - mean_src, dst - mean_dst
    U, D, Vt = np.linalg.svd(centred_dst.T @ centred_src / len(src))
    S = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    rotation = U * S @ Vt
    scale = float(D @ S / np.square(centred_src).sum(axis=1).mean()) if with_scale else 1.0
    return Similarity(scale, rotation, mean_dst - scale * rotation @ mean_src)


def is_one_point(points: np.ndarray) -> bool:
    """Whether points (N, 3) are all equal, but for rounding."""
    extent = np.abs(points - points.mean(axis=0)).max()
    return bool(extent <= ROUNDING * max(np.abs(points).max(), np.finfo(np.float64).tiny))
