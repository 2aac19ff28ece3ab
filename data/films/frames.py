"""The frames of a film or of a folder, one after the other, with their times."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from data.clips import VIDEO_SUFFIXES
from data.image_files import list_images, read_rgb
from util.errors import UserError

FOLDER_FPS = 25.0  # of frames in a folder, whose times nobody wrote down


@dataclass(frozen=True)
class FilmFrame:
    """A frame, RGB uint8 (H, W, 3), its number from 0 and its time [s]."""

    number: int
    time_s: float
    rgb: np.ndarray


def read_film(source: Path) -> Iterator[FilmFrame]:
    """All frames of a film (PyAV) or of a folder of pictures; no more than one is held.

    Raises:
        UserError: it is neither, or nothing of it can be decoded. What cannot be decoded in the middle is left out.
    """
    if source.is_dir():
        yield from _read_folder(source)
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        yield from _read_video(source)
    else:
        raise UserError(f"{source} is neither a film ({', '.join(VIDEO_SUFFIXES)}) nor a folder of frames")


def _read_folder(folder: Path) -> Iterator[FilmFrame]:
    files = list_images(folder)
    if not files:
        raise UserError(f"{folder} holds no frames")
    for number, file in enumerate(files):
        yield FilmFrame(number, number / FOLDER_FPS, (read_rgb(file) * 255).round().astype(np.uint8))


def _read_video(file: Path) -> Iterator[FilmFrame]:
    number = 0
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise UserError(f"{file} holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for packet in container.demux(stream):
                for frame in _decoded(packet):
                    time_s = frame.time if frame.time is not None else number / FOLDER_FPS
                    yield FilmFrame(number, float(time_s), frame.to_ndarray(format="rgb24"))
                    number += 1
    except (av.error.FFmpegError, OSError) as error:
        if number == 0:
            raise UserError(f"{file} cannot be read as a film ({error})") from None
    if number == 0:
        raise UserError(f"{file} holds no frame that can be decoded; is the file whole?")


def _decoded(packet: av.Packet) -> list[av.VideoFrame]:
    """The frames of a packet; none where it is damaged."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []
