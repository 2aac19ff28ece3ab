"""Reading and writing picture files: complete or an error, 8 or 16 bits, never a silent conversion."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from util.errors import UserError
from util.files import atomic_path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# The marks with which a complete file ends. OpenCV fills the rest of a truncated picture with grey and says nothing.
PNG_START, PNG_END = b"\x89PNG", b"IEND"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
TAIL_BYTES = 1024  # some cameras write a little after the end mark


def list_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Files directly in ``folder`` with one of ``suffixes``, in natural order; hidden files are left out."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(found, key=natural_key)


def natural_key(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Sorts names as people count: ``frame_2`` before ``frame_10``, for films cut without leading zeros."""
    parts = re.findall(r"(\D*)(\d*)", path.stem)
    return [(text, int(number or -1)) for text, number in parts], path.name


def read_picture(path: Path) -> np.ndarray:
    """The file's pixels as they are: (H, W) or (H, W, C) with OpenCV's channel order (BGR), 8 or 16 bits or float.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is empty, damaged, truncated or no picture.
    """
    content = path.read_bytes()
    tail = content[-TAIL_BYTES:]
    truncated = (content.startswith(PNG_START) and PNG_END not in tail) or (
        content.startswith(JPEG_START) and JPEG_END not in tail
    )
    if truncated:
        raise UserError(f"{path} is truncated ({len(content)} bytes, the end mark is missing); copy or render it again")
    with _errors_only():
        try:
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
        except cv2.error:  # a size beyond OpenCV's limit
            picture = None
    if picture is None:
        raise UserError(f"{path} cannot be read as a picture ({len(content)} bytes); remove or replace it")
    return picture


@contextmanager
def _errors_only() -> Iterator[None]:
    """Keep OpenCV from warning, once a file, of TIFF tags that nobody reads."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def read_rgb(path: Path) -> np.ndarray:
    """An RGB frame as float32 (H, W, 3) in [0, 1]; grey becomes three channels, alpha is dropped.

    Of 16 bits the upper eight count: SimCol3D stores 8-bit colour times 256, and a full 16-bit picture loses less than
    one grey level.
    """
    picture = read_picture(path)
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise UserError(f"{path} holds {picture.dtype} pixels; an RGB frame has 8 or 16 bits a channel")
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    return picture[..., 2::-1].astype(np.float32) / 255.0


def write_picture(path: Path, rgb: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB, or uint8/uint16 (H, W) grey, whole or not at all.

    Raises:
        UserError: the suffix is of no picture format.
        OSError: the file cannot be written (folder missing rights, disk full).
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f"{path} is no picture's name; pictures end in {', '.join(IMAGE_SUFFIXES)}")
    bgr = rgb[..., ::-1] if rgb.ndim == 3 else rgb
    written, content = cv2.imencode(path.suffix, np.ascontiguousarray(bgr))
    if not written:
        raise OSError(f"OpenCV could not encode {path}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of a picture file."""
    return read_picture(path).shape[:2]
