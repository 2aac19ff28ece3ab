"""Triangle meshes with what the renderer interpolates across them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """Triangles with smooth attributes per vertex.

    Attributes:
        vertices: positions [mm], (V, 3).
        faces: vertex indices, (F, 3).
        normals: unit normals towards the lumen, (V, 3).
        s_mm: arc length along the colon and up its folds, first texture coordinate [mm], (V,).
        theta: angle round the colon, second texture coordinate [rad], (V,). It runs on beyond 2 pi at the seam.
        redness: 0 for plain mucosa to 1 for a polyp's head, (V,).
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    s_mm: np.ndarray
    theta: np.ndarray
    redness: np.ndarray

    @property
    def attributes(self) -> np.ndarray:
        """Normal, arc length, angle, redness side by side, (V, 6) float32, to be interpolated in one go."""
        columns = [self.normals, self.s_mm[:, None], self.theta[:, None], self.redness[:, None]]
        return np.concatenate(columns, axis=1).astype(np.float32)


def merge_meshes(meshes: list[Mesh]) -> Mesh:
    """Put meshes side by side in one."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        s_mm=np.concatenate([mesh.s_mm for mesh in meshes]),
        theta=np.concatenate([mesh.theta for mesh in meshes]),
        redness=np.concatenate([mesh.redness for mesh in meshes]),
    )


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """Two triangles a cell of a (rows, columns) vertex grid, (2 (rows - 1) (columns - 1), 3)."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])


def grid_normals(points: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Unit normals of a tube's vertex grid that is closed along its second axis (last column = first column).

    Args:
        points: vertices (rows, columns, 3).
        inside: a point inside the tube for each row, (rows, 3); the normals point to its side.
    """
    ring = points[:, :-1]
    along_theta = np.roll(ring, -1, axis=1) - np.roll(ring, 1, axis=1)
    along_s = np.gradient(ring, axis=0)
    normals = np.cross(along_s, along_theta)
    towards = inside[:, None] - ring
    mean_side = np.sign((normals * towards).sum(axis=(1, 2)).sum())
    normals *= mean_side / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return np.concatenate([normals, normals[:, :1]], axis=1)
