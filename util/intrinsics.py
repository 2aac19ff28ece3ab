"""Pinhole intrinsics for tools and exports: from a file, from a field of view, and scaled with the picture.

Pixel (0, 0) is the centre of the top-left pixel, so the picture reaches from -0.5 to W - 0.5 and its middle is
at (W - 1) / 2.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from util.errors import UserError

INTRINSICS_JSON = "intrinsics.json"
PINHOLE_FIELDS = ("width", "height", "fx", "fy", "cx", "cy")


class NoPinhole(UserError):
    """A file describes a camera that bends lines, so there is no K for its pictures."""


class Intrinsics(NamedTuple):
    """A pinhole camera: ``K`` float64 (3, 3) [px], and the ``size`` (H, W) of the picture that it belongs to."""

    K: np.ndarray
    size: tuple[int, int]


def intrinsics_from_fov(fov_deg: float, width: int, height: int) -> np.ndarray:
    """K of a camera that looks straight ahead through square pixels.

        fx = fy = (W / 2) / tan(fov / 2),    cx = (W - 1) / 2,    cy = (H - 1) / 2

    Args:
        fov_deg: horizontal field of view, from the left picture edge to the right one [degrees].
        width, height: size of the picture [px].

    Returns:
        float64, (3, 3) [px].

    Raises:
        UserError: ``fov_deg`` lies outside (0, 180), or the size is not positive.
    """
    if not 0.0 < fov_deg < 180.0:
        raise UserError(f"a pinhole camera's field of view lies between 0 and 180 degrees, got {fov_deg}")
    if width < 1 or height < 1:
        raise UserError(f"the picture's size must be positive, got {width}x{height}")
    focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
    return _matrix(focal, focal, (width - 1) / 2, (height - 1) / 2)


def read_intrinsics(path: Path) -> Intrinsics:
    """Read ``{"model": "pinhole", "width": .., "height": .., "fx": .., "fy": .., "cx": .., "cy": ..}`` [px].

    ``model`` may be missing. ``distortion`` may be there as long as it is all 0.

    Raises:
        UserError: there is no such file, it is no such json, a value is not usable, or the camera is no pinhole
            (a fisheye, or one with distortion).
    """
    fields = _read_json_object(path)
    _require_pinhole(fields, path)
    missing = [name for name in PINHOLE_FIELDS if name not in fields]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; intrinsics need {', '.join(PINHOLE_FIELDS)}")
    try:
        width, height, fx, fy, cx, cy = (float(fields[name]) for name in PINHOLE_FIELDS)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {', '.join(PINHOLE_FIELDS)} must be numbers ({error})") from error
    if not all(math.isfinite(x) and x > 0 for x in (width, height, fx, fy)) or not math.isfinite(cx + cy):
        raise UserError(f"{path}: sizes and focal lengths must be positive, got {width}x{height}, fx {fx}, fy {fy}")
    return Intrinsics(_matrix(fx, fy, cx, cy), (int(height), int(width)))


def scale_intrinsics(K: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """K of the same view after its picture was resized.

    A resize maps the picture's edges on each other, x' + 1/2 = s (x + 1/2) with s = W' / W, hence

        fx' = s fx,    cx' = s (cx + 1/2) - 1/2,    and y alike.

    Args:
        K: (..., 3, 3) [px of ``from_size``].
        from_size, to_size: (H, W) before and after.

    Returns:
        float64, (..., 3, 3) [px of ``to_size``].

    Raises:
        ValueError: ``K`` is not (..., 3, 3), or a size is not positive.
    """
    if K.shape[-2:] != (3, 3):
        raise ValueError(f"K must be (..., 3, 3), got {K.shape}")
    if min(*from_size, *to_size) < 1:
        raise ValueError(f"sizes must be positive, got {from_size} and {to_size}")
    scale_y, scale_x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    resize = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])
    return resize @ K


def _matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _read_json_object(path: Path) -> dict:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"there is no intrinsics file {path}; give its path, or a field of view with --fov") from error
    except ValueError as error:  # both bad json and bad UTF-8
        raise UserError(f"{path} is no json: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold one json object, got a {type(content).__name__}")
    return content


def _require_pinhole(fields: dict, path: Path) -> None:
    """Straight lines must be straight: nothing here bends a ray."""
    model = fields.get("model", "pinhole")
    if model != "pinhole":
        fault = f"describes a {model} camera"
    elif np.any(fields.get("distortion", 0)):
        fault = "describes a camera with lens distortion"
    else:
        return
    raise NoPinhole(
        f"{path} {fault}, but depth is turned into points through a pinhole: undistort the frames first "
        f"(cv2.fisheye.undistortImage, cv2.undistort) and give the pinhole that they then have, "
        f"or an approximate field of view with --fov"
    )
