"""How many frames a second ``data.prepare_video`` gets through, beside what decoding them alone takes."""

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import av
import numpy as np

from benchmark.batches import make_pictures
from benchmark.machine import count_cores
from data.films.film import Settings, prepare_film
from data.films.frames import read_film

SIZES = ((480, 640), (1080, 1920))  # (H, W) of the films [px]
FRAMES = 300
MOTION = 0.003  # between frames [diagonals]: about every second one is worth keeping
NOISE = 6  # grey levels; without it a film would be smaller, and faster to decode, than real ones
UNIT = 1_000_000  # pixels that take as long as a unit of the progress (``benchmark.effort``)


@dataclass
class FilmTimes:
    """Seconds for a film of ``frames`` pictures of ``height`` x ``width`` pixels, one entry a repeat."""

    height: int
    width: int
    frames: int
    kept: int = 0
    decode_seconds: list[float] = field(default_factory=list)
    prepare_seconds: list[float] = field(default_factory=list)

    @property
    def decoded_per_s(self) -> float:
        return self.frames / median(self.decode_seconds)

    @property
    def prepared_per_s(self) -> float:
        return self.frames / median(self.prepare_seconds)


def film_units(opt: Namespace) -> int:
    """All turns of all films."""
    return sum(_turn_units(*size) for size in SIZES) * opt.repeats


def measure_films(repeats: int, advance: Callable[[int], object]) -> list[FilmTimes]:
    """Times of one film of each size, worked on with all cores.

    Args:
        repeats: how often each film has its turn.
        advance: told the units of each turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        films = {size: write_film(Path(folder) / f"{size[0]}.mp4", *size) for size in SIZES}
        rows = {size: FilmTimes(*size, FRAMES) for size in SIZES}
        for turn in range(repeats):
            for size, film in films.items():
                _take_turn(film, Path(folder) / f"clips_{turn}", rows[size])
                advance(_turn_units(*size))
    return list(rows.values())


def write_film(file: Path, height: int, width: int) -> Path:
    """A camera that moves over a still picture, as H.264."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in _frames(height, width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file


def _frames(height: int, width: int) -> Iterator[np.ndarray]:
    step = max(1, round(MOTION * np.hypot(height, width)))
    whole = make_pictures(1, 3, height, width + step * FRAMES, seed=0)[0].permute(1, 2, 0).numpy()
    whole = (40 + 180 * whole).astype(np.int16)
    noise = np.random.default_rng(0).integers(-NOISE, NOISE + 1, (height, 2 * width, 1), dtype=np.int16)
    for number in range(FRAMES):
        left, shift = step * number, 97 * number % width
        yield (whole[:, left : left + width] + noise[:, shift : shift + width]).astype(np.uint8)


def _take_turn(film: Path, out: Path, row: FilmTimes) -> None:
    start = time.perf_counter()
    for _ in read_film(film):
        pass
    row.decode_seconds.append(time.perf_counter() - start)
    out.mkdir(exist_ok=True)
    start = time.perf_counter()
    state = prepare_film(film, out, Settings(), count_cores(), lambda frames: None)
    row.prepare_seconds.append(time.perf_counter() - start)
    row.kept = len(state["rows"])


def _turn_units(height: int, width: int) -> int:
    return max(1, FRAMES * height * width // UNIT)
