"""What is measured of each frame of a video, on small copies of it: enough to decide which frames to keep.

Shares and means are over what the camera sees (``data.films.look``), since a black border is as dark as a frame without
light.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data.films.frames import FilmFrame

WIDTH = 320  # of the copy that sharpness is measured on [px]
FLOW_WIDTH = 160  # of that for motion [px]
DARK, BURNT = 0.08, 0.97  # brightness in [0, 1]
RED_EXCESS = 0.3  # of red over the other channels' larger one, from which a pixel is nothing but red
EDGE = 0.02  # change of brightness from pixel to pixel that is structure and not noise
FINE, COARSE = 0.8, 2.5  # blurs whose difference is sharpness; the first takes noise away [px of the copy]
TILE = 20  # px of the copy; sharpness is the median over squares of it,
MIN_TILE, STRUCTURED = 0.6, 0.5  # with this share of the view's pixels, and this share of the usual energy
EPSILON = 1e-7
MEAN = np.full((1, 3), 1 / (3 * 255), np.float32)  # RGB of uint8 to brightness in [0, 1]
INNER = 9  # px of the copy that the view is shrunk by, so that its border is no structure


@dataclass(frozen=True)
class FrameMeasures:
    """Of one frame.

    Args:
        time_s: from the beginning of the film [s].
        lost_before: frames just before it could not be decoded.
        brightness: mean, [0, 1].
        dark, burnt, red: shares of the view, [0, 1].
        structure: share of the view with a gradient of brightness.
        sharpness: share of the energy of the gradient that a further blur takes away, [0, 1], the median over tiles
            with structure: a smeared frame is so everywhere, while a large smooth fold near the camera is one part of
            it. Other than the variance of the Laplacian it hardly depends on what is seen.
        change: mean difference of brightness to the frame before, of which the mean is taken out; nan for the first.
        news: that, in standard deviations of brightness; nan for the first.
        residual: what the optical flow from the frame before leaves of it; nan for the first.
    """

    time_s: float
    lost_before: bool
    brightness: float
    dark: float
    burnt: float
    red: float
    structure: float
    sharpness: float
    change: float
    news: float
    residual: float


@dataclass(frozen=True)
class SmallFrame:
    """What is kept of a frame while others are compared with it: RGB and grey copies, uint8, and what it knows."""

    time_s: float
    lost_before: bool
    copy: np.ndarray  # (h, WIDTH, 3)
    grey: np.ndarray  # (h, FLOW_WIDTH)

    @classmethod
    def of(cls, frame: FilmFrame) -> "SmallFrame":
        copy = frame.small(WIDTH)
        return cls(frame.time_s, frame.lost_before, copy, cv2.cvtColor(_scaled(copy, FLOW_WIDTH), cv2.COLOR_RGB2GRAY))


class Measurer:
    """Measures frames; it remembers nothing, so that several threads can use it.

    Args:
        seen: bool (H, W), where the film shows what the camera sees.
    """

    def __init__(self, seen: np.ndarray) -> None:
        self._inside = shrunk(seen, WIDTH)
        self._inside_flow = shrunk(seen, FLOW_WIDTH)
        pixels = _tile_sums(self._inside.astype(np.float32))
        self._tiles = pixels > MIN_TILE * pixels.max()

    def __call__(self, before: SmallFrame | None, frame: SmallFrame) -> FrameMeasures:
        """Of a frame and the one before it."""
        grey, inside = cv2.transform(frame.copy.astype(np.float32), MEAN), self._inside
        red, green, blue = cv2.split(frame.copy)
        excess = cv2.subtract(red, cv2.max(green, blue))  # 0 where it would be negative
        values = grey[inside]
        change, news, residual = self._against(before, frame)
        return FrameMeasures(
            time_s=frame.time_s,
            lost_before=frame.lost_before,
            brightness=float(values.mean()),
            dark=float((values < DARK).mean()),
            burnt=float((values > BURNT).mean()),
            red=float((excess[inside] > RED_EXCESS * 255).mean()),
            structure=float((_gradient(grey, 1.0)[inside] > EDGE**2).mean()),
            sharpness=self._sharpness(grey),
            change=change,
            news=news,
            residual=residual,
        )

    def motion(self, before: SmallFrame, frame: SmallFrame) -> float:
        """Median length of the optical flow between two frames, in diagonals of the picture."""
        flow = _flow(frame.grey, before.grey)
        return float(np.median(np.linalg.norm(flow[self._inside_flow], axis=1)) / np.hypot(*frame.grey.shape))

    def _sharpness(self, grey: np.ndarray) -> float:
        fine, coarse = (_tile_sums(_gradient(grey, sigma) * self._inside)[self._tiles] for sigma in (FINE, COARSE))
        structured = fine >= STRUCTURED * np.median(fine)
        return float(np.median(1 - coarse[structured] / (fine[structured] + EPSILON)))

    def _against(self, before: SmallFrame | None, frame: SmallFrame) -> tuple[float, float, float]:
        if before is None:
            return (np.nan,) * 3
        grey, inside = frame.grey, self._inside_flow
        flow = _flow(grey, before.grey)
        y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
        found = cv2.remap(
            before.grey, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        contrast = grey[inside].std() / 255 + 0.01
        change = _difference(grey, before.grey, inside)
        return change, float(change / contrast), float(_difference(grey, found, inside) / contrast)


def shrunk(seen: np.ndarray, width: int) -> np.ndarray:
    """``seen`` for copies of ``width``, without what is near its border; all of it where nothing would be left."""
    size = (width, max(1, round(seen.shape[0] * width / seen.shape[1])))
    small = cv2.resize(seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    inner = cv2.erode(small, np.ones((INNER, INNER), np.uint8), borderValue=1) > 0
    return inner if inner.any() else np.ones(size[::-1], bool)


def _flow(src: np.ndarray, tgt: np.ndarray) -> np.ndarray:
    # Made anew, since an estimator is not for several threads; that costs nothing beside its work.
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(src, tgt, None)


def _difference(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    """Mean difference of brightness [0, 1] beside that of the whole pictures, which exposure changes."""
    first, second = one[inside].astype(np.float32) / 255, other[inside].astype(np.float32) / 255
    return float(np.abs((first - first.mean()) - (second - second.mean())).mean())


def _tile_sums(values: np.ndarray) -> np.ndarray:
    """Sums over the squares of ``TILE`` pixels that a picture (H, W) is made of; what is over at its end is left."""
    rows, columns = (max(1, side // TILE) for side in values.shape)
    height, width = (min(TILE, side) for side in values.shape)
    tiles = values[: rows * height, : columns * width].reshape(rows, height, columns, width)
    return tiles.sum(axis=(1, 3))


def _gradient(grey: np.ndarray, sigma: float) -> np.ndarray:
    """Squared length of the gradient [1 / px^2] of a picture that was blurred by ``sigma`` [px]."""
    smooth = cv2.GaussianBlur(grey, (0, 0), sigma)
    return (cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8) ** 2 + (cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8) ** 2


def _scaled(picture: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
