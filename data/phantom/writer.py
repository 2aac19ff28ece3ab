"""Writes the files of the rendered set, in the encodings that ``data.depth_files`` and ``data.clip_truth`` read."""

import json
from pathlib import Path

import cv2
import numpy as np

from data.clip_truth import FLOW_SCALE, FLOW_ZERO
from data.depth_files import encode_depth, write_depth_json
from data.phantom.camera import Intrinsics
from util.files import write_text

MAX_DEPTH_MM = 200.0


def write_image(path: Path, rgb: np.ndarray, jpeg_quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB as PNG or JPEG, whichever the suffix says."""
    _write(path, np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])


def write_depth(path: Path, depth_mm: np.ndarray) -> None:
    """Write (H, W) depth [mm] as 16-bit PNG; what is not in (0, 200] mm becomes 0, that is invalid."""
    _write(path, encode_depth(np.where(depth_mm <= MAX_DEPTH_MM, depth_mm, 0.0)))


def write_depth_encoding(folder: Path) -> None:
    """Write ``depth.json`` that explains the PNG files of ``folder``."""
    write_depth_json(folder, max_depth_mm=MAX_DEPTH_MM)


def write_flow(path: Path, flow: np.ndarray, defined: np.ndarray, visible: np.ndarray) -> None:
    """Write flow (H, W, 2) [px] as KITTI 16-bit PNG: R = u, G = v, B = 1 where visible in the other frame.

    Where the flow is not ``defined``, or too long for the format, all three are 0.
    """
    value = np.round(flow * FLOW_SCALE) + FLOW_ZERO
    writable = defined & ((value > 0) & (value < 2**16)).all(axis=2)
    rgb = np.concatenate([np.where(writable[..., None], value, 0), (visible & writable)[..., None]], axis=2)
    _write(path, np.ascontiguousarray(rgb[..., ::-1].astype(np.uint16)))


def write_poses(path: Path, poses: np.ndarray) -> None:
    """Write camera-to-world poses (T, 4, 4) [mm]."""
    write_json(path, {"world_from_cam": poses.tolist(), "unit": "mm"})


def write_intrinsics(folder: Path, camera: Intrinsics) -> None:
    """Write ``intrinsics.json`` into ``folder``."""
    write_json(folder / "intrinsics.json", camera.as_dict())


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write ``content`` as readable JSON."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def _write(path: Path, image: np.ndarray, options: list[int] | None = None) -> None:
    """Encode and write; cv2.imwrite would swallow the reason of a failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3] if path.suffix == ".png" else options
    done, encoded = cv2.imencode(path.suffix, image, options or [])
    if not done:
        raise ValueError(f"{path.name}: OpenCV cannot encode {image.dtype} {image.shape} as {path.suffix}")
    path.write_bytes(encoded.tobytes())
