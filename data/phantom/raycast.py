"""Ray casting against a mesh with Embree."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from data.phantom.mesh import Mesh

RELATIVE_SLACK, SLACK_MM = 1e-4, 5e-3  # a point lies on the surface that hides it from nobody: stop short of it


@dataclass(frozen=True)
class Hits:
    """Where N rays first meet the mesh.

    Attributes:
        distance_mm: along the (unit) ray [mm], (N,).
        normals: interpolated unit normals in world axes, (N, 3).
        s_mm: arc length along the colon and up its folds [mm], (N,).
        theta: angle round the colon [rad], (N,).
        redness: 0 mucosa to 1 polyp, (N,).
    """

    distance_mm: np.ndarray
    normals: np.ndarray
    s_mm: np.ndarray
    theta: np.ndarray
    redness: np.ndarray


class Raycaster:
    """A mesh ready for ray queries."""

    def __init__(self, mesh: Mesh) -> None:
        self._scene = EmbreeScene()
        self._faces = mesh.faces.astype(np.int32)
        self._attributes = mesh.attributes
        self._geometry = TriangleMesh(self._scene, mesh.vertices.astype(np.float32), self._faces)

    def distance(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Distance [mm] to the first hit of rays with unit ``directions``, each (N, 3); inf where none."""
        hits = self._scene.run(_rays(origins), _rays(directions), output=True)
        return np.where(hits["primID"] >= 0, hits["tfar"], np.inf)

    def cast(self, origin: np.ndarray, directions: np.ndarray) -> Hits:
        """First hits of the rays from ``origin`` (3,) along the unit ``directions`` (N, 3).

        Raises:
            RuntimeError: a ray leaves the mesh; the mesh is then not closed.
        """
        origins = np.broadcast_to(origin, directions.shape)
        hits = self._scene.run(_rays(origins), _rays(directions), output=True)
        if (hits["primID"] < 0).any():
            raise RuntimeError(f"{int((hits['primID'] < 0).sum())} of {len(directions)} rays left the colon")
        corners = self._faces[hits["primID"]]  # (N, 3)
        u, v = hits["u"][:, None], hits["v"][:, None]
        values = (1.0 - u - v) * self._attributes[corners[:, 0]]
        values += u * self._attributes[corners[:, 1]] + v * self._attributes[corners[:, 2]]
        normals = values[:, :3] / np.maximum(np.linalg.norm(values[:, :3], axis=1, keepdims=True), 1e-6)
        return Hits(hits["tfar"], normals, values[:, 3], values[:, 4], values[:, 5])

    def is_visible(self, origin: np.ndarray, points: np.ndarray) -> np.ndarray:
        """True for each of the ``points`` (N, 3) on the surface that is seen from ``origin`` (3,)."""
        offset = points - origin
        distance = np.linalg.norm(offset, axis=1)
        limit = distance * (1.0 - RELATIVE_SLACK) - SLACK_MM
        origins = np.broadcast_to(origin, points.shape)
        directions = offset / np.maximum(distance, 1e-9)[:, None]
        blocked = self._scene.run(
            _rays(origins), _rays(directions), np.maximum(limit, 0.0).astype(np.float32), query="OCCLUDED"
        )
        return blocked != 0  # Embree's OCCLUDED answers 0 where something was hit, -1 where nothing


def _rays(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors, dtype=np.float32)
