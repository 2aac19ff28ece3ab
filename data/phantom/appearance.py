"""What varies between the colons of a domain: mucosa, light and wetness."""

from dataclasses import dataclass

import numpy as np

from data.phantom.texture import Texture, TextureStyle, build_texture


@dataclass(frozen=True)
class Light:
    """A point light at the tip of the colonoscope.

    Attributes:
        position_mm: in camera axes [mm], (3,).
        rgb: intensity, linear RGB; 1 lights a white wall that faces it 20 mm away with radiance 1.
        beam: exponent of the cosine to the optical axis that the intensity falls off with.
        has_shadows: whether folds cast shadows; plain renderers leave them out.
    """

    position_mm: np.ndarray
    rgb: np.ndarray
    beam: float
    has_shadows: bool


@dataclass(frozen=True)
class Appearance:
    """Material and light of one colon.

    Attributes:
        texture: colour and fine relief of the wall.
        polyp_rgb: factor on the albedo of polyps, (3,).
        lights: one or two.
        specular: strength of the wet reflections; 1 is a film of water, 0 is matt.
        roughness: width of the reflections (GGX alpha).
        bounce: share of the light that comes back from the opposite walls.
    """

    texture: Texture
    polyp_rgb: np.ndarray
    lights: list[Light]
    specular: float
    roughness: float
    bounce: float


def synthetic_appearance(rng: np.random.Generator, length_mm: float, radius_mm: float) -> Appearance:
    """A smooth, nearly uniform, matt material, as renderings of CT colons have."""
    base = np.array([0.80, 0.40, 0.17]) * rng.uniform([0.92, 0.85, 0.8], [1.08, 1.15, 1.2])
    style = TextureStyle(
        base_rgb=base,
        patch_rgb=base * np.array([1.0, 0.88, 0.82]),
        patchiness=rng.uniform(0.2, 0.6),
        vessels=rng.uniform(0.0, 0.35),
        bumpiness=rng.uniform(0.0, 0.3),
        foam=0.0,
        debris=0.0,
    )
    return Appearance(
        texture=build_texture(rng, style, length_mm, radius_mm),
        polyp_rgb=np.array([1.0, 0.9, 0.9]),
        lights=_random_lights(rng, 1, beam=1.0, has_shadows=False),
        specular=0.3 * float(rng.random() < 0.3),
        roughness=0.35,
        bounce=rng.uniform(0.2, 0.35),
    )


def real_appearance(rng: np.random.Generator, length_mm: float, radius_mm: float) -> Appearance:
    """Living, wet mucosa: between the tan and the pink of the clips one sees, with vessels, foam and debris."""
    pink = rng.beta(0.8, 0.8)
    tan_rgb, pink_rgb = np.array([0.62, 0.28, 0.12]), np.array([0.66, 0.175, 0.14])
    base = (tan_rgb + pink * (pink_rgb - tan_rgb)) * rng.uniform(0.92, 1.08, 3)
    style = TextureStyle(
        base_rgb=base,
        patch_rgb=base * np.array([0.92, 0.68, 0.62]),
        patchiness=rng.uniform(0.5, 1.0),
        vessels=rng.uniform(0.5, 1.3),
        bumpiness=rng.uniform(0.8, 1.4),
        foam=rng.choice([1.0, 2.5, 5.0], p=[0.3, 0.4, 0.3]),
        debris=rng.choice([0.0, 0.5, 1.0], p=[0.4, 0.4, 0.2]),
    )
    return Appearance(
        texture=build_texture(rng, style, length_mm, radius_mm),
        polyp_rgb=np.array([1.0, 0.62, 0.62]) * rng.uniform(0.9, 1.1),
        lights=_random_lights(rng, 2, beam=0.7, has_shadows=True),
        specular=rng.uniform(1.5, 3.5),
        roughness=rng.uniform(0.05, 0.09),
        bounce=rng.uniform(0.15, 0.3),
    )


def _random_lights(rng: np.random.Generator, num_lights: int, beam: float, has_shadows: bool) -> list[Light]:
    """Lights on opposite sides of the lens, 1.5 to 2.5 mm away: nearer than any wall can come."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    lights = []
    for i in range(num_lights):
        side = angle + 2.0 * np.pi * i / num_lights + rng.normal(0.0, 0.2)
        distance = rng.uniform(1.5, 2.5)
        position = np.array([distance * np.cos(side), distance * np.sin(side), 0.0])
        tint = rng.uniform(0.97, 1.03, 3)
        lights.append(Light(position, tint / num_lights, beam, has_shadows))
    return lights
