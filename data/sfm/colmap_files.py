"""The files of a COLMAP model, as text or binary: their cameras, images and points as they stand there.

Source: "Output Format" of COLMAP's documentation, and files that pycolmap 4.2.1 wrote.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from data.sfm.text_files import read_lines, to_number
from util.errors import UserError

FILES = CAMERAS, IMAGES, POINTS = "cameras", "images", "points3D"
BINARY, TEXT = ".bin", ".txt"
SUFFIXES = (BINARY, TEXT)  # where both are complete, the first counts
PROMISE = re.compile(r"#\s*Number of \w+: (\d+)")
# The parameters of each camera model, in the order of the numbers that it has in binary files.
CAMERA_MODELS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "FOV": "fx fy cx cy omega",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
    "THIN_PRISM_FISHEYE": "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1",
}


class Camera(NamedTuple):
    """``where`` it was read, for messages; ``size`` is (H, W)."""

    where: str
    model: str
    size: tuple[int, int]
    params: tuple[float, ...]


class Image(NamedTuple):
    """A registered image: cam_from_world as a quaternion (w, x, y, z) and a translation; ``camera`` is an id."""

    where: str
    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


class Point(NamedTuple):
    """A point in the world with its mean reprojection error [px]; ``images`` are ids, and one may be there twice."""

    where: str
    xyz: tuple[float, ...]
    error: float
    images: tuple[int, ...]


Record = TypeVar("Record", Camera, Image, Point)
Records = Iterator[tuple[int, Record]]  # with their ids


def read_records(model: Path, what: str) -> dict[int, Any]:
    """The records of one of a model's files by id: Camera, Image or Point.

    Args:
        model: the folder.
        what: ``CAMERAS``, ``IMAGES`` or ``POINTS``.

    Raises:
        UserError: the file is missing, damaged or truncated, or two of its records have one id.
    """
    suffix = max(SUFFIXES, key=lambda suffix: sum((model / f"{name}{suffix}").is_file() for name in FILES))
    file = model / f"{what}{suffix}"
    if not file.is_file():
        raise UserError(f"{model} lacks {file.name}; a COLMAP model has {', '.join(FILES)} of one format")
    records: dict[int, Any] = {}
    for key, record in READERS[what, suffix](file):
        if records.setdefault(key, record) is not record:
            raise UserError(f"{record.where}: there is a second record of id {key}, first in {records[key].where}")
    if suffix == TEXT:
        _require_promised(file, len(records))
    return records


def _require_promised(file: Path, count: int) -> None:
    """COLMAP writes the number of records into a comment, by which one finds that a file was cut between lines."""
    promised = next((int(found[1]) for line in read_lines(file) if (found := PROMISE.match(line))), count)
    if count < promised:
        raise UserError(f"{file} has {count} records, but its comment promises {promised}; is it truncated?")


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are no comments, also those that are empty, each with its place."""
    for number, line in enumerate(read_lines(file), start=1):
        if not line.lstrip().startswith("#"):
            yield f"{file}, line {number}", line


def _text_cameras(file: Path) -> Records[Camera]:
    for where, line in _lines(file):
        if not line.strip():
            continue
        words = line.split()
        if len(words) < 5:
            raise UserError(f"{where}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS, got {line[:60]!r}")
        key, width, height = (to_number(words[at], int, where) for at in (0, 2, 3))
        yield key, Camera(where, words[1], (height, width), _floats(words[4:], where))


def _text_images(file: Path) -> Records[Image]:
    """Two lines an image; the second one, of its 2D points, may be empty."""
    lines = _lines(file)
    for where, line in lines:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        if len(words) < 10:
            raise UserError(f"{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, got {line[:60]!r}")
        pose = _floats(words[1:8], where)
        key, camera = (to_number(words[at], int, where) for at in (0, 8))
        place, points = next(lines, (where, ""))
        coordinates = points.split()
        if len(coordinates) % 3 or not all(word.lstrip("-").isdecimal() for word in coordinates[-1:]):
            raise UserError(f"{place}: expected the 2D points of {words[9]}, X Y POINT3D_ID each, or an empty line")
        yield key, Image(where, words[9].strip(), camera, pose[:4], pose[4:])


def _text_points(file: Path) -> Records[Point]:
    for where, line in _lines(file):
        if not line.strip():
            continue
        words = line.split()
        if len(words) < 8 or len(words) % 2:
            raise UserError(
                f"{where}: expected POINT3D_ID X Y Z R G B ERROR and pairs of IMAGE_ID POINT2D_IDX, got {line[:60]!r}"
            )
        x, y, z, error = _floats((*words[1:4], words[7]), where)
        images = tuple(to_number(word, int, where) for word in words[8::2])
        yield to_number(words[0], int, where), Point(where, (x, y, z), error, images)


def _floats(words: Sequence[str], where: str) -> tuple[float, ...]:
    return tuple(to_number(word, float, where) for word in words)


class _Bytes:
    """A binary file, little-endian, read from its begin to its end."""

    def __init__(self, file: Path) -> None:
        self.file, self.content, self.at = file, file.read_bytes(), 0

    def take(self, layout: str, what: str) -> tuple:
        """The next values by ``struct`` codes; ``what`` they are, for the message when the file ends before."""
        return struct.unpack(f"<{layout}", self.part(struct.calcsize(f"<{layout}"), what))

    def part(self, count: int, what: str) -> bytes:
        if self.at + count > len(self.content):
            raise UserError(
                f"{self.file} is truncated: it ends after {len(self.content)} bytes, in {what}; copy it again"
            )
        self.at += count
        return self.content[self.at - count : self.at]

    def text(self, what: str) -> str:
        """Up to the next byte that is 0."""
        end = self.content.find(b"\0", self.at)
        name = self.part(len(self.content) + 1 if end < 0 else end + 1 - self.at, what)[:-1]
        return name.decode("utf-8", "surrogateescape")  # as Python has names of files

    def records(self, what: str) -> Iterator[str]:
        """The names of the records, as many as the file promises; behind them it must end."""
        (count,) = self.take("Q", f"the number of {what}")
        for index in range(count):
            yield f"{self.file}, {what} {index + 1} of {count}"
        if self.at != len(self.content):
            raise UserError(f"{self.file} goes on behind its {count} {what}; it is damaged")


def _binary_cameras(file: Path) -> Records[Camera]:
    content = _Bytes(file)
    for where in content.records("cameras"):
        key, number, width, height = content.take("IiQQ", where)
        if not 0 <= number < len(CAMERA_MODELS):
            raise UserError(
                f"{where}: camera model number {number} is not known; undistort the frames to PINHOLE first"
            )
        model, params = list(CAMERA_MODELS.items())[number]
        yield key, Camera(where, model, (height, width), content.take(f"{len(params.split())}d", where))


def _binary_images(file: Path) -> Records[Image]:
    content = _Bytes(file)
    for where in content.records("images"):
        key, *pose, camera = content.take("I7dI", where)
        name = content.text(where)
        (num_points,) = content.take("Q", where)
        content.part(24 * num_points, where)  # x, y and id of the image's 2D points
        yield key, Image(where, name, camera, tuple(pose[:4]), tuple(pose[4:]))


def _binary_points(file: Path) -> Records[Point]:
    content = _Bytes(file)
    for where in content.records("points"):
        key, x, y, z, _, _, _, error, length = content.take("Q3d3BdQ", where)
        track = np.frombuffer(content.part(8 * length, where), "<u4")  # image and 2D point, one after the other
        yield key, Point(where, (x, y, z), error, tuple(track[::2].tolist()))


READERS: dict[tuple[str, str], Callable[[Path], Iterator[tuple[int, Any]]]] = {
    (CAMERAS, TEXT): _text_cameras,
    (IMAGES, TEXT): _text_images,
    (POINTS, TEXT): _text_points,
    (CAMERAS, BINARY): _binary_cameras,
    (IMAGES, BINARY): _binary_images,
    (POINTS, BINARY): _binary_points,
}
