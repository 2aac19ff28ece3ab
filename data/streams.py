"""Streams of batches, each endless and shuffled anew at every pass, and the mixer that puts them together.

The order of a pass depends on the seed and the number of the pass only, and a sample's augmentation on those and its
index. So a position is two numbers, and a resumed run sees what the undisturbed one would have seen.
"""

from argparse import Namespace
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from data.base_dataset import BaseDataset, Sample, SampleKey
from util.errors import UserError
from util.interrupt import leave_stopping_to_main

Batch = dict[str, dict[str, Tensor]]


class EndlessBatches(Sampler):
    """Keys (index, seed) of one batch after the other, from ``start`` batches into the stream on, for ever.

    Every pass is a new permutation; what is left over at its end, less than a batch, waits for another pass.
    """

    def __init__(self, size: int, batch_size: int, seed: int, shuffle: bool, start: int = 0) -> None:
        self.size, self.batch_size, self.seed, self.shuffle, self.start = size, batch_size, seed, shuffle, start

    @property
    def batches_per_pass(self) -> int:
        return self.size // self.batch_size

    def __iter__(self) -> Iterator[list[SampleKey]]:
        number = self.start
        while True:
            pass_number, position = divmod(number, self.batches_per_pass)
            order = np.arange(self.size)
            if self.shuffle:
                order = np.random.default_rng([self.seed, pass_number]).permutation(self.size)
            for batch in range(position, self.batches_per_pass):
                picked = order[batch * self.batch_size : (batch + 1) * self.batch_size]
                yield [(int(index), self._sample_seed(pass_number, int(index))) for index in picked]
            number = (pass_number + 1) * self.batches_per_pass

    def _sample_seed(self, pass_number: int, index: int) -> int:
        return int(np.random.SeedSequence([self.seed, pass_number, index]).generate_state(1)[0])


class SamplesOrFault(Dataset):
    """Hands a user's mistake over as a value: raised in a worker, it would arrive as the text of a traceback."""

    def __init__(self, dataset: BaseDataset) -> None:
        self.dataset = dataset

    def __getitems__(self, keys: list[SampleKey]) -> list[Sample] | Exception:
        try:
            return [self.dataset[key] for key in keys]
        except (UserError, OSError) as fault:
            return fault

    @staticmethod
    def collate(samples: list[Sample] | Exception) -> dict[str, Tensor] | Exception:
        if isinstance(samples, Exception):
            return samples
        sizes = {tuple(tensor.shape[-2:]) for sample in samples for tensor in list(sample.values())[:1]}
        if len(sizes) > 1:
            listed = ", ".join(f"{height}x{width}" for height, width in sorted(sizes))
            return UserError(f"frames of one batch differ in size ({listed}); use --resize_or_crop resize")
        return default_collate(samples)


class Stream:
    """Endless batches of one dataset; workers start with the first batch that is asked for."""

    def __init__(
        self, name: str, dataset: BaseDataset, batch_size: int, *, seed: int, shuffle: bool = True, num_workers: int = 0
    ) -> None:
        if len(dataset) < batch_size:
            raise UserError(f"the {name} stream has {len(dataset)} samples, fewer than a batch of {batch_size}")
        self.name, self.dataset, self.batch_size = name, dataset, batch_size
        self.seed, self.shuffle, self.num_workers = seed, shuffle, num_workers
        self.consumed = 0  # batches
        self._iterator: Iterator[dict[str, Tensor]] | None = None

    @property
    def batches_per_pass(self) -> int:
        return len(self.dataset) // self.batch_size

    @property
    def passes(self) -> int:
        """Complete passes over the dataset so far."""
        return self.consumed // self.batches_per_pass

    def next(self) -> dict[str, Tensor]:
        """The next batch.

        Raises:
            UserError, OSError: a file cannot be read, in this process or in a worker.
        """
        if self._iterator is None:
            self._iterator = iter(self._loader())
        batch = next(self._iterator)
        if isinstance(batch, Exception):
            self.seek(self.consumed)  # asked again, it tries the same batch again
            raise batch
        self.consumed += 1
        return batch

    def seek(self, consumed: int) -> None:
        """Go to a position, in batches from the beginning."""
        self.consumed = consumed
        self._iterator = None

    def _loader(self) -> DataLoader:
        keys = EndlessBatches(len(self.dataset), self.batch_size, self.seed, self.shuffle, self.consumed)
        return DataLoader(
            SamplesOrFault(self.dataset),
            batch_sampler=keys,
            num_workers=self.num_workers,
            collate_fn=SamplesOrFault.collate,
            worker_init_fn=leave_stopping_to_main,
            generator=torch.Generator(),  # else each new iterator draws from the run's, and a resumed run has one more
            pin_memory=torch.cuda.is_available(),
        )


class StreamMixer:
    """Several streams side by side: the first sets the epoch's length, the others go round for ever.

    Args:
        streams: by name, in the order of the method.
    """

    def __init__(self, streams: dict[str, Stream]) -> None:
        self.streams = streams
        self.first = next(iter(streams.values()))

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.first.batches_per_pass

    @property
    def position(self) -> int:
        """Batches of the current epoch that were taken."""
        return self.first.consumed % len(self)

    @property
    def epoch(self) -> int:
        """Number of the current epoch, from 1."""
        return self.first.passes + 1

    @property
    def passes(self) -> dict[str, int]:
        return {name: stream.passes for name, stream in self.streams.items()}

    def next(self, active: Collection[str]) -> Batch:
        """One batch of the first stream and of every other one that is ``active``."""
        return {name: stream.next() for name, stream in self.streams.items() if stream is self.first or name in active}

    def state_dict(self) -> dict[str, Any]:
        return {name: stream.consumed for name, stream in self.streams.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the position of a checkpoint.

        Raises:
            UserError: the streams are not those of the checkpoint.
        """
        if state.keys() != self.streams.keys():
            raise UserError(f"the checkpoint has the streams {sorted(state)}, this run {sorted(self.streams)}")
        for name, consumed in state.items():
            self.streams[name].seek(consumed)


def build_mixer(datasets: dict[str, BaseDataset], batch_sizes: dict[str, int], opt: Namespace) -> StreamMixer:
    """Streams of the datasets, with seeds of their own."""
    return StreamMixer(
        {
            name: Stream(
                name,
                dataset,
                batch_sizes[name],
                seed=opt.seed * len(datasets) + number,
                shuffle=not opt.serial_batches,
                num_workers=opt.num_workers,
            )
            for number, (name, dataset) in enumerate(datasets.items())
        }
    )
