"""How many samples a second the streams of training give, with loader processes and without."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmark.batches import CLIP_LENGTH, FAR_MM, MOTION, NEAR_MM, make_pictures
from benchmark.machine import count_cores
from data.base_dataset import BaseDataset
from data.clips import find_clips
from data.clips_dataset import ClipsDataset
from data.depth_files import write_depth, write_depth_json
from data.flow_cache import FlowCache
from data.formats import FolderFormat, PackedFormat
from data.image_files import write_picture
from data.pack import pack
from data.pairs_dataset import PairsDataset
from data.streams import Stream
from data.transforms import Preprocessing
from models.geometry.flow import create_flow_estimator

WORKERS = (0, 1, 2, 4, 8, 16)
PHASE = "train"
MIN_SAMPLES = 16  # of each data set
NOISE = 4 / 255  # in the frames: without it their files would be smaller, and faster to read, than real ones
BATCHES = 16  # that are timed in one turn
READ_AHEAD = 2  # batches that each of PyTorch's loader processes has ready
STREAMS = ("pairs", "packed pairs", "clips")


@dataclass
class LoaderTimes:
    """Seconds a batch of one stream with so many loader processes, one entry a repeat."""

    stream: str
    size: int
    batch: int
    workers: int
    seconds: list[float]

    @property
    def samples_per_s(self) -> float:
        return self.batch / median(self.seconds)


def worker_counts() -> list[int]:
    """Numbers of loader processes that make sense here: one core more than there are is one that waits for the disk."""
    return [count for count in WORKERS if count <= count_cores() + 1]


def loader_turns(repeats: int) -> int:
    """How often ``measure_loader`` tells that it is further."""
    return len(STREAMS) * len(worker_counts()) * repeats


def turn_units(size: int, batch: int) -> int:
    """Kilopixels of a turn: a sample costs about a tenth of a training step on it."""
    return max(1, BATCHES * size**2 * batch // 10_000)


def measure_loader(size: int, batch: int, repeats: int, advance: Callable[[int], object]) -> list[LoaderTimes]:
    """Times of the streams on a small data set of 8-bit RGB and 16-bit depth files, which are in the system's cache.

    Args:
        size: of the files, and of the samples [px].
        batch: samples of a batch.
        repeats: how often each number of processes has its turn.
        advance: told the ``turn_units`` of each turn.
    """
    with data_sets(size, max(MIN_SAMPLES, batch)) as datasets:
        rows = [LoaderTimes(stream, size, batch, count, []) for stream in STREAMS for count in worker_counts()]
        for _ in range(repeats):
            for row in rows:
                stream = Stream(row.stream, datasets[row.stream], batch, seed=0, num_workers=row.workers)
                row.seconds.append(seconds_a_batch(stream))
                advance(turn_units(size, batch))
    return rows


def seconds_a_batch(stream: Stream) -> float:
    """When it runs steadily: what is read ahead while the processes start does not count."""
    for _ in range(1 + READ_AHEAD * stream.num_workers):
        stream.next()
    start = time.perf_counter()
    for _ in range(BATCHES):
        stream.next()
    seconds = time.perf_counter() - start
    stream.seek(0)  # ends the processes
    return seconds / BATCHES


@contextmanager
def data_sets(size: int, count: int) -> Iterator[dict[str, BaseDataset]]:
    """So many pairs and clips in a temporary folder."""
    preprocessing = Preprocessing("resize", size, size)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pairs(root, size, count)
        write_clip(root / "video" / "clip", size, count + CLIP_LENGTH - 1)
        cache = FlowCache(root / "flow_cache", preprocessing)
        clips = find_clips(root / "video")
        cache.fill(clips, create_flow_estimator("dis"), torch.device("cpu"))
        files = FolderFormat(root)
        pack(files, preprocessing, root / "packed", "folder")
        yield {
            "pairs": PairsDataset(files, PHASE, preprocessing),
            "packed pairs": PairsDataset(PackedFormat(root / "packed"), PHASE, preprocessing),
            "clips": ClipsDataset(clips, preprocessing, cache, CLIP_LENGTH),
        }


def write_pairs(root: Path, size: int, count: int) -> None:
    """A split in this project's layout."""
    images = make_pictures(count, 3, size, size, seed=0)
    depths_mm = NEAR_MM + (FAR_MM - NEAR_MM) * make_pictures(count, 1, size, size, seed=1)
    for number, (image, depth_mm) in enumerate(zip(images, depths_mm, strict=True)):
        write_picture(root / f"{PHASE}_A" / f"{number:03d}.png", to_rgb8(image, number))
        write_depth(root / f"{PHASE}_B" / f"{number:03d}.png", depth_mm[0].numpy())
    write_depth_json(root / f"{PHASE}_B")


def write_clip(folder: Path, size: int, count: int) -> None:
    """Frames of a picture that moves."""
    whole = make_pictures(1, 3, size + count * MOTION[1], size + count * MOTION[0], seed=2)[0]
    for t in range(count):
        x, y = t * MOTION[0], t * MOTION[1]
        write_picture(folder / f"{t:03d}.png", to_rgb8(whole[:, y : y + size, x : x + size], t))


def to_rgb8(image: Tensor, seed: int) -> np.ndarray:
    """(3, H, W) in [0, 1] to uint8 (H, W, 3), with noise."""
    noise = np.random.default_rng(seed).uniform(-NOISE, NOISE, image.shape)
    return ((image.numpy() + noise).clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
