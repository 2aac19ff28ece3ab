"""Pictures of coloured point clouds, seen from any side: every point is a small square, the nearest one is seen."""

import numpy as np

BACKGROUND = 255
FIELD = 0.9  # share of the picture that the cloud's robust extent takes
ROBUST = (1.0, 99.0)  # percentiles of that extent: a few wild points do not make the rest small


def draw_cloud(
    points: np.ndarray,
    colors: np.ndarray,
    size: tuple[int, int],
    *,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    dot_px: int = 2,
) -> np.ndarray:
    """A parallel projection of a cloud, turned about its middle; without a turn it is seen as the camera sees it.

    Args:
        points: in camera axes (x right, y down, z forward), any unit, (N, 3).
        colors: RGB, uint8, (N, 3).
        size: of the picture (H, W).
        yaw_deg: about the vertical axis; positive: from the cloud's right side [degrees].
        pitch_deg: about the horizontal axis; positive: from above [degrees].
        dot_px: side of a point [px].

    Returns:
        uint8 (H, W, 3), white where there is nothing.

    Raises:
        ValueError: the shapes differ, or there is no point.
    """
    if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape or not len(points):
        raise ValueError(f"points and colors must both be (N, 3) with N > 0, got {points.shape} and {colors.shape}")
    turned = (points - np.median(points, axis=0)) @ _turn(np.radians(yaw_deg), np.radians(pitch_deg)).T
    low, high = np.percentile(turned[:, :2], ROBUST, axis=0)
    scale = FIELD * min(size[::-1] / np.maximum(high - low, np.finfo(np.float32).tiny))
    pixels = (turned[:, :2] - (low + high) / 2) * scale + np.array(size[::-1]) / 2
    return _splat(np.floor(pixels).astype(np.int64), turned[:, 2], colors, size, dot_px)


def _turn(yaw: float, pitch: float) -> np.ndarray:
    """Rotation that brings the side of the cloud to the front from which it is looked at."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return about_x @ about_y


def _splat(pixels: np.ndarray, depth: np.ndarray, colors: np.ndarray, size: tuple[int, int], dot_px: int) -> np.ndarray:
    """Squares of ``dot_px`` at pixels (x, y), (N, 2), the nearer over the farther."""
    picture = np.full((*size, 3), BACKGROUND, np.uint8)
    order = np.argsort(-depth, kind="stable")  # the last one that is written stays
    pixels, colors = pixels[order], colors[order]
    # Each point's whole square before the next point's: else a far one would lie over a near one's edge.
    offsets = np.stack(np.meshgrid(np.arange(dot_px), np.arange(dot_px)), axis=-1).reshape(-1, 2) - dot_px // 2
    x, y = (pixels[:, None] + offsets).reshape(-1, 2).T
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    picture[y[inside], x[inside]] = np.repeat(colors, len(offsets), axis=0)[inside]
    return picture
