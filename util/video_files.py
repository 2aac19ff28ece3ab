"""Videos in and out through OpenCV: RGB frames, plain errors, never half a file."""

import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np

from util.errors import UserError
from util.files import atomic_path

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


class VideoInfo(NamedTuple):
    """What a video's container states."""

    fps: float | None  # None when it is not stated
    num_frames: int | None  # None when it is not stated; some containers only estimate it
    size: tuple[int, int]  # (H, W) [px], after the rotation that phones store


def video_info(path: Path) -> VideoInfo:
    """Frame rate, number of frames and size of a video.

    Raises:
        UserError: the file is missing, no readable video, or without any frame.
    """
    capture, first = _open_video(path)
    fps, num_frames = _stated(capture, cv2.CAP_PROP_FPS), _stated(capture, cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    return VideoInfo(fps, None if num_frames is None else int(num_frames), first.shape[:2])


def read_video_frames(path: Path) -> Iterator[np.ndarray]:
    """All frames of a video in their order, RGB, uint8, (H, W, 3) each; one at a time in memory.

    The file is opened at the call, so its errors come at once. A video that ends before its stated number of
    frames gives the frames there are and a line on stderr.

    Raises:
        UserError: the file is missing, no readable video, or without any frame.
    """
    capture, first = _open_video(path)
    return _frames(capture, first, path)


class VideoWriter:
    """Write RGB frames as a video: ``with VideoWriter(path, fps) as video: video.write(frame)``.

    ``.mp4`` is MPEG-4 part 2 (mp4v), ``.avi`` is Motion JPEG. Where OpenCV was built without mp4v, an ``.mp4`` becomes
    an ``.avi`` of the same name; ``video.path`` tells which it was. The file appears under its name when the block
    ends well; an error in the block leaves nothing, and what was there before stays. Both formats need even sizes:
    an odd picture gets its last row or column twice.
    """

    def __init__(self, path: Path, fps: float) -> None:
        """
        Args:
            path: ends in ``.mp4`` or ``.avi``.
            fps: frames per second, > 0.

        Raises:
            UserError: another ending, or a frame rate that is not positive.
        """
        path = Path(path)
        if path.suffix.lower() not in CODECS:
            raise UserError(f"videos are written as {' or '.join(CODECS)}, got {path}")
        if not (math.isfinite(fps) and fps > 0):
            raise UserError(f"a video's frame rate must be positive, got {fps} for {path}")
        self.path = path if _can_encode(path.suffix.lower()) else path.with_suffix(".avi")
        self.fps = fps
        self.num_frames = 0
        self._exit = ExitStack()
        self._size: tuple[int, int] | None = None
        self._encoder: cv2.VideoWriter | None = None
        self._temporary: Path | None = None

    def __enter__(self) -> "VideoWriter":
        self._temporary = self._exit.enter_context(atomic_path(self.path))
        self._exit.push(self._close)  # before the rename, so that what it raises leaves nothing behind
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, RGB, uint8, (H, W, 3); the first one sets the size of all.

        Raises:
            ValueError: another type or size.
            OSError: no encoder could be opened for this size.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be RGB, uint8, (H, W, 3), got {frame.dtype} {frame.shape}")
        if self._encoder is None:
            self._encoder, self._size = _encoder(self._temporary, self.fps, frame.shape[:2]), frame.shape[:2]
        if frame.shape[:2] != self._size:
            raise ValueError(f"frame {self.num_frames} is {frame.shape[:2]}, but {self.path} began with {self._size}")
        self._encoder.write(cv2.cvtColor(_to_even(frame), cv2.COLOR_RGB2BGR))
        self.num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.__exit__(kind, error, traceback)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._encoder is not None:
            self._encoder.release()
        if error is None:
            self._check_written()

    def _check_written(self) -> None:
        """OpenCV's encoders do not tell when the disk is full: look at what came out."""
        if self.num_frames == 0:
            raise ValueError(f"no frames were written to {self.path}")
        try:
            written = video_info(self._temporary).num_frames
        except UserError as error:
            raise OSError(f"{self.path} could not be written (is the disk full?)") from error
        if written != self.num_frames:
            raise OSError(f"{self.path} holds {written} of {self.num_frames} frames (is the disk full?)")


def _open_video(path: Path) -> tuple[cv2.VideoCapture, np.ndarray]:
    """An open capture and its first frame, BGR."""
    if not Path(path).is_file():
        raise UserError(f"there is no video file {path}")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UserError(f"{path} cannot be opened as a video; convert it, e.g. ffmpeg -i IN -c:v libx264 OUT.mp4")
    found, first = capture.read()
    if not found:
        capture.release()
        raise UserError(f"{path} holds no frame that can be decoded; is the file whole?")
    return capture, first


def _stated(capture: cv2.VideoCapture, what: int) -> float | None:
    value = capture.get(what)
    return value if math.isfinite(value) and value > 0 else None


def _frames(capture: cv2.VideoCapture, frame: np.ndarray, path: Path) -> Iterator[np.ndarray]:
    stated = _stated(capture, cv2.CAP_PROP_FRAME_COUNT)
    num_frames, found = 0, True
    try:
        while found:
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            num_frames += 1
            found, frame = capture.read()
    finally:
        capture.release()
    if stated is not None and num_frames < stated:
        sys.stderr.write(f"warning: {path} states {int(stated)} frames, but only {num_frames} could be decoded\n")


def _can_encode(suffix: str) -> bool:
    """Whether this build of OpenCV can write such a file, found out with a small one."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = cv2.VideoWriter(str(Path(folder) / f"probe{suffix}"), _fourcc(suffix), 25.0, (64, 64))
        opened = encoder.isOpened()
        encoder.release()
    return opened


def _encoder(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    height, width = size[0] + size[0] % 2, size[1] + size[1] % 2
    encoder = cv2.VideoWriter(str(path), _fourcc(path.suffix.lower()), fps, (width, height))
    if not encoder.isOpened():
        raise OSError(f"OpenCV cannot write a {width}x{height} video at {fps} frames per second to {path}")
    return encoder


def _to_even(frame: np.ndarray) -> np.ndarray:
    """Repeat the last row or column where the size is odd: the encoders would cut it off."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _fourcc(suffix: str) -> int:
    return cv2.VideoWriter_fourcc(*CODECS[suffix])
