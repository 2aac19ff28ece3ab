"""One picture of a colon, still without a sensor: exact depth and linear radiance."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.phantom.appearance import Appearance
from data.phantom.camera import Intrinsics, rotate
from data.phantom.colon import Colon
from data.phantom.shading import Shaded, shade

EDGE_RATIO = 1.05  # neighbours whose depths differ by more than this factor are an edge to be smoothed
BOUNCE_SPREAD = 0.12  # how far bounced light spreads, fraction of the picture's width
BOUNCE_RGB = np.array([1.0, 0.72, 0.66])  # light that met red tissue once more is redder


@dataclass(frozen=True)
class View:
    """What a camera sees.

    Attributes:
        depth_mm: along the optical axis, through pixel centres, (H, W) [mm].
        diffuse: linear RGB without reflections, (H, W, 3).
        specular: linear RGB of the wet reflections, (H, W, 3).
    """

    depth_mm: np.ndarray
    diffuse: np.ndarray
    specular: np.ndarray


def render_view(colon: Colon, appearance: Appearance, camera: Intrinsics, world_from_cam: np.ndarray) -> View:
    """Cast one ray a pixel for the truth and a few more where fold edges would look jagged."""
    x, y = camera.pixel_grid()
    depth, shaded = trace(colon, appearance, camera, world_from_cam, x, y)
    depth_mm = depth.reshape(camera.height, camera.width)
    edges = np.flatnonzero(_edges(depth_mm))
    if len(edges):
        shaded = _smooth_edges(shaded, edges, colon, appearance, camera, world_from_cam)
    images = [part.reshape(camera.height, camera.width, 3) for part in (shaded.diffuse, shaded.specular, shaded.albedo)]
    # Distant parts get less bounced light too: what is around them is darker than the picture's mean.
    nearness = 1.0 / (1.0 + (depth_mm / np.median(depth_mm)) ** 2)
    diffuse = images[0] + appearance.bounce * images[2] * _bounced(images[0]) * nearness[..., None]
    return View(depth_mm, diffuse, images[1])


def cast_depth(colon: Colon, camera: Intrinsics, world_from_cam: np.ndarray) -> np.ndarray:
    """Depth along the optical axis at the pixel centres, (H, W) [mm]: ray length times cosine."""
    rays, cosine = _rays(camera, *camera.pixel_grid())
    hits = colon.raycaster.cast(world_from_cam[:3, 3], rotate(world_from_cam[:3, :3], rays))
    return (hits.distance_mm * cosine).reshape(camera.height, camera.width)


def _rays(camera: Intrinsics, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit rays through pixels (N, 3) and the cosine of their angle to the optical axis (N,)."""
    directions = camera.unproject(x, y)
    cosine = 1.0 / np.linalg.norm(directions, axis=1)
    return directions * cosine[:, None], cosine


def trace(
    colon: Colon,
    appearance: Appearance,
    camera: Intrinsics,
    world_from_cam: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> tuple[np.ndarray, Shaded]:
    """Depth along the optical axis [mm] and shading of single rays through pixels (x, y), (N,) each."""
    rays, cosine = _rays(camera, x, y)
    hits = colon.raycaster.cast(world_from_cam[:3, 3], rotate(world_from_cam[:3, :3], rays))
    return hits.distance_mm * cosine, shade(colon.raycaster, appearance, hits, rays, world_from_cam, 1.0 / camera.fx)


def _edges(depth_mm: np.ndarray) -> np.ndarray:
    """True on both sides of a depth step, (H, W) bool."""
    log_depth = np.log(depth_mm).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    # Walls seen at a grazing angle are steep too, but evenly: their middle lies midway between the extremes.
    high, low = cv2.dilate(log_depth, kernel), cv2.erode(log_depth, kernel)
    uneven = np.abs(high + low - 2.0 * log_depth)
    return uneven > np.log(EDGE_RATIO)


def _smooth_edges(
    shaded: Shaded,
    edges: np.ndarray,
    colon: Colon,
    appearance: Appearance,
    camera: Intrinsics,
    world_from_cam: np.ndarray,
) -> Shaded:
    """Replace the pixels with flat indices ``edges`` by the mean of four rays each (rotated grid)."""
    x, y = camera.pixel_grid()
    dx, dy = np.array([-0.375, 0.125, 0.375, -0.125]), np.array([-0.125, -0.375, 0.125, 0.375])
    many_x, many_y = (x[edges, None] + dx).reshape(-1), (y[edges, None] + dy).reshape(-1)
    _, fine = trace(colon, appearance, camera, world_from_cam, many_x, many_y)
    parts = []
    for coarse_part, fine_part in zip(
        (shaded.diffuse, shaded.specular, shaded.albedo), (fine.diffuse, fine.specular, fine.albedo), strict=True
    ):
        part = coarse_part.copy()
        part[edges] = fine_part.reshape(-1, 4, 3).mean(axis=1)
        parts.append(part)
    return Shaded(*parts)


def _bounced(diffuse: np.ndarray) -> np.ndarray:
    """Light from the opposite walls: a wide blur of what is lit in the picture, (H, W, 3)."""
    height, width = diffuse.shape[:2]
    small = cv2.resize(np.minimum(diffuse, 4.0), (32, 32), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), BOUNCE_SPREAD * 32, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) * BOUNCE_RGB
