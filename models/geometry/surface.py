"""A surface that points are compared with: triangles, or plain points where there are none."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

SAMPLES = 40_000
NEAREST = 16  # triangles that are looked at for a point; with 8, long thin ones are missed for 2 % of the points
NEIGHBOURS = 12  # points that give a plain point its normal
BLOCK = 5_000  # points at a time: compared with ``NEAREST`` triangles each, they take some 60 MB


class Feet(NamedTuple):
    """The place on a surface that is nearest to each of N points."""

    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3), of unit length and either sign
    distances: np.ndarray  # (N,), from each point to its foot


class Surface:
    """A surface on which nearest places are looked up.

    Without triangles the nearest place is the nearest point, so that distances are too large by about half of what the
    points are apart; the normal is that of the plane through ``NEIGHBOURS`` of them.

    Args:
        points: on the surface, (N, 3).
        triangles: corners of the triangle that each point lies on, (N, 3, 3); None for plain points.

    Raises:
        ValueError: wrong shapes, no points, or some that are not finite.
    """

    def __init__(self, points: np.ndarray, triangles: np.ndarray | None = None) -> None:
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"a surface needs points (N, 3), at least one, got {points.shape}")
        if triangles is not None and triangles.shape != (len(points), 3, 3):
            raise ValueError(f"triangles must be ({len(points)}, 3, 3), one a point, got {triangles.shape}")
        if not np.isfinite(points).all():
            raise ValueError("the surface has points that are not finite")
        self.points = points.astype(np.float64)
        self.triangles = triangles
        self._tree = cKDTree(self.points)

    @classmethod
    def from_mesh(cls, vertices: np.ndarray, faces: np.ndarray, samples: int = SAMPLES, seed: int = 0) -> "Surface":
        """A mesh, with points drawn on it evenly by area; but each triangle gets one, be it ever so small.

        Args:
            vertices: (V, 3).
            faces: indices of the vertices, (F, 3); those without an area are left out.
            samples: about how many points are drawn, if there are not more triangles.
            seed: of the drawing.

        Raises:
            ValueError: wrong shapes or indices, corners that are not finite, or no triangle with an area.
        """
        if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError(f"vertices and faces must be (V, 3) and (F, 3), got {vertices.shape} and {faces.shape}")
        if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
            raise ValueError(f"faces name vertices {faces.min()} to {faces.max()}, but there are {len(vertices)}")
        corners = vertices.astype(np.float64)[faces]  # (F, 3, 3)
        if not np.isfinite(corners).all():
            raise ValueError("the mesh has corners that are not finite")
        areas = np.linalg.norm(_upright(corners), axis=1) / 2
        if not areas.sum() > 0:
            raise ValueError("the mesh has no triangle with an area")
        triangles = corners.repeat(np.ceil(samples * areas / areas.sum()).astype(int), axis=0)  # (N, 3, 3)
        return cls(draw_points(triangles, np.random.default_rng(seed)), triangles)

    def closest(self, points: np.ndarray) -> Feet:
        """The nearest place to each of the points (N, 3).

        On a mesh it is exact on each of the triangles that the ``NEAREST`` drawn points lie on. Another triangle may be
        nearer still, by less than the drawn points are apart: a distance may be too large, but never too small.
        """
        find = self._closest_points if self.triangles is None else self._closest_on_triangles
        parts = [find(points[start : start + BLOCK]) for start in range(0, max(len(points), 1), BLOCK)]
        return Feet(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _closest_points(self, points: np.ndarray) -> Feet:
        distances, indices = self._tree.query(points)
        feet = self.points[indices]
        _, around = self._tree.query(feet, k=range(1, 1 + min(NEIGHBOURS, len(self.points))))
        return Feet(feet, plane_normals(self.points[around]), distances)

    def _closest_on_triangles(self, points: np.ndarray) -> Feet:
        _, indices = self._tree.query(points, k=range(1, 1 + min(NEAREST, len(self.points))))
        triangles = self.triangles[indices]  # (N, k, 3, 3)
        feet = nearest_on_triangles(points[:, None], triangles)
        distances = np.linalg.norm(feet - points[:, None], axis=2)
        best = np.arange(len(points)), distances.argmin(axis=1)
        upright = _upright(triangles[best])
        return Feet(feet[best], upright / np.linalg.norm(upright, axis=1, keepdims=True), distances[best])


def draw_points(triangles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random point of each of the triangles (N, 3, 3), all places of a triangle alike: (N, 3)."""
    u, v = rng.random((2, len(triangles), 1))
    outside = u + v > 1  # in the other half of the parallelogram, which is turned back onto the triangle
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return triangles[:, 0] + u * (triangles[:, 1] - triangles[:, 0]) + v * (triangles[:, 2] - triangles[:, 0])


def nearest_on_triangles(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The place on each triangle (..., 3, 3) that is nearest to its point (..., 3), in the shape of both.

    It is the foot on the triangle's plane where that lies within, else the nearest of the places on the three sides.
    """
    corners = [triangles[..., index, :] for index in range(3)]
    sides = list(zip(corners, corners[1:] + corners[:1], strict=True))
    upright = _upright(triangles)
    square = _dot(upright, upright)
    # On the inner side of all three sides; a triangle without an area has no inside.
    turns = [_dot(np.cross(end - start, points - start), upright) for start, end in sides]
    inside = np.all([turn >= 0 for turn in turns], axis=0) & (square > 0)
    height = _dot(points - corners[0], upright) / np.where(square > 0, square, 1.0)
    on_plane = points - height[..., None] * upright
    on_sides = np.stack([nearest_on_segments(points, start, end) for start, end in sides])
    ways = on_sides - points
    nearest = _dot(ways, ways).argmin(axis=0)
    on_side = np.take_along_axis(on_sides, nearest[None, ..., None], axis=0)[0]
    return np.where(inside[..., None], on_plane, on_side)


def nearest_on_segments(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The place between ``start`` and ``end`` that is nearest to each point, (..., 3) all."""
    along = end - start
    square = _dot(along, along)
    share = _dot(points - start, along) / np.where(square > 0, square, 1.0)
    return start + share.clip(0.0, 1.0)[..., None] * along


def plane_normals(groups: np.ndarray) -> np.ndarray:
    """Unit normals of the planes of least squares through groups of points (N, k, 3): (N, 3)."""
    centred = groups - groups.mean(axis=1, keepdims=True)
    return np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1][..., 0]  # along the least extent


def _upright(triangles: np.ndarray) -> np.ndarray:
    """Perpendicular to triangles (..., 3, 3), as long as twice their area: (..., 3)."""
    first, second, third = (triangles[..., index, :] for index in range(3))
    return np.cross(second - first, third - first)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", a, b)
