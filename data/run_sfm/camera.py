"""The camera of the frames that SfM is given: from a calibration, or a plausible guess, with the lens's distortion."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from data.fisheye import KannalaBrandtCamera, undistortion_map
from data.sfm.published import CAMERA, read_published
from util.errors import UserError
from util.intrinsics import (
    INTRINSICS_JSON,
    PINHOLE_FIELDS,
    Intrinsics,
    NoPinhole,
    intrinsics_from_fov,
    read_intrinsics,
    scale_intrinsics,
)

ASPECT_TOLERANCE = 0.01
ALL_OF_A_PIXEL = 0.99
FISHEYE_MODELS, OTHER_MODELS = ("fisheye", "opencv_fisheye"), ("pinhole", "opencv")
FISHEYE_LENGTHS, OTHER_LENGTHS = (4,), (4, 5, 8)  # k1 k2 k3 k4, and k1 k2 p1 p2 [k3 [k4 k5 k6]]
NO_CAMERA = (
    "the camera of {source} is not known. Give its calibration (--intrinsics FILE, or intrinsics.json beside the "
    "frames), or a plausible --fov or --focal, which stays as it is. SfM cannot find it: the camera hardly turns in "
    "such a clip, and a focal length that is wrong by a factor of 3 to 5 then fits the frames just as well, with a "
    "depth that is wrong by as much"
)


@dataclass(frozen=True)
class Lens:
    """What bends the rays of a camera, and the pinhole of the same centre that its pictures are turned into.

    Args:
        camera: the pinhole, of the frames' size.
        distortion: OpenCV's coefficients; empty where nothing is bent.
        fisheye: they are those of ``cv2.fisheye``.
        origin: where the camera is known from, for the report.
    """

    camera: Intrinsics
    distortion: tuple[float, ...] = ()
    fisheye: bool = False
    origin: str = ""

    @property
    def bends(self) -> bool:
        """Whether pictures have to be undistorted."""
        return self.fisheye or any(self.distortion)

    def straighten(self, rgb: np.ndarray) -> np.ndarray:
        """A picture uint8 (H, W, 3) as the pinhole sees it, bilinear; 0 where the lens saw nothing."""
        return cv2.remap(rgb, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) if self.bends else rgb

    def straighten_view(self, view: np.ndarray) -> np.ndarray:
        """A view bool (H, W) as the pinhole sees it; a pixel that shows a little of anything else is none of it."""
        return self.straighten(view.astype(np.float32)) > ALL_OF_A_PIXEL

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each pixel of the pinhole's picture is in that of the lens, x and y, float32 (H, W) [px]."""
        K, size = self.camera
        if self.fisheye:
            return undistortion_map(KannalaBrandtCamera(size, K[0, 0], K[1, 1], K[0, 2], K[1, 2], *self.distortion))
        return cv2.initUndistortRectifyMap(K, np.array(self.distortion), None, K, size[::-1], cv2.CV_32FC1)


def find_lens(
    source: Path, size: tuple[int, int], *, intrinsics: Path | None, fov_deg: float | None, focal_px: float | None
) -> Lens:
    """The camera of frames of ``size`` (H, W) in ``source``, by what is given, or by what is beside them.

    Args:
        source: film or folder of frames.
        intrinsics: calibration.
        fov_deg: horizontal field of view [degrees].
        focal_px: focal length [px]; the optical axis goes through the picture's middle.

    Raises:
        UserError: nothing is known of the camera, or what is given is unusable or of other frames.
    """
    beside = (source if source.is_dir() else source.parent) / INTRINSICS_JSON
    height, width = size
    if fov_deg is not None:
        K = intrinsics_from_fov(fov_deg, width, height)
        return Lens(Intrinsics(K, size), origin=f"--fov {fov_deg:g}")
    if focal_px is not None:
        K = np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]])
        return Lens(Intrinsics(K, size), origin=f"--focal {focal_px:g}")
    if intrinsics is None and not beside.is_file():
        if (source / CAMERA).is_file():  # SfM results of before, whose camera is known
            return _of_size(Lens(read_published(source).camera, origin=str(source / CAMERA)), size, source / CAMERA)
        raise UserError(NO_CAMERA.format(source=source))
    file = intrinsics or beside
    return _of_size(read_lens(file), size, file)


def read_lens(file: Path) -> Lens:
    """``intrinsics.json``, which may have OpenCV's ``distortion``, or that of cv2.fisheye with ``"model": "fisheye"``.

    Raises:
        UserError: it cannot be read, or is of a model that is not known.
    """
    try:
        return Lens(read_intrinsics(file), origin=str(file))
    except NoPinhole:
        return _read_bent(file, json.loads(file.read_text(encoding="utf-8")))


def _read_bent(file: Path, fields: dict) -> Lens:
    """A lens of a file that was read before and bends rays."""
    model = fields.get("model", OTHER_MODELS[0])
    if model not in FISHEYE_MODELS + OTHER_MODELS:
        raise UserError(
            f"{file} describes a camera of the model {model!r}; known are {', '.join(OTHER_MODELS + FISHEYE_MODELS)}. "
            "Undistort the frames first, and give the pinhole that they then have"
        )
    fisheye = model in FISHEYE_MODELS
    lengths = FISHEYE_LENGTHS if fisheye else OTHER_LENGTHS
    try:
        width, height, fx, fy, cx, cy = (float(fields[name]) for name in PINHOLE_FIELDS)
        distortion = tuple(float(value) for value in fields.get("distortion", ()))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} needs the numbers {', '.join(PINHOLE_FIELDS)} and distortion ({error})") from None
    if (
        len(distortion) not in lengths
        or not all(map(math.isfinite, (cx, cy, *distortion)))
        or min(fx, fy, width, height) <= 0
    ):
        raise UserError(
            f"{file}: a {model} camera has positive sizes and focal lengths and a distortion of "
            f"{' or '.join(map(str, lengths))} numbers, got {width:g}x{height:g}, {fx:g}, {fy:g} and {len(distortion)}"
        )
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return Lens(Intrinsics(K, (int(height), int(width))), distortion, fisheye, str(file))


def _of_size(lens: Lens, size: tuple[int, int], file: Path) -> Lens:
    """The lens for frames that were resized."""
    (height, width), (of_height, of_width) = size, lens.camera.size
    if abs(width * of_height / (height * of_width) - 1) > ASPECT_TOLERANCE:
        raise UserError(f"{file} is of pictures of {of_width}x{of_height} pixels, but the frames have {width}x{height}")
    K = scale_intrinsics(lens.camera.K, lens.camera.size, size)
    return Lens(Intrinsics(K, size), lens.distortion, lens.fisheye, lens.origin)
