"""What is rendered: the splits, their sizes, and the colons they are cut into."""

from dataclasses import dataclass

import numpy as np

FRAMES_PER_COLON = 24
PAIR_SPLITS = ("train", "eval", "test")
VIDEO_SPLITS = ("video_train", "video_test")
MIN_HELD_OUT = 8  # frames
MIN_CLIP = 6  # frames; a triplet that skips frames needs five


@dataclass(frozen=True)
class Task:
    """One colon's share of a split: independent views of it, or one clip through it.

    Attributes:
        split: name of the split.
        index: number of the colon in its split.
        num_frames: how many frames.
        seed: the run's seed.
    """

    split: str
    index: int
    num_frames: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.index:04d}"

    @property
    def is_video(self) -> bool:
        return self.split in VIDEO_SPLITS

    def generators(self) -> list[np.random.Generator]:
        """Independent generators for shape, appearance, cameras and sensor; no two tasks share any."""
        split = (*PAIR_SPLITS, *VIDEO_SPLITS).index(self.split)
        sequence = np.random.SeedSequence(self.seed, spawn_key=(split, self.index))
        return [np.random.default_rng(child) for child in sequence.spawn(4)]


def split_sizes(frames: int) -> dict[str, int]:
    """Frames of each split for ``frames`` synthetic training pairs."""
    return {
        "train": frames,
        "eval": max(MIN_HELD_OUT, round(frames / 10)),
        "test": max(MIN_HELD_OUT, round(frames / 5)),
        "video_train": max(MIN_CLIP, round(frames / 2)),
        "video_test": max(MIN_CLIP, round(frames / 4)),
    }


def plan_tasks(frames: int, seed: int) -> list[Task]:
    """All colons of all splits; a split's frames are spread evenly over its colons."""
    tasks = []
    for split, size in split_sizes(frames).items():
        num_colons = max(1, round(size / FRAMES_PER_COLON))
        shares = [size * (i + 1) // num_colons - size * i // num_colons for i in range(num_colons)]
        tasks += [Task(split, index, share, seed) for index, share in enumerate(shares)]
    return tasks
