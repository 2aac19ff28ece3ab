"""Smooth random functions: the building blocks of shapes, motions and textures.

All are normalised to a standard deviation of about 1, so that a caller's amplitude is an amplitude.
"""

import cv2
import numpy as np


def smooth_curve(rng: np.random.Generator, length: int, period: float, channels: int = 1) -> np.ndarray:
    """Random curves without detail finer than about ``period`` samples.

    A sum of sinusoids of random phase with periods between ``period`` and four times that: as smooth as one likes,
    and a longer curve of the same generator state starts with the same values.

    Args:
        rng: source of randomness.
        length: number of samples.
        period: shortest period [samples].
        channels: number of independent curves.

    Returns:
        (length, channels), zero mean over phases, standard deviation about 1.
    """
    num_waves = 6
    periods = period * 4.0 ** rng.random((num_waves, channels))
    phases = rng.uniform(0.0, 2.0 * np.pi, (num_waves, channels))
    t = np.arange(length)[:, None, None]
    waves = np.sin(2.0 * np.pi * t / periods + phases)  # (length, num_waves, channels)
    return waves.sum(axis=1) * np.sqrt(2.0 / num_waves)


def wrapped_noise(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]) -> np.ndarray:
    """Random field that is periodic along its second axis (the angle round a tube).

    White noise on a coarse grid, enlarged by cubic interpolation.

    Args:
        rng: source of randomness.
        shape: (rows, columns) of the result.
        cell: size of a cell of the coarse grid (rows, columns) in samples; features are about two cells wide.

    Returns:
        (rows, columns) float32, standard deviation about 1.
    """
    rows, columns = shape
    coarse_rows = max(2, int(np.ceil(rows / cell[0])) + 1)
    coarse_columns = max(3, round(columns / cell[1]))
    coarse = rng.standard_normal((coarse_rows, coarse_columns)).astype(np.float32)
    y = np.arange(rows, dtype=np.float32) / max(rows - 1, 1) * (coarse_rows - 1)
    x = (np.arange(columns, dtype=np.float32) * coarse_columns / columns) + 2.0
    padded = np.concatenate([coarse[:, -2:], coarse, coarse[:, :3]], axis=1)
    along_x = _cubic_rows(padded.T, x).T  # (coarse_rows, columns)
    padded = cv2.copyMakeBorder(along_x, 1, 2, 0, 0, cv2.BORDER_REPLICATE)
    field = _cubic_rows(padded, y + 1.0)
    return field / 0.62  # 0.62: standard deviation that cubic interpolation in two axes leaves of white noise


def _cubic_rows(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Uniform cubic B-spline along the first axis; ``position`` in samples, each with one row before, two behind."""
    i = np.floor(position).astype(int)
    t = (position - i)[:, None].astype(np.float32)
    i = np.clip(i, 1, len(values) - 3)
    w0, w3 = (1 - t) ** 3 / 6, t**3 / 6
    w1 = (3 * t**3 - 6 * t**2 + 4) / 6
    w2 = 1 - w0 - w1 - w3
    return w0 * values[i - 1] + w1 * values[i] + w2 * values[i + 1] + w3 * values[i + 2]
