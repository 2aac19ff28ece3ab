"""Polyps: sessile domes, which are part of the wall, and heads on a stalk, which are meshes of their own."""

from dataclasses import dataclass

import numpy as np
import trimesh

from data.phantom.centreline import Centreline
from data.phantom.mesh import Mesh, grid_faces, grid_normals, merge_meshes

FREE_END_MM = 50.0  # no polyp this near an end: no camera gets there to see it


@dataclass(frozen=True)
class SessilePolyp:
    """A dome on the wall.

    Attributes:
        station_mm: arc length of its middle [mm].
        theta: angle of its middle [rad].
        radius_mm: radius of its base [mm].
        height_mm: height above the wall [mm].
    """

    station_mm: float
    theta: float
    radius_mm: float
    height_mm: float

    @property
    def steep_mm(self) -> float:
        """Distance from the middle within which the dome needs a fine mesh [mm]."""
        return 1.5 * self.radius_mm

    def height(self, s_mm: np.ndarray, theta: np.ndarray, lumen_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inward displacement [mm] and redness on the grid of ``s_mm`` (n, 1) and ``theta`` (1, m)."""
        across = ((theta - self.theta + np.pi) % (2.0 * np.pi) - np.pi) * lumen_mm
        square = ((s_mm - self.station_mm) ** 2 + across**2) / self.radius_mm**2
        lobes = 1.0 + 0.12 * np.sin(3.0 * np.arctan2(across, s_mm - self.station_mm) + self.theta)
        dome = np.exp(-((square * lobes) ** 1.8))
        return self.height_mm * dome, dome


@dataclass(frozen=True)
class StalkedPolyp:
    """A head on a stalk. ``head_mm`` and ``stalk_mm`` are the head's radius and the stalk's length [mm]."""

    station_mm: float
    theta: float
    head_mm: float
    stalk_mm: float
    lean_rad: float


def random_polyps(rng: np.random.Generator, centreline: Centreline) -> tuple[list[SessilePolyp], list[StalkedPolyp]]:
    """Draw a colon's polyps; about a third of the colons have none."""
    num_sessile, num_stalked = (0, 0) if rng.random() < 0.33 else (rng.integers(1, 5), rng.integers(0, 3))
    sessile = []
    for _ in range(num_sessile):
        radius = rng.uniform(1.8, 4.5)
        station, theta = _random_place(rng, centreline)
        sessile.append(SessilePolyp(station, theta, radius, radius * rng.uniform(0.5, 0.95)))
    stalked = []
    for _ in range(num_stalked):
        station, theta = _random_place(rng, centreline)
        room = 0.6 * float(centreline.radius_at(station))  # the middle of the lumen stays free for the camera
        head = min(rng.uniform(2.0, 4.5), 0.3 * room)
        stalk = min(rng.uniform(2.0, 6.0), room - 2.0 * head)
        stalked.append(StalkedPolyp(station, theta, head, stalk, rng.uniform(-0.5, 0.5)))
    return sessile, stalked


def build_stalked_mesh(centreline: Centreline, polyp: StalkedPolyp) -> Mesh:
    """Head and stalk; the stalk's foot lies behind the wall, so nothing has to be cut."""
    centre, frame = centreline.at(np.array(polyp.station_mm))
    outward = np.cos(polyp.theta) * frame[:, 1] + np.sin(polyp.theta) * frame[:, 2]
    foot = centre + (float(centreline.radius_at(polyp.station_mm)) + 3.0) * outward
    axis = -np.cos(polyp.lean_rad) * outward + np.sin(polyp.lean_rad) * frame[:, 0]
    stalk_end = foot - 3.0 * outward + polyp.stalk_mm * axis
    head = _head(stalk_end + 0.8 * polyp.head_mm * axis, axis, polyp)
    return merge_meshes([head, _stalk(foot, stalk_end, polyp)])


def _head(centre: np.ndarray, axis: np.ndarray, polyp: StalkedPolyp) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=4)
    direction = np.asarray(ball.vertices)
    # A few waves make the head lobulated, a flattening along the stalk makes it a mushroom.
    radius = 1.0 + 0.06 * np.sin(5.0 * direction @ np.array([1.0, 0.7, -0.4]) + polyp.theta)
    radius += 0.05 * np.sin(7.0 * direction @ np.array([-0.3, 1.0, 0.8]) + polyp.station_mm)
    offset = polyp.head_mm * radius[:, None] * direction
    offset -= 0.2 * (offset @ axis)[:, None] * axis
    shape = trimesh.Trimesh(centre + offset, ball.faces, process=False)
    theta = polyp.theta + direction[:, 1] * 0.3
    s_mm = polyp.station_mm + polyp.head_mm * 2.0 * direction[:, 0]
    return Mesh(
        vertices=np.asarray(shape.vertices),
        faces=np.asarray(shape.faces),
        normals=np.asarray(shape.vertex_normals),
        s_mm=s_mm,
        theta=theta,
        redness=np.ones(len(s_mm)),
    )


def _stalk(foot: np.ndarray, end: np.ndarray, polyp: StalkedPolyp) -> Mesh:
    """Tube from ``foot`` to ``end`` with a wide foot."""
    rows, columns = 24, 33
    t = np.linspace(0.0, 1.0, rows)
    axis = (end - foot) / np.linalg.norm(end - foot)
    side = np.linalg.svd(axis[None])[2][1:]  # two unit vectors across the axis
    angle = np.linspace(0.0, 2.0 * np.pi, columns)
    angle[-1] = 0.0
    ring = np.cos(angle)[:, None] * side[0] + np.sin(angle)[:, None] * side[1]  # (columns, 3)
    thickness = polyp.head_mm * (0.38 + 0.5 * np.exp(-(((t - 0.3) / 0.2) ** 2)) * (t > 0.3) + 0.5 * (t <= 0.3))
    middle = foot + t[:, None] * (end - foot)
    points = middle[:, None] + thickness[:, None, None] * ring
    count = rows * columns
    return Mesh(
        vertices=points.reshape(-1, 3),
        faces=grid_faces(rows, columns),
        normals=-grid_normals(points, middle).reshape(-1, 3),
        s_mm=np.full(count, polyp.station_mm) + np.repeat(t, columns) * polyp.stalk_mm,
        theta=polyp.theta + np.tile(np.sin(angle), rows) * 0.1,
        redness=np.repeat(0.4 * t, columns),
    )


def _random_place(rng: np.random.Generator, centreline: Centreline) -> tuple[float, float]:
    return float(rng.uniform(FREE_END_MM, centreline.length_mm - FREE_END_MM)), float(rng.uniform(0.0, 2.0 * np.pi))
