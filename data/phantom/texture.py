"""What the mucosa looks like: maps over (arc length, angle), drawn once per colon and sampled per frame."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.phantom.smooth_noise import wrapped_noise
from data.phantom.vessels import vessel_map

PIXELS_PER_MM = 5.0
PYRAMID_STEP = 4  # each level is this many times coarser than the one before
NUM_LEVELS = 3


@dataclass(frozen=True)
class Texture:
    """Maps of one colon as pyramids, finest first, each level (rows, columns, channels) float32.

    Attributes:
        albedo: linear RGB reflectance.
        bump: slopes of the fine relief along arc length and angle, and how wet the surface is (0 to 1).
        rows_per_mm: texture rows per mm of arc length at the finest level.
    """

    albedo: list[np.ndarray]
    bump: list[np.ndarray]
    rows_per_mm: float

    def sample(self, s_mm: np.ndarray, theta: np.ndarray, footprint_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Albedo (N, 3) and bump (N, 3) at texture coordinates, smoothed over ``footprint_mm`` (N,)."""
        level = np.log(np.maximum(footprint_mm * self.rows_per_mm, 1.0)) / np.log(PYRAMID_STEP)
        level = np.clip(level, 0.0, NUM_LEVELS - 1.0).astype(np.float32)[:, None]
        albedo, bump = np.zeros((len(s_mm), 3), np.float32), np.zeros((len(s_mm), 3), np.float32)
        for i in range(NUM_LEVELS):
            weight = np.maximum(1.0 - np.abs(level - i), 0.0)
            albedo += weight * self._lookup(self.albedo[i], i, s_mm, theta)
            bump += weight * self._lookup(self.bump[i], i, s_mm, theta)
        return albedo, bump

    def _lookup(self, level: np.ndarray, index: int, s_mm: np.ndarray, theta: np.ndarray) -> np.ndarray:
        columns = level.shape[1]
        coarser = PYRAMID_STEP**index
        x = (theta / (2.0 * np.pi) % 1.0 * columns - 0.5 + 0.5 / coarser).astype(np.float32)
        y = ((s_mm * self.rows_per_mm + 0.5) / coarser - 0.5).astype(np.float32)
        return _remap_points(level, x, y)


@dataclass(frozen=True)
class TextureStyle:
    """How strongly each ingredient shows; colours are linear RGB."""

    base_rgb: np.ndarray
    patch_rgb: np.ndarray
    patchiness: float
    vessels: float
    bumpiness: float
    foam: float
    debris: float


def build_texture(rng: np.random.Generator, style: TextureStyle, length_mm: float, radius_mm: float) -> Texture:
    """Draw the maps of a colon of ``length_mm`` and mean radius ``radius_mm``."""
    block = PYRAMID_STEP ** (NUM_LEVELS - 1)
    rows = int(np.ceil(length_mm * PIXELS_PER_MM / block)) * block
    columns = int(np.ceil(2.0 * np.pi * radius_mm * PIXELS_PER_MM / block)) * block
    foam_height, foam_cover = _foam(rng, (rows, columns), style.foam)
    albedo = _albedo(rng, style, (rows, columns), foam_cover)
    bump = _bump(rng, style, (rows, columns), foam_height, foam_cover)
    return Texture(_pyramid(albedo), _pyramid(bump), PIXELS_PER_MM)


def _albedo(
    rng: np.random.Generator, style: TextureStyle, shape: tuple[int, int], foam_cover: np.ndarray
) -> np.ndarray:
    """Mucosa colour: base, redder patches, vessels, fine mottling, foam and debris; (rows, columns, 3)."""
    coarse = 0.7 * wrapped_noise(rng, shape, (60.0, 60.0)) + 0.5 * wrapped_noise(rng, shape, (22.0, 22.0))
    patch = style.patchiness * (0.5 + 0.5 * np.tanh(coarse))[..., None]
    base, other = style.base_rgb.astype(np.float32), style.patch_rgb.astype(np.float32)
    albedo = base + patch * (other - base)
    mottle = 0.05 * wrapped_noise(rng, shape, (4.0, 4.0)) + 0.05 * wrapped_noise(rng, shape, (12.0, 12.0))
    albedo = albedo * (1.0 + style.patchiness * mottle)[..., None]
    if style.vessels > 0.0:
        # Vessels show in some stretches and fade in others, where the mucosa is thicker.
        show = np.clip(0.55 + 0.45 * wrapped_noise(rng, shape, (90.0, 90.0)), 0.0, 1.0)
        strength = style.vessels * (show * vessel_map(rng, shape, PIXELS_PER_MM))[..., None]
        albedo = albedo * (1.0 - strength * np.float32([0.30, 0.62, 0.55]))  # blood absorbs green and blue most
    albedo = albedo * (1.0 - 0.25 * foam_cover[..., None] * np.float32([0.3, 0.4, 1.0]))
    if style.debris > 0.0:
        albedo = _debris(rng, albedo, style.debris)
    return np.clip(albedo, 0.0, 1.0).astype(np.float32)


def _debris(rng: np.random.Generator, albedo: np.ndarray, amount: float) -> np.ndarray:
    """Specks of stool: yellow-brown, sharply bounded, in drifts."""
    shape = albedo.shape[:2]
    field = wrapped_noise(rng, shape, (3.0, 3.0)) + 1.2 * wrapped_noise(rng, shape, (40.0, 40.0))
    cover = np.clip((field - (5.2 - 1.6 * amount)) * 3.0, 0.0, 1.0)[..., None]
    return albedo * (1.0 - cover) + cover * np.float32([0.40, 0.22, 0.07])


def _foam(rng: np.random.Generator, shape: tuple[int, int], amount: float) -> tuple[np.ndarray, np.ndarray]:
    """Heaps of bubbles: their height [mm] and the share of the wall they cover, (rows, columns) each."""
    height, cover = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    num_heaps = rng.poisson(amount * shape[0] * shape[1] / (250.0 * 250.0))  # one in 50 mm x 50 mm
    for _ in range(num_heaps):
        centre = rng.uniform(0.0, 1.0, 2) * np.array(shape)[::-1]
        spread = rng.uniform(3.0, 12.0) * PIXELS_PER_MM
        num = int(rng.integers(30, 160))
        places = centre + spread * rng.standard_normal((num, 2)) * np.array([0.5, 1.0])
        size_mm = rng.choice([0.3, 0.5])  # drops of mucus, or foam
        radii = np.clip(PIXELS_PER_MM * size_mm * rng.lognormal(0.0, 0.45, num), 1.5, 8.0)
        for (x, y), radius in zip(places, radii, strict=True):
            _stamp_bubble(height, cover, x % shape[1], y, float(radius))
    return height, cover


def _stamp_bubble(height: np.ndarray, cover: np.ndarray, x: float, y: float, radius: float) -> None:
    """Raise one half-ball on the wall, in place; what lies over the seam or the end is cut off."""
    x0, y0 = int(x - radius), int(y - radius)
    size = int(2 * radius) + 2
    if x0 < 0 or y0 < 0 or x0 + size > height.shape[1] or y0 + size > height.shape[0]:
        return
    yy, xx = np.mgrid[y0 : y0 + size, x0 : x0 + size]
    square = 1.0 - ((xx - x) ** 2 + (yy - y) ** 2) / radius**2
    window = (slice(y0, y0 + size), slice(x0, x0 + size))
    height[window] = np.maximum(height[window], np.sqrt(np.maximum(square, 0.0)) * radius / PIXELS_PER_MM)
    cover[window] = np.maximum(cover[window], square > 0.0)


def _bump(
    rng: np.random.Generator,
    style: TextureStyle,
    shape: tuple[int, int],
    foam_height: np.ndarray,
    foam_cover: np.ndarray,
) -> np.ndarray:
    """Slopes of the fine relief along rows and columns, and wetness, (rows, columns, 3)."""
    mm = 1.0 / PIXELS_PER_MM
    rough = np.exp(0.7 * wrapped_noise(rng, shape, (40.0, 40.0)))  # smooth stretches and granular ones
    relief = 0.2 * wrapped_noise(rng, shape, (9.0, 9.0)) + 0.15 * rough * wrapped_noise(rng, shape, (3.2, 3.2))
    relief = relief * style.bumpiness * (1.0 - foam_cover) + 0.8 * foam_height
    slope_s = cv2.Sobel(relief.astype(np.float32), cv2.CV_32F, 0, 1, scale=0.125 / mm)
    slope_theta = cv2.Sobel(relief.astype(np.float32), cv2.CV_32F, 1, 0, scale=0.125 / mm)
    wet = np.clip(0.5 + 0.6 * wrapped_noise(rng, shape, (30.0, 30.0)), 0.05, 1.0)
    wet = np.maximum(wet, foam_cover)
    return np.stack([slope_s, slope_theta, wet], axis=-1).astype(np.float32)


def _pyramid(image: np.ndarray) -> list[np.ndarray]:
    """The image and its block means, coarser by ``PYRAMID_STEP`` each."""
    levels = [image]
    for _ in range(NUM_LEVELS - 1):
        rows, columns = levels[-1].shape[:2]
        size = (columns // PYRAMID_STEP, rows // PYRAMID_STEP)
        levels.append(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA))
    return levels


def _remap_points(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of ``image`` at N points, wrapped round its second axis, (N, channels)."""
    columns = 256  # cv2.remap wants a picture; its sides are limited to 32767
    pad = -len(x) % columns
    grid_x = np.pad(x, (0, pad)).reshape(-1, columns)
    grid_y = np.clip(np.pad(y, (0, pad)), 0.0, image.shape[0] - 1.001).astype(np.float32).reshape(-1, columns)
    out = cv2.remap(image, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return out.reshape(-1, image.shape[2])[: len(x)]
