"""Fisheye cameras of endoscopes, and pictures as a pinhole in the same place would have seen them.

Points are in the camera's axes (x right, y down, z forward); pixel (0, 0) is the centre of the top-left pixel. A
pinhole in the same place and direction sees the same depth along the optical axis, so undistorting moves depth values
and changes none.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import cv2
import numpy as np

from util.intrinsics import Intrinsics

TABLE_SIZE = 4096  # radii at which the angle of a ray is tabulated, as the start of Newton's method
NEWTON_STEPS = 8
UNREACHED = -1e6  # what OpenCV gives for a pixel that no ray of its polynomial meets


class FisheyeCamera(Protocol):
    """What undistorting needs; hashable, since its maps are kept."""

    size: tuple[int, int]  # (H, W)

    def project(self, points: np.ndarray) -> np.ndarray: ...
    def unproject(self, pixels: np.ndarray) -> np.ndarray: ...
    def pinhole(self) -> Intrinsics: ...


@dataclass(frozen=True)
class OmnidirectionalCamera:
    """The model of Scaramuzza et al. (ICVS 2006), as C3VD is calibrated.

    A pixel less the centre, freed of the stretch ((c, d), (e, 1)), is (u, v); its ray is (u, v, p(rho)) with
    p(rho) = a0 + a2 rho^2 + a3 rho^3 + a4 rho^4 and rho = |(u, v)|.
    """

    size: tuple[int, int]
    cx: float
    cy: float
    a0: float
    a2: float
    a3: float
    a4: float
    c: float = 1.0
    d: float = 0.0
    e: float = 0.0

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Unit rays (..., 3) of pixels (..., 2) [px]."""
        centred = np.asarray(pixels, np.float64) - (self.cx, self.cy)
        plane = centred @ np.linalg.inv(self._stretch).T
        rho = np.linalg.norm(plane, axis=-1, keepdims=True)
        rays = np.concatenate([plane, self._forward(rho)], axis=-1)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) [px] of points (..., 3), found by Newton's method; nan where no pixel sees the point."""
        points = np.asarray(points, np.float64)
        off_axis, z = np.linalg.norm(points[..., :2], axis=-1), points[..., 2]
        angle = np.arctan2(off_axis, z)
        radii, angles = self._table
        rho = np.interp(angle, angles, radii)
        for _ in range(NEWTON_STEPS):  # of z rho - off_axis p(rho) = 0
            slope = z - off_axis * self._slope(rho)
            rho = rho - (z * rho - off_axis * self._forward(rho)) / np.where(slope == 0, 1.0, slope)
        rho = np.where(angle <= angles[-1], rho, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            direction = np.where(off_axis[..., None] > 0, points[..., :2] / off_axis[..., None], 0.0)
        return direction * rho[..., None] @ self._stretch.T + (self.cx, self.cy)

    def pinhole(self) -> Intrinsics:
        """The pinhole of the same centre that magnifies as much there."""
        K = np.array([[self.a0, 0.0, self.cx], [0.0, self.a0, self.cy], [0.0, 0.0, 1.0]])
        return Intrinsics(K, self.size)

    def _forward(self, rho: np.ndarray) -> np.ndarray:
        return self.a0 + rho**2 * (self.a2 + rho * (self.a3 + rho * self.a4))

    def _slope(self, rho: np.ndarray) -> np.ndarray:
        return rho * (2 * self.a2 + rho * (3 * self.a3 + rho * 4 * self.a4))

    @property
    def _stretch(self) -> np.ndarray:
        return np.array([[self.c, self.d], [self.e, 1.0]])

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Radii up to the farthest corner, and the angles of their rays; cut where the angle stops growing."""
        height, width = self.size
        corners = np.array([[x, y] for x in (0, width - 1) for y in (0, height - 1)], np.float64)
        reach = np.linalg.norm((corners - (self.cx, self.cy)) @ np.linalg.inv(self._stretch).T, axis=-1).max()
        radii = np.linspace(0.0, reach, TABLE_SIZE)
        angles = np.arctan2(radii, self._forward(radii))
        growing = np.flatnonzero(np.diff(angles) <= 0)
        end = growing[0] + 1 if growing.size else TABLE_SIZE
        return radii[:end], angles[:end]


@dataclass(frozen=True)
class KannalaBrandtCamera:
    """OpenCV's fisheye (Kannala and Brandt, PAMI 2006): theta_d = theta (1 + k1 theta^2 + ... + k4 theta^8)."""

    size: tuple[int, int]
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Unit rays (..., 3) of pixels (..., 2) [px]; nan where the polynomial does not reach, or not forward."""
        pixels = np.asarray(pixels, np.float64)
        plane = cv2.fisheye.undistortPoints(pixels.reshape(-1, 1, 2), self._K, self._distortion).reshape(-1, 2)
        plane = np.where(plane == UNREACHED, np.nan, plane)
        rays = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
        return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).reshape(*pixels.shape[:-1], 3)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) [px] of points (..., 3)."""
        points = np.asarray(points, np.float64)
        off_axis = np.linalg.norm(points[..., :2], axis=-1)
        theta = np.arctan2(off_axis, points[..., 2])
        square = theta**2
        bent = theta * (1 + square * (self.k1 + square * (self.k2 + square * (self.k3 + square * self.k4))))
        with np.errstate(invalid="ignore", divide="ignore"):
            direction = np.where(off_axis[..., None] > 0, points[..., :2] / off_axis[..., None], 0.0)
        return direction * bent[..., None] * (self.fx, self.fy) + (self.cx, self.cy)

    def pinhole(self) -> Intrinsics:
        """The pinhole of the same centre that magnifies as much there."""
        return Intrinsics(self._K, self.size)

    @property
    def _K(self) -> np.ndarray:
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def _distortion(self) -> np.ndarray:
        return np.array([self.k1, self.k2, self.k3, self.k4])


def undistort_picture(picture: np.ndarray, camera: FisheyeCamera) -> np.ndarray:
    """A picture float32 (H, W, 3) through ``camera.pinhole()``, bilinear; 0 where the fisheye saw nothing."""
    return cv2.remap(picture, *undistortion_map(camera), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def undistort_depth(depth_mm: np.ndarray, camera: FisheyeCamera) -> np.ndarray:
    """Depth [mm] (H, W) through ``camera.pinhole()``; the nearest pixel, so that depths on both sides of an edge
    are not mixed, and 0 where the fisheye saw nothing."""
    return cv2.remap(depth_mm, *undistortion_map(camera), cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)


@lru_cache(maxsize=4)
def undistortion_map(camera: FisheyeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the pinhole's picture is in that of the fisheye: x and y, float32 (H, W) [px]."""
    K, (height, width) = camera.pinhole()
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    places = np.nan_to_num(camera.project(rays), nan=-1e4).astype(np.float32)  # far outside the picture
    return places[..., 0], places[..., 1]
