"""Submucosal vessels: trees of random walks whose branches grow thinner."""

import cv2
import numpy as np

STEP_MM = 1.0
SUBPIXEL_BITS = 4
AREA_PER_TREE_MM2 = 500.0
MAX_GENERATION = 3


def vessel_map(rng: np.random.Generator, shape: tuple[int, int], pixels_per_mm: float) -> np.ndarray:
    """How much of each texture pixel is vessel, (rows, columns) in [0, 1], seamless along the columns.

    Args:
        rng: source of randomness.
        shape: (rows, columns) of the texture.
        pixels_per_mm: its resolution.
    """
    canvas = np.zeros(shape, np.uint8)
    num_trees = round(shape[0] * shape[1] / pixels_per_mm**2 / AREA_PER_TREE_MM2)
    for _ in range(num_trees):
        start = rng.random(2) * np.array(shape)[::-1]
        width_mm = rng.uniform(0.35, 0.8)
        _grow(rng, canvas, start, rng.uniform(0.0, 2.0 * np.pi), width_mm, 0, pixels_per_mm)
    return cv2.GaussianBlur(canvas, (0, 0), 0.12 * pixels_per_mm).astype(np.float32) / 255.0


def _grow(
    rng: np.random.Generator,
    canvas: np.ndarray,
    start: np.ndarray,
    angle: float,
    width_mm: float,
    generation: int,
    pixels_per_mm: float,
) -> None:
    """Draw one branch and, from points along it, thinner ones."""
    num_steps = int(rng.integers(10, 30) / (1.0 + 0.5 * generation))
    angles = angle + np.cumsum(rng.normal(0.0, 0.22, num_steps))
    steps = STEP_MM * pixels_per_mm * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    path = np.concatenate([start[None], start + np.cumsum(steps, axis=0)])
    strength = int(255 * min(1.0, 0.45 + width_mm))
    _draw_wrapped(canvas, path, max(1, round(width_mm * pixels_per_mm)), strength)
    if generation == MAX_GENERATION:
        return
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(num_steps // 4, num_steps))
        turn = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0)
        _grow(rng, canvas, path[at], angles[at] + turn, 0.7 * width_mm, generation + 1, pixels_per_mm)


def _draw_wrapped(canvas: np.ndarray, path: np.ndarray, thickness: int, strength: int) -> None:
    columns = canvas.shape[1]
    for shift in (-columns, 0, columns):
        shifted = path + np.array([shift, 0.0])
        if shifted[:, 0].max() < 0 or shifted[:, 0].min() > columns:
            continue
        points = np.round(shifted * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(canvas, [points], False, strength, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
