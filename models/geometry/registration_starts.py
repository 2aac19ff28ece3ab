"""Where a registration may start: from sizes and axes alone, from a camera's pose, or round a start that is known."""

import numpy as np
from scipy.spatial.transform import Rotation

from models.geometry.registration import check_cloud, keeping, rms_radius
from models.geometry.similarity import Similarity, is_one_point
from models.geometry.surface import Surface

IDENTITY = Similarity(1.0, np.eye(3), np.zeros(3))
RIGHT_HANDED = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
CELLS, MIN_CELLS = 12, 5  # a side, in which depths are compared, and how many must have both


def rough_starts(points: np.ndarray, surface: Surface, turns: int = 4) -> list[Similarity]:
    """Starts that bring centre, size and principal axes of a cloud onto those of the surface.

    Good where the cloud shows all of it; where it shows a part, a start has to come from elsewhere (a known pose). Each
    axis may point either way; of the 8 ways the 4 without a mirror are taken. A tube is round, and its short axes may
    lie anywhere: so each of the 4 is also turned about the longest axis.

    Args:
        points: (N, 3).
        surface: what they show.
        turns: steps into which half a turn is divided; 1 for none.

    Returns:
        4 * ``turns``.

    Raises:
        ValueError: as ``register`` of the points, or all of the surface is one point.
    """
    check_cloud(points)
    if is_one_point(surface.points):
        raise ValueError("the surface is one point, which has no size and no axes")
    scale = rms_radius(surface.points) / rms_radius(points)
    src, dst = principal_axes(points), principal_axes(surface.points)
    about_longest = Rotation.from_euler("z", np.pi / turns * np.arange(turns)[:, None]).as_matrix()
    rotations = [dst @ turn * signs @ src.T for turn in about_longest for signs in RIGHT_HANDED]
    centre_src, centre_dst = points.mean(axis=0), surface.points.mean(axis=0)
    return [Similarity(scale, rotation, centre_dst - scale * rotation @ centre_src) for rotation in rotations]


def pose_start(
    points: np.ndarray, surface: Surface, world_from_cam: np.ndarray, surface_from_world: Similarity = IDENTITY
) -> Similarity | None:
    """The start that a frame's pose gives, with the scale by which its depth fits to what it would see.

    Args:
        points: in the camera's frame, (N, 3), z > 0.
        surface: what is seen.
        world_from_cam: (4, 4).
        surface_from_world: from the poses' world to the surface's.

    Returns:
        surface_from_camera; None where the camera would see hardly anything of the surface.
    """
    rotation = surface_from_world.rotation @ world_from_cam[:3, :3]
    place = surface_from_world.apply(world_from_cam[:3, 3])
    scale = depth_ratio(points, (surface.points - place) @ rotation)
    return None if scale is None else Similarity(scale, rotation, place)


def perturbed_starts(
    start: Similarity, centre: np.ndarray, *, angle_deg: float = 15.0, scale_factor: float = 1.2
) -> list[Similarity]:
    """A start, and others round it, which all leave one point of the cloud in its place.

    Args:
        start: the first of them.
        centre: that point, in the cloud's frame, (3,): its centre, or the camera (0, 0, 0) where that is known best.
        angle_deg: of two turns about each axis [degrees]; 0 for none.
        scale_factor: by which one start is larger and one smaller; 1 for none.

    Returns:
        9, or fewer without turns or scales.
    """
    place = start.apply(centre)
    turns = [sign * np.radians(angle_deg) * axis for axis in np.eye(3) for sign in (1, -1)] if angle_deg else []
    scales = [start.scale * scale_factor, start.scale / scale_factor] if scale_factor != 1 else []
    changed = [start._replace(scale=scale) for scale in scales]
    changed += [start._replace(rotation=Rotation.from_rotvec(turn).as_matrix() @ start.rotation) for turn in turns]
    return [start, *(keeping(one, centre, place) for one in changed)]


def depth_ratio(points: np.ndarray, wall: np.ndarray) -> float | None:
    """By what factor a wall is farther away than points, both seen by one camera.

    The picture is divided into cells. In each the nearest depth of either is taken, since the camera does not see what
    is behind; the result is the median over the cells of their ratio.

    Args:
        points: in the camera's frame, (N, 3), z > 0.
        wall: points of the wall in the same frame, (M, 3), also beside and behind the camera.

    Returns:
        None where fewer than ``MIN_CELLS`` cells have both.
    """
    directions = points[:, :2] / points[:, 2:]
    low, high = directions.min(axis=0), directions.max(axis=0)
    nearest = [_nearest_depths(cloud[cloud[:, 2] > 0], low, high) for cloud in (points, wall)]
    both = np.isfinite(nearest).all(axis=0)
    return float(np.median(nearest[1][both] / nearest[0][both])) if both.sum() >= MIN_CELLS else None


def _nearest_depths(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Least z in each cell between the directions ``low`` and ``high`` (2,), inf where there is none: (cells,)."""
    cells = np.floor((points[:, :2] / points[:, 2:] - low) / np.maximum(high - low, 1e-12) * CELLS).astype(int)
    inside = ((cells >= 0) & (cells < CELLS)).all(axis=1)
    nearest = np.full(CELLS**2, np.inf)
    np.minimum.at(nearest, cells[inside] @ [1, CELLS], points[inside, 2])
    return nearest


def principal_axes(points: np.ndarray) -> np.ndarray:
    """Unit vectors, a column each, along which points (N, 3) extend least, second and most; right-handed, (3, 3)."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1]
    return axes * np.array([1, 1, np.sign(np.linalg.det(axes))])
