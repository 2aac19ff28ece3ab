"""Light on the wall: diffuse and wet reflection of the lights at the tip, per ray."""

from dataclasses import dataclass

import numpy as np

from data.phantom.appearance import Appearance, Light
from data.phantom.camera import rotate, transform
from data.phantom.raycast import Hits, Raycaster

REFERENCE_MM = 20.0  # distance at which a light of intensity 1 gives irradiance 1
RELIEF_IN_DIFFUSE = 0.3
FRESNEL_WATER = 0.02  # reflectance of water at normal incidence


@dataclass(frozen=True)
class Shaded:
    """Linear RGB per ray, (N, 3) each: ``diffuse`` and ``specular`` radiance, and the ``albedo`` it came from."""

    diffuse: np.ndarray
    specular: np.ndarray
    albedo: np.ndarray


def shade(
    raycaster: Raycaster,
    appearance: Appearance,
    hits: Hits,
    rays: np.ndarray,
    world_from_cam: np.ndarray,
    pixel_angle: float,
) -> Shaded:
    """Radiance towards the camera along N rays.

        diffuse = albedo * sum_l I_l (n . l) / d_l^2,    specular = sum_l I_l D F G / (4 (n . v)) / d_l^2

    with hard shadows, GGX normal distribution D and normals tilted by the texture's relief.

    Args:
        raycaster: casts the shadow rays.
        appearance: material and lights.
        hits: where the rays end.
        rays: unit directions in camera axes, (N, 3).
        world_from_cam: pose (4, 4).
        pixel_angle: angle between neighbouring pixels [rad], for the size of a pixel on the wall.
    """
    cam_from_world = world_from_cam[:3, :3].T
    normals = rotate(cam_from_world, hits.normals)
    rays = rays.astype(np.float32)
    points = rays * hits.distance_mm[:, None].astype(np.float32)
    facing = np.maximum(-(normals * rays).sum(axis=1), 0.15)
    footprint_mm = hits.distance_mm * pixel_angle / np.sqrt(facing)
    albedo, bump = appearance.texture.sample(hits.s_mm, hits.theta, footprint_mm)
    albedo = albedo * (1.0 + hits.redness[:, None] * (appearance.polyp_rgb - 1.0)).astype(np.float32)
    bumpy = rotate(cam_from_world, _tilt(hits.normals, bump[:, :2]))
    diffuse, specular = np.zeros_like(points), np.zeros_like(points)
    for light in appearance.lights:
        irradiance, to_light = _irradiance(raycaster, light, points, world_from_cam)
        # Tissue scatters light sideways under the surface, so the relief shows only faintly in the diffuse part.
        soft = np.maximum(_dot((1.0 - RELIEF_IN_DIFFUSE) * normals + RELIEF_IN_DIFFUSE * bumpy, to_light), 0.0)
        diffuse += irradiance * soft[:, None]
        if appearance.specular > 0.0:
            shine = _ggx(bumpy, to_light, -rays, appearance.roughness) * bump[:, 2] * appearance.specular
            specular += irradiance * shine[:, None]
    return Shaded(albedo * diffuse, specular, albedo)


def _irradiance(
    raycaster: Raycaster, light: Light, points: np.ndarray, world_from_cam: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Light arriving at N camera points before the cosine (N, 3), and unit vectors to the light (N, 3)."""
    offset = light.position_mm.astype(np.float32) - points
    distance = np.linalg.norm(offset, axis=1)
    origin = transform(world_from_cam, light.position_mm[None])[0]
    lit = True
    if light.has_shadows:
        lit = raycaster.is_visible(origin, transform(world_from_cam, points.astype(np.float64)))
    to_light = offset / distance[:, None]
    beam = np.maximum(-to_light[:, 2], 0.05) ** light.beam
    falloff = lit * beam * (REFERENCE_MM / np.maximum(distance, 1.0)) ** 2
    return falloff[:, None].astype(np.float32) * light.rgb.astype(np.float32), to_light


def _tilt(normals: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """World normals of a surface with ``slopes`` (N, 2) along two axes in it.

    The axes come from the normal alone: which way a random relief points does not matter, only that it stays fixed
    to the wall while the camera moves.
    """
    helper = np.where(np.abs(normals[:, 2:]) < 0.9, np.float32([0, 0, 1]), np.float32([1, 0, 0]))
    first = np.cross(normals, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normals, first)
    tilted = normals - slopes[:, :1] * first - slopes[:, 1:2] * second
    return tilted / np.linalg.norm(tilted, axis=1, keepdims=True)


def _ggx(normals: np.ndarray, to_light: np.ndarray, to_eye: np.ndarray, roughness: float) -> np.ndarray:
    """Microfacet reflection (Walter et al., EGSR 2007) times the cosine to the light, without shadowing term, (N,).

    Times pi, as the diffuse part: a white matt wall has radiance = irradiance here.
    """
    half = to_light + to_eye
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    n_h = np.clip(_dot(normals, half), 0.0, 1.0)
    n_l, n_v = np.clip(_dot(normals, to_light), 0.0, 1.0), np.clip(_dot(normals, to_eye), 0.05, 1.0)
    square = roughness**2
    distribution = square / (n_h**2 * (square - 1.0) + 1.0) ** 2
    fresnel = FRESNEL_WATER + (1.0 - FRESNEL_WATER) * (1.0 - np.clip(_dot(half, to_eye), 0.0, 1.0)) ** 5
    return distribution * fresnel * n_l / (4.0 * n_v)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ni,ni->n", a, b)
