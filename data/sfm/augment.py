"""Changes to the picture alone, each frame of a pair by itself: colour, quality, noise. Geometry would break the pose.

Source: Liu et al., IEEE TMI 2020 and its code; each group is applied with probability 1/2.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

SHARE = 0.5  # of the frames that a group changes
LEVEL = 0.3  # of brightness and contrast
GAMMA = (0.8, 1.2)
SHIFT = 30  # of hue [degrees / 2, as OpenCV has it], saturation and value [levels]
BLUR_PX = (3, 5, 7)
JPEG_QUALITY = (20, 100)
NOISE_VARIANCE = (10.0, 30.0)  # of 8-bit levels
NOISE_SIGMA = (0.005, 0.02)  # of full scale

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def augment_picture(rgb: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Change a frame at random.

    Args:
        rgb: uint8, (H, W, 3).
        rng: gives the changes.
        kind: one of ``AUGMENTATIONS``: ``none``, ``noise`` (Gaussian noise alone, as in the paper of 2018), ``full``.

    Returns:
        uint8, (H, W, 3).
    """
    for change in AUGMENTATIONS[kind]:
        if rng.random() < SHARE:
            rgb = change(rgb, rng)
    return rgb


def _one_of(changes: Sequence[Change]) -> Change:
    return lambda rgb, rng: changes[rng.integers(len(changes))](rgb, rng)


def _colour(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness with contrast, gamma and hue, each or not."""
    for change in (_brightness_and_contrast, _gamma, _hue):
        if rng.random() < SHARE:
            rgb = change(rgb, rng)
    return rgb


def _brightness_and_contrast(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    contrast, brightness = 1 + rng.uniform(-LEVEL, LEVEL), 255 * rng.uniform(-LEVEL, LEVEL)
    return _levels(contrast * rgb.astype(np.float32) + brightness)


def _gamma(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _levels(255 * (rgb.astype(np.float32) / 255) ** rng.uniform(*GAMMA))


def _hue(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _shift_hsv(rgb, rng.uniform(-SHIFT, SHIFT), 0.0, 0.0)


def _hue_saturation_value(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _shift_hsv(rgb, *rng.uniform(-SHIFT, SHIFT, 3))


def _shift_hsv(rgb: np.ndarray, hue: float, saturation: float, value: float) -> np.ndarray:
    """Hue goes round [degrees / 2], saturation and value end at 0 and 255."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.float32) + (hue, saturation, value)
    hsv[..., 0] %= 180
    hsv[..., 1:] = hsv[..., 1:].clip(0, 255)
    hsv = hsv.astype(np.uint8)  # cut, since a hue of 179.6 is not 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _blur(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = int(rng.choice(BLUR_PX))
    return cv2.blur(rgb, (side, side))


def _median_blur(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return cv2.medianBlur(rgb, int(rng.choice(BLUR_PX)))


def _motion_blur(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Along a line through the middle of the kernel, at any angle."""
    side = int(rng.choice(BLUR_PX))
    angle, reach = rng.uniform(0, np.pi), side // 2
    end = np.rint(reach * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    kernel = np.zeros((side, side), np.float32)
    cv2.line(kernel, tuple((reach - end).tolist()), tuple((reach + end).tolist()), 1.0)
    return cv2.filter2D(rgb, -1, kernel / kernel.sum())


def _jpeg(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    quality = int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
    _, encoded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def _gaussian_noise(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sigma = np.sqrt(rng.uniform(*NOISE_VARIANCE))
    return _levels(rgb + sigma * rng.standard_normal(rgb.shape, np.float32))


def _scaled_noise(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sigma = 255 * rng.uniform(*NOISE_SIGMA)
    return _levels(rgb + sigma * rng.standard_normal(rgb.shape, np.float32))


def _levels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


NOISE = _one_of((_gaussian_noise, _scaled_noise))
AUGMENTATIONS: dict[str, tuple[Change, ...]] = {
    "none": (),
    "noise": (NOISE,),
    "full": (
        _one_of((_colour, _hue_saturation_value)),
        _one_of((_blur, _median_blur, _motion_blur, _jpeg)),
        NOISE,
    ),
}
