"""A bent tube with bumps and ridges, which fits onto itself in one way only, and clouds of points on it."""

import numpy as np
from scipy.spatial.transform import Rotation

from models.geometry.similarity import Similarity
from models.geometry.surface import draw_points

TRUE = Similarity(2.5, Rotation.from_euler("xyz", [20, -35, 110], degrees=True).as_matrix(), np.array([40.0, -7, 90]))


def bumpy_tube(rows: int = 70, columns: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of a tube of radius 10 and length 60."""
    z, theta = np.meshgrid(np.linspace(0, 60, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij")
    radius = 10 + 1.5 * np.sin(3 * theta + 0.15 * z) + np.cos(0.45 * z) + 0.7 * np.sin(5 * theta - 0.25 * z)
    points = np.stack([radius * np.cos(theta) + 6 * np.sin(z / 25), radius * np.sin(theta), z], axis=-1)
    here = np.arange(rows * columns).reshape(rows, columns)
    right, below = np.roll(here, -1, axis=1), here[1:]
    upper = np.stack([here[:-1], right[:-1], below], axis=-1).reshape(-1, 3)
    lower = np.stack([right[:-1], right[1:], below], axis=-1).reshape(-1, 3)
    return points.reshape(-1, 3), np.concatenate([upper, lower])


def points_on(vertices: np.ndarray, faces: np.ndarray, count: int, seed: int = 5, part: float = 1.0) -> np.ndarray:
    """Points (count, 3) exactly on the mesh, on the share ``part`` of its length."""
    rng = np.random.default_rng(seed)
    low, high = vertices[:, 2].min(), vertices[:, 2].max()
    inside = (vertices[faces][..., 2] <= low + part * (high - low)).all(axis=1)
    return draw_points(vertices[faces[inside]][rng.integers(inside.sum(), size=count)], rng)


def moved_back(points: np.ndarray, similarity: Similarity) -> np.ndarray:
    """The cloud that the similarity brings to the points."""
    return (points - similarity.translation) @ similarity.rotation / similarity.scale


def off(similarity: Similarity, points: np.ndarray, axis: list[float], angle_deg: float, scale: float, shift: float):
    """A start that misses a similarity: turned, scaled and shifted (in radii of the cloud) about the cloud's centre."""
    axis = np.array(axis) / np.linalg.norm(axis)
    turned = Rotation.from_rotvec(np.radians(angle_deg) * axis).as_matrix() @ similarity.rotation
    place = similarity.apply(points)
    size = np.sqrt(np.square(place - place.mean(axis=0)).sum(axis=1).mean())
    place = place.mean(axis=0) + shift * size * axis[[1, 2, 0]]
    scale *= similarity.scale
    return Similarity(scale, turned, place - scale * turned @ points.mean(axis=0))


def misses(found: Similarity, true: Similarity, points: np.ndarray) -> tuple[float, float, float]:
    """Relative error of the scale, angle [rad], and shift of the cloud's centre in radii of the cloud."""
    angle = np.linalg.norm(Rotation.from_matrix(found.rotation @ true.rotation.T).as_rotvec())
    place = true.apply(points)
    size = np.sqrt(np.square(place - place.mean(axis=0)).sum(axis=1).mean())
    shift = np.linalg.norm(found.apply(points).mean(axis=0) - place.mean(axis=0)) / size
    return abs(found.scale / true.scale - 1), float(angle), float(shift)
