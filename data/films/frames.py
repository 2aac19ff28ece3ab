"""The frames of a film or of a folder, one after the other, with their times; and some of them, spread over it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from data.clips import VIDEO_SUFFIXES
from data.films.interlace import deinterlaced
from data.image_files import list_images, read_rgb
from util.errors import UserError

FOLDER_FPS = 25.0  # of frames in a folder, whose times nobody wrote down
WHOLE_SHARE = 0.98  # of the stated frames, with which a film is whole
ERRORS = (av.error.FFmpegError, OSError)


@dataclass
class Damage:
    """What was found to be wrong with a film while it was read.

    Args:
        packets: that could not be decoded.
        end: why reading ended before the film's end.
    """

    packets: int = 0
    end: str = ""

    def describe(self, decoded: int, stated: int | None) -> str:
        """In words; empty for a whole film. A film may state a few frames more than it has."""
        parts = [f"{self.packets} packets cannot be decoded"] * (self.packets > 0) + [self.end] * bool(self.end)
        if stated is not None and decoded < WHOLE_SHARE * stated:
            parts.append(f"{decoded} of {stated} frames are there")
        return ", ".join(parts)


@dataclass(frozen=True)
class FilmFrame:
    """A frame of a film.

    Args:
        number: from 0.
        time_s: from the beginning [s].
        picture: as the decoder gave it, or RGB uint8 (H, W, 3); it becomes RGB, or small, when it is asked for, which
            may be in another thread.
        interlaced: its odd rows are of another moment, and are made new where that shows.
        lost_before: frames just before it could not be decoded.
    """

    number: int
    time_s: float
    picture: av.VideoFrame | np.ndarray
    interlaced: bool = False
    lost_before: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) [px]."""
        if isinstance(self.picture, np.ndarray):
            return self.picture.shape[:2]
        return self.picture.height, self.picture.width

    def rgb(self) -> np.ndarray:
        """RGB uint8 (H, W, 3)."""
        return deinterlaced(self._rgb()) if self.interlaced else self._rgb()

    def small(self, width: int) -> np.ndarray:
        """RGB uint8 (h, width, 3), each pixel the mean of those that it stands for."""
        height = max(1, round(self.size[0] * width / self.size[1]))
        if self.interlaced:  # one moment of the two
            return cv2.resize(self._rgb()[::2], (width, height), interpolation=cv2.INTER_AREA)
        if isinstance(self.picture, np.ndarray):
            return cv2.resize(self.picture, (width, height), interpolation=cv2.INTER_AREA)
        # From the decoder's own format: several times as fast as by way of a large RGB picture.
        return self.picture.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")

    def _rgb(self) -> np.ndarray:
        return self.picture if isinstance(self.picture, np.ndarray) else self.picture.to_ndarray(format="rgb24")


def read_film(source: Path, *, interlaced: bool = False, damage: Damage | None = None) -> Iterator[FilmFrame]:
    """All frames of a film (PyAV) or of a folder of pictures; no more than one is held.

    Args:
        source: the file, or the folder.
        interlaced: what its frames are taken for.
        damage: gets what cannot be decoded, and is left out.

    Raises:
        UserError: it is neither, or nothing of it can be decoded.
    """
    if source.is_dir():
        for number, file in enumerate(_frame_files(source)):
            yield FilmFrame(number, number / FOLDER_FPS, _read_bytes(file), interlaced)
        return
    damage = Damage() if damage is None else damage
    number, lost, start_s = 0, False, None
    try:
        with _opened(source) as container:
            for packet in container.demux(_video_of(container, source)):
                frames = _decoded(packet)
                damage.packets += frames is None
                lost = lost or frames is None
                for frame in frames or []:
                    time_s = float(frame.time if frame.time is not None else number / FOLDER_FPS)
                    start_s = time_s if start_s is None else start_s
                    yield FilmFrame(number, time_s - start_s, frame, interlaced, lost and number > 0)
                    number, lost = number + 1, False
    except ERRORS as error:
        if number == 0:
            raise UserError(f"{source} cannot be read as a film ({error})") from None
        damage.end = f"reading ends at frame {number} ({error})"
    if number == 0:
        raise UserError(f"{source} holds no frame that can be decoded; is the file whole?")


def sample_film(source: Path, count: int) -> Iterator[np.ndarray]:
    """About ``count`` frames from all over a film, RGB uint8 (H, W, 3), without decoding the ones between.

    In a film these are frames that are stored whole; where it has few of them (a short film), or cannot be searched,
    every n-th frame.

    Raises:
        UserError: nothing of the film can be read.
    """
    known = count_frames(source)
    if source.is_dir():
        files = _frame_files(source)
        yield from (_read_bytes(files[at]) for at in _spread(len(files), count))
        return
    whole = list(_whole_frame_times(source, count))
    if len(whole) >= count // 2:
        yield from _frames_at(source, whole)
    else:
        every = max(1, (known or count) // count)
        yield from (frame.rgb() for frame in islice(read_film(source), 0, None, every))


def count_frames(source: Path) -> int | None:
    """As the film says or its length suggests; None when neither is known.

    Raises:
        UserError: it is neither a film nor a folder of frames.
    """
    if source.is_dir():
        return len(_frame_files(source))
    try:
        with _opened(source) as container:
            stream = _video_of(container, source)
            if stream.frames:
                return stream.frames
            if container.duration and stream.average_rate:
                return int(container.duration / av.time_base * stream.average_rate)
    except ERRORS as error:
        raise UserError(f"{source} cannot be read as a film ({error})") from None
    return None


def _whole_frame_times(file: Path, count: int) -> Iterator[int]:
    """Times of ``count`` frames that are stored whole, in the stream's units; none where the film cannot be read."""
    try:
        with _opened(file) as container:
            stream = _video_of(container, file)
            times = [packet.pts for packet in container.demux(stream) if packet.is_keyframe and packet.pts is not None]
    except ERRORS:
        return
    yield from (times[at] for at in _spread(len(times), count))


def _frames_at(file: Path, times: list[int]) -> Iterator[np.ndarray]:
    with _opened(file) as container:
        stream = _video_of(container, file)
        for time in times:
            try:
                container.seek(time, stream=stream)
                yield next(container.decode(stream)).to_ndarray(format="rgb24")
            except (*ERRORS, StopIteration):
                continue


def _spread(count: int, wanted: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int)).tolist()


def _frame_files(folder: Path) -> list[Path]:
    files = list_images(folder)
    if not files:
        raise UserError(f"{folder} holds no frames")
    return files


def _read_bytes(file: Path) -> np.ndarray:
    return (read_rgb(file) * 255).round().astype(np.uint8)


def _opened(file: Path) -> av.container.InputContainer:
    if file.suffix.lower() not in VIDEO_SUFFIXES:
        raise UserError(f"{file} is neither a film ({', '.join(VIDEO_SUFFIXES)}) nor a folder of frames")
    # An absolute path, since FFmpeg takes what stands before a colon for a protocol.
    return av.open(file.absolute(), metadata_errors="replace")


def _video_of(container: av.container.InputContainer, file: Path) -> av.VideoStream:
    if not container.streams.video:
        raise UserError(f"{file} holds no video")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _decoded(packet: av.Packet) -> list[av.VideoFrame] | None:
    """The frames of a packet; None where it is damaged."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return None
