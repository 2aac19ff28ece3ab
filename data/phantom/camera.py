"""The colonoscope's pinhole camera: pixel centres at integers, axes x right, y down, z forward."""

from dataclasses import dataclass

import cv2
import numpy as np

from util.errors import UserError

MIN_FOV_DEG, MAX_FOV_DEG = 90.0, 120.0


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera. ``fx``, ``fy``, ``cx``, ``cy`` in pixels; pixel (0, 0) is the centre of the top-left pixel."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def as_dict(self) -> dict[str, object]:
        """What is written as ``intrinsics.json``."""
        return {
            "model": "pinhole",
            "width": self.width,
            "height": self.height,
            "fx": self.fx,
            "fy": self.fy,
            "cx": self.cx,
            "cy": self.cy,
        }

    def pixel_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of all pixel centres, row by row, (H W,) each [px]."""
        y, x = np.mgrid[0 : self.height, 0 : self.width]
        return x.reshape(-1).astype(np.float64), y.reshape(-1).astype(np.float64)

    def unproject(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Points at depth 1 seen at pixels (x, y), (N, 3)."""
        return np.stack([(x - self.cx) / self.fx, (y - self.cy) / self.fy, np.ones_like(x)], axis=-1)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixel x, y and depth z of camera points (N, 3); x and y are meaningless where z <= 0."""
        z = points[:, 2]
        safe = np.where(np.abs(z) < 1e-6, 1e-6, z)
        return self.fx * points[:, 0] / safe + self.cx, self.fy * points[:, 1] / safe + self.cy, z


def square_intrinsics(size: int, fov_deg: float) -> Intrinsics:
    """Camera of ``size`` x ``size`` pixels whose outer pixel edges span ``fov_deg``.

        f = (size / 2) / tan(fov / 2),    c = (size - 1) / 2

    Raises:
        UserError: ``fov_deg`` is outside the range of colonoscopes that a pinhole can stand for.
    """
    if not MIN_FOV_DEG <= fov_deg <= MAX_FOV_DEG:
        raise UserError(f"field of view must lie in [{MIN_FOV_DEG:g}, {MAX_FOV_DEG:g}] degrees, got {fov_deg:g}")
    focal = 0.5 * size / np.tan(np.radians(0.5 * fov_deg))
    centre = 0.5 * (size - 1)
    return Intrinsics(size, size, float(focal), float(focal), centre, centre)


def transform(world_from_cam: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Camera points (N, 3) in world coordinates."""
    return cv2.transform(points[None], world_from_cam[:3])[0]


def transform_inverse(world_from_cam: np.ndarray, points: np.ndarray) -> np.ndarray:
    """World points (N, 3) in camera coordinates."""
    return rotate(world_from_cam[:3, :3].T, points - world_from_cam[:3, 3])


def rotate(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """``matrix`` (3, 3) times each of the ``vectors`` (N, 3), in their precision.

    OpenCV, since BLAS would set all cores to work on so little, and several processes would wait for each other.
    """
    return cv2.transform(vectors[None], matrix)[0]
