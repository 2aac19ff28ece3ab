"""What is measured of each frame of a video, on a small copy of it: enough to decide which frames to keep.

Shares and means are over the view (``data.view_mask``), since a black border is as dark as a frame without light.
"""

from dataclasses import dataclass

import cv2
import numpy as np

WIDTH = 320  # of the copy that sharpness is measured on [px]
FLOW_WIDTH = 160  # of that for motion [px]
DARK, BURNT = 0.08, 0.97  # brightness in [0, 1]
RED_EXCESS = 0.3  # of red over the other channels' larger one, from which a pixel is nothing but red
EDGE = 0.02  # change of brightness from pixel to pixel that is structure and not noise
FINE, COARSE = 0.8, 2.5  # blurs whose difference is sharpness; the first takes noise away [px of the copy]
INNER = 9  # px of the copy that the view is shrunk by, so that its border is no structure


@dataclass(frozen=True)
class FrameMeasures:
    """Of one frame.

    Args:
        brightness: mean, [0, 1].
        dark, burnt, red: shares of the view, [0, 1].
        structure: share of the view with a gradient of brightness.
        sharpness: share of the energy of the gradient that a further blur takes away, [0, 1]; other than the variance
            of the Laplacian it hardly depends on what is seen.
        change: mean difference of brightness to the frame before, of which the mean is taken out; nan for the first.
        motion: median length of the optical flow from the frame before, in diagonals of the picture; nan for the first.
        residual: what that flow leaves of the difference, in standard deviations of brightness; nan for the first.
    """

    brightness: float
    dark: float
    burnt: float
    red: float
    structure: float
    sharpness: float
    change: float
    motion: float
    residual: float


class Measurer:
    """Measures the frames of a video one after the other; remembers the one before, and nothing else.

    Args:
        view: bool (H, W), where the frames show something.
    """

    def __init__(self, view: np.ndarray) -> None:
        self._view = view
        self._small_view: np.ndarray | None = None
        self._flow_view: np.ndarray | None = None
        self._before: np.ndarray | None = None
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, rgb: np.ndarray) -> FrameMeasures:
        """Of a frame, RGB uint8 (H, W, 3), of the view's size."""
        copy = _scaled(rgb, WIDTH)
        smaller = _scaled(copy, FLOW_WIDTH)
        if self._small_view is None:
            self._small_view = _shrunk(self._view, copy.shape[:2])
            self._flow_view = _shrunk(self._view, smaller.shape[:2])
        small = copy.astype(np.float32) / 255
        grey, inside = small.mean(axis=2), self._small_view
        change, motion, residual = self._against_the_one_before(smaller)
        red = small[..., 0] - small[..., 1:].max(axis=2) > RED_EXCESS
        values = grey[inside]
        return FrameMeasures(
            brightness=float(values.mean()),
            dark=float((values < DARK).mean()),
            burnt=float((values > BURNT).mean()),
            red=float(red[inside].mean()),
            structure=float((_gradient(grey)[inside] > EDGE).mean()),
            sharpness=_sharpness(grey, inside),
            change=change,
            motion=motion,
            residual=residual,
        )

    def _against_the_one_before(self, rgb: np.ndarray) -> tuple[float, float, float]:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        before, self._before = self._before, grey
        if before is None:
            return (np.nan,) * 3
        inside = self._flow_view
        flow = self._dis.calc(grey, before, None)
        y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
        found = cv2.remap(before, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        motion = np.median(np.linalg.norm(flow[inside], axis=1)) / np.hypot(*grey.shape)
        scale = grey[inside].std() / 255 + 0.01
        return _difference(grey, before, inside), float(motion), _difference(grey, found, inside) / float(scale)


def _difference(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    """Mean difference of brightness [0, 1] beside that of the whole pictures, which exposure changes."""
    first, second = one[inside].astype(np.float32) / 255, other[inside].astype(np.float32) / 255
    return float(np.abs((first - first.mean()) - (second - second.mean())).mean())


def _sharpness(grey: np.ndarray, inside: np.ndarray) -> float:
    fine, coarse = (np.square(_gradient(grey, sigma)[inside]).mean() for sigma in (FINE, COARSE))
    return float(1 - coarse / (fine + 1e-9))


def _gradient(grey: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    smooth = cv2.GaussianBlur(grey, (0, 0), sigma)
    return np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) / 8


def _scaled(picture: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _shrunk(view: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The view at ``size`` (H, W) without what is near its border; all of it where nothing would be left."""
    small = cv2.resize(view.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    inner = cv2.erode(small, np.ones((INNER, INNER), np.uint8), borderValue=1) > 0
    return inner if inner.any() else np.ones(size, bool)
