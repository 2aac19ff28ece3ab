"""From radiance to the picture of a video processor: exposure, blur, tone, noise, JPEG, octagonal view."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.phantom.view import View

GAMMA = 2.2
BLUR_SAMPLES = 5


@dataclass(frozen=True)
class Sensor:
    """A video chain, drawn once per clip.

    Attributes:
        target: mean grey value the exposure control aims at, display units in [0, 1].
        lag: share of the exposure error that is left after one frame.
        shutter: exposure time as a fraction of the frame time, for motion blur.
        blur_px: standard deviation of the lens and processing blur at 256 pixels [px].
        noise: standard deviation of the noise at mid grey, display units.
        haze: share of light scattered over the whole picture by lens and vapour.
        black_rgb: display value of no light, (3,).
        contrast: 0 keeps the tone curve, 1 bends it to an S as video processors offer it.
        white_rgb: gains of the colour balance, (3,).
        jpeg_quality: 0 to 100.
        corner: legs of the black corners, fraction of the picture's width.
    """

    target: float
    lag: float
    shutter: float
    blur_px: float
    noise: float
    haze: float
    black_rgb: np.ndarray
    contrast: float
    white_rgb: np.ndarray
    jpeg_quality: int
    corner: float


def random_sensor(rng: np.random.Generator) -> Sensor:
    """Draw the video chain of a clip."""
    return Sensor(
        target=rng.uniform(0.35, 0.44),
        lag=rng.uniform(0.5, 0.8),
        shutter=rng.uniform(0.1, 0.35),
        blur_px=rng.uniform(0.3, 0.6),
        noise=rng.uniform(0.003, 0.008),
        haze=rng.uniform(0.005, 0.02),
        black_rgb=np.array([0.05, 0.045, 0.04]) * rng.uniform(0.5, 1.3),
        contrast=rng.uniform(0.3, 0.7),
        white_rgb=rng.uniform(0.95, 1.05, 3),
        jpeg_quality=int(rng.integers(86, 96)),
        corner=rng.uniform(0.14, 0.24),
    )


def render_plain(view: View, gain: float) -> np.ndarray:
    """Picture of a renderer: fixed gain, no noise, (H, W, 3) uint8 RGB."""
    return _to_bytes(_tone(gain * (view.diffuse + view.specular)))


def inside_octagon(height: int, width: int, corner: float) -> np.ndarray:
    """True inside the view, (H, W) bool: the picture without its four cut corners."""
    x = np.abs(np.arange(width) - 0.5 * (width - 1))
    y = np.abs(np.arange(height) - 0.5 * (height - 1))
    return x[None] + y[:, None] <= 0.5 * (width + height) - corner * width


class ExposureControl:
    """Automatic exposure that follows the scene with a lag, as video processors do."""

    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self._log_gain: float | None = None

    def next_gain(self, radiance: np.ndarray, inside: np.ndarray) -> float:
        """Gain for the next frame of the clip, whose radiance (H, W, 3) is measured inside the view."""
        grey = np.minimum(radiance[inside].mean(axis=1), np.quantile(radiance[inside].mean(axis=1), 0.97))
        # The mean of the gamma-coded picture is what a viewer takes for its brightness.
        wanted = float(np.log(self._sensor.target**GAMMA / np.mean(grey ** (1.0 / GAMMA)) ** GAMMA))
        if self._log_gain is None:
            self._log_gain = wanted
        self._log_gain = self._sensor.lag * self._log_gain + (1.0 - self._sensor.lag) * wanted
        return float(np.exp(self._log_gain))


def develop(
    rng: np.random.Generator, sensor: Sensor, exposure: ExposureControl, view: View, flow: np.ndarray
) -> np.ndarray:
    """Picture of a frame of video, (H, W, 3) uint8 RGB.

    Args:
        rng: source of the noise.
        sensor: the video chain.
        exposure: its exposure control, which remembers the frames before.
        view: radiance of this frame.
        flow: motion to the next frame (H, W, 2) [px].
    """
    height, width = view.depth_mm.shape
    inside = inside_octagon(height, width, sensor.corner)
    radiance = _scatter_under_skin(view.diffuse) + view.specular
    gain = exposure.next_gain(radiance, inside)
    light = np.minimum(gain * radiance, 8.0).astype(np.float32)
    light = _motion_blur(light, flow, sensor.shutter)
    light = cv2.GaussianBlur(light, (0, 0), max(sensor.blur_px * width / 256.0, 0.3))
    light = (1.0 - sensor.haze) * light + sensor.haze * light[inside].mean(axis=0) * np.array([0.9, 1.0, 1.1])
    picture = _tone(light * sensor.white_rgb)
    picture += sensor.contrast * (picture**2 * (3.0 - 2.0 * picture) - picture)
    picture = sensor.black_rgb + (1.0 - sensor.black_rgb) * picture
    picture = picture + _noise(rng, picture, sensor.noise)
    corner_rgb = 0.5 * sensor.black_rgb
    return _to_bytes(np.where(inside[..., None], picture, corner_rgb))


def _tone(light: np.ndarray) -> np.ndarray:
    """Linear light to display values in [0, 1]: a soft shoulder, then gamma."""
    light = np.maximum(light, 0.0)
    knee = 0.55
    over = np.maximum(light - knee, 0.0)
    shouldered = np.minimum(light, knee) + (1.0 - knee) * (1.0 - np.exp(-over / (1.0 - knee)))
    return shouldered ** (1.0 / GAMMA)


def _scatter_under_skin(diffuse: np.ndarray) -> np.ndarray:
    """Red light travels farther in tissue: blur red more than green, and blue not at all."""
    width = diffuse.shape[1]
    out = np.ascontiguousarray(diffuse, dtype=np.float32).copy()
    for channel, spread in ((0, 0.006), (1, 0.002)):
        out[..., channel] = cv2.GaussianBlur(out[..., channel], (0, 0), max(spread * width, 0.3))
    return out


def _motion_blur(light: np.ndarray, flow: np.ndarray, shutter: float) -> np.ndarray:
    """Mean of the picture moved along the flow during the exposure."""
    if np.abs(flow).max() * shutter < 0.5:
        return light
    y, x = np.mgrid[0 : light.shape[0], 0 : light.shape[1]].astype(np.float32)
    total = np.zeros_like(light)
    for fraction in np.linspace(-0.5 * shutter, 0.5 * shutter, BLUR_SAMPLES).astype(np.float32):
        map_x, map_y = x - fraction * flow[..., 0], y - fraction * flow[..., 1]
        total += cv2.remap(light, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return total / BLUR_SAMPLES


def _noise(rng: np.random.Generator, picture: np.ndarray, strength: float) -> np.ndarray:
    """Shot and read noise, correlated over neighbouring pixels by demosaicking, more in the dark after gamma."""
    height, width = picture.shape[:2]
    white = rng.standard_normal((height, width, 3), dtype=np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), 0.6) * 2.0  # 2.0: about restores the deviation after this blur
    grey = smooth.mean(axis=2, keepdims=True)
    return strength * (1.3 - 0.6 * picture) * (0.7 * grey * 1.7 + 0.5 * smooth)


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.round(picture * 255.0), 0, 255).astype(np.uint8)
