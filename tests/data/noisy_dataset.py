"""A dataset without files whose samples tell which they are, and how they were augmented."""

import os
import signal
from pathlib import Path

import torch

from data.base_dataset import BaseDataset
from data.streams import Stream


class NoisyDataset(BaseDataset):
    """Sample i is i with noise of its augmentation; each also tells the numbers drawn.

    ``faults`` are raised where they are found, by index; at ``deadly`` the loader process is killed.
    """

    def __init__(self, size=11, faults=None, sizes=(4,), deadly=None):
        self.size, self.faults, self.sizes, self.deadly = size, faults or {}, sizes, deadly

    def __len__(self):
        return self.size

    def files(self, index):
        return [Path(f"frames/{index}.png"), Path(f"shared/{index // 2}.png")]

    def sample(self, index, rng):
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if index in self.faults:
            raise self.faults[index]
        width = self.sizes[index % len(self.sizes)]
        image = torch.full((3, 3, width), float(index))
        noise = torch.zeros(2) if rng is None else torch.from_numpy(rng.random(2))
        return {"image": image, "noise": noise}


def noisy_stream(batch_size=3, name="test", seed=0, num_workers=0, shuffle=True, **settings):
    """A stream of a ``NoisyDataset``; settings are of either."""
    of_dataset = {key: settings.pop(key) for key in ("size", "faults", "sizes", "deadly") if key in settings}
    dataset = NoisyDataset(**of_dataset)
    return Stream(name, dataset, batch_size, seed=seed, shuffle=shuffle, num_workers=num_workers, **settings)


def indices(batch):
    return batch["image"][:, 0, 0, 0].int().tolist()


def take(source, count):
    return [source.next() for _ in range(count)]
