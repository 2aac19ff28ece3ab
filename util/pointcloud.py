"""Depth maps as coloured point clouds, in PLY files that MeshLab, CloudCompare and Open3D read."""

from pathlib import Path

import numpy as np

from util.files import write_bytes

CAMERA_AXES = "camera axes: x right, y down, z forward"
PLY_HEADER = """\
ply
format binary_little_endian 1.0
comment unit: {unit}; {axes}
element vertex {count}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
end_header
"""
PLY_VERTEX = np.dtype([("position", "<f4", 3), ("color", "u1", 3)])


def depth_to_points(
    depth_mm: np.ndarray, K: np.ndarray, rgb: np.ndarray, max_depth_mm: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Back-project the valid pixels of a depth map.

        X(u, v) = depth(u, v) * K^-1 (u, v, 1)^T

    Args:
        depth_mm: along the optical axis [mm], (H, W); what is not finite or not > 0 is left out.
        K: pinhole intrinsics of this very size [px], (3, 3), pixel centres at integers.
        rgb: uint8, (H, W, 3).
        max_depth_mm: what lies deeper is left out [mm]; None keeps all.

    Returns:
        Points in the camera's frame (x right, y down, z forward) [mm], float32, (N, 3), and their colours,
        uint8, (N, 3); row by row as in the picture.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if depth_mm.ndim != 2 or rgb.shape != (*depth_mm.shape, 3) or K.shape != (3, 3):
        shapes = f"{depth_mm.shape}, {K.shape} and {rgb.shape}"
        raise ValueError(f"depth_mm, K and rgb must be (H, W), (3, 3) and (H, W, 3), got {shapes}")
    valid = np.isfinite(depth_mm) & (depth_mm > 0)
    if max_depth_mm is not None:
        valid &= depth_mm <= max_depth_mm
    v, u = np.nonzero(valid)
    pixels = np.stack([u, v, np.ones_like(u)], axis=1).astype(np.float64)  # (N, 3)
    points_mm = pixels @ np.linalg.inv(K).T * depth_mm[valid][:, None]
    return points_mm.astype(np.float32), rgb[valid]


def write_ply(path: Path, points: np.ndarray, colors: np.ndarray, unit: str = "mm", axes: str = CAMERA_AXES) -> None:
    """Write coloured points as binary little-endian PLY, whole or not at all.

    Args:
        path: file to write.
        points: (N, 3) [``unit``], stored as float32.
        colors: RGB, uint8, (N, 3).
        unit: of the points, for the header; points of depth without a scale are in no mm.
        axes: that they are in, for the header.

    Raises:
        ValueError: the shapes differ, or the colours are not uint8.
        OSError: the file cannot be written.
    """
    if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape:
        raise ValueError(f"points and colors must both be (N, 3), got {points.shape} and {colors.shape}")
    if colors.dtype != np.uint8:
        raise ValueError(f"colors must be uint8, got {colors.dtype}")
    vertices = np.empty(len(points), dtype=PLY_VERTEX)
    vertices["position"] = points
    vertices["color"] = colors
    write_bytes(path, PLY_HEADER.format(count=len(vertices), unit=unit, axes=axes).encode("ascii") + vertices.tobytes())
