"""Streams of batches, each endless and shuffled anew at every pass, and the mixer that puts them together.

A position in a stream is a number of batches (``data.batch_order``). The processes of one training draw the same order,
and each loads its share of every batch, so a position is the same in all of them, however many they are.
"""

from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from data.bad_samples import read_or_next
from data.base_dataset import BaseDataset
from data.batch_order import EndlessBatches
from data.loading import Batches, Loaded, how_a_loader_died, start_loading
from util.errors import UserError

Batch = dict[str, dict[str, Tensor]]

DYING_S = 1.0  # a dying process closes its connections a little before the system calls it dead


class Stream:
    """Endless batches of one dataset; workers start with the first batch that is asked for.

    Args:
        name: for messages.
        dataset: what is read.
        batch_size: samples of a batch, over all processes.
        seed, shuffle: give the order, and the augmentation.
        num_workers: loader processes; 0 loads in this one.
        rank, world: which process this is, of how many that share each batch.
        skip_bad: take the next sample where the files of one cannot be read, and tell in ``skipped``.
        pin_memory: make copying to a GPU fast.

    Raises:
        UserError: the dataset has no whole batch, or the batch cannot be shared equally.
    """

    def __init__(
        self,
        name: str,
        dataset: BaseDataset,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        num_workers: int = 0,
        rank: int = 0,
        world: int = 1,
        skip_bad: bool = False,
        pin_memory: bool = False,
    ) -> None:
        if len(dataset) < batch_size:
            raise UserError(f"the {name} stream has {len(dataset)} samples, fewer than a batch of {batch_size}")
        if batch_size % world:
            raise UserError(
                f"the {name} stream's batch of {batch_size} cannot be shared by {world} processes; "
                f"take a batch size that is a multiple of {world}"
            )
        self.name, self.dataset, self.batch_size = name, dataset, batch_size
        self.seed, self.shuffle, self.num_workers = seed, shuffle, num_workers
        self.rank, self.world, self.skip_bad, self.pin_memory = rank, world, skip_bad, pin_memory
        self.skipped: dict[str, str] = {}  # file: reason
        self.consumed = 0  # batches
        self._iterator: Iterator[Loaded] | None = None

    @property
    def batches_per_pass(self) -> int:
        return len(self.dataset) // self.batch_size

    @property
    def passes(self) -> int:
        """Complete passes over the dataset so far."""
        return self.consumed // self.batches_per_pass

    def next(self) -> dict[str, Tensor]:
        """This process' share of the next batch.

        Raises:
            UserError, OSError: a file cannot be read, in this process or in a worker; or a worker died.
        """
        loaded = self._load()
        if loaded.fault is not None:
            self.seek(self.consumed)  # asked again, it tries the same batch again
            raise loaded.fault
        self.skipped |= {file: why for file, why in loaded.skipped.items() if file not in self.skipped}
        self.consumed += 1
        return loaded.batch

    def seek(self, consumed: int) -> None:
        """Go to a position, in batches from the beginning."""
        self.consumed = consumed
        self._iterator = None

    def files_of(self, number: int) -> list[Path]:
        """The files of batch ``number`` (from 0, counted through all passes), of all processes' shares.

        With ``skip_bad`` it reads the batch once more, to name what was taken in place of a bad sample.
        """
        indices = [index for index, _ in next(iter(self._keys(number, rank=0, world=1)))]
        if self.skip_bad:
            indices = [read_or_next(self.dataset.__getitem__, self.dataset, index)[0] for index in indices]
        return list(dict.fromkeys(file for index in indices for file in self.dataset.files(index)))

    def _keys(self, start: int, rank: int, world: int) -> EndlessBatches:
        size = len(self.dataset)
        return EndlessBatches(size, self.batch_size, self.seed, self.shuffle, start, rank=rank, world=world)

    def _load(self) -> Loaded:
        if self._iterator is None:
            keys = self._keys(self.consumed, self.rank, self.world)
            batches = Batches(self.dataset, self.skip_bad)
            self._iterator = start_loading(batches, keys, num_workers=self.num_workers, pin_memory=self.pin_memory)
        death = how_a_loader_died(self._iterator)
        if death is None:
            try:
                return next(self._iterator)
            except Exception:
                death = how_a_loader_died(self._iterator, wait_s=DYING_S)
                if death is None:
                    raise
        self._iterator = None  # ends the other loaders, now that no traceback holds on to them any more
        raise UserError(
            f"a process that loads the {self.name} stream died ({death}); often memory or shared memory (/dev/shm) is "
            f"full: use a smaller --num_workers (now {self.num_workers}) or a larger shared memory"
        )


class StreamMixer:
    """Several streams side by side: the first sets the epoch's length, the others go round for ever.

    Args:
        streams: by name, in the order of the method.
        epoch_size: batches of an epoch; None: a pass over the first stream.
    """

    def __init__(self, streams: dict[str, Stream], epoch_size: int | None = None) -> None:
        self.streams = streams
        self.first = next(iter(streams.values()))
        self.epoch_size = epoch_size or self.first.batches_per_pass
        self._told: set[str] = set()

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.epoch_size

    @property
    def epoch(self) -> int:
        """Number of the current epoch, from 1."""
        return self.first.consumed // self.epoch_size + 1

    @property
    def passes(self) -> dict[str, int]:
        return {name: stream.passes for name, stream in self.streams.items()}

    @property
    def batches_per_pass(self) -> dict[str, int]:
        return {name: stream.batches_per_pass for name, stream in self.streams.items()}

    def next(self, active: Collection[str]) -> Batch:
        """One batch of the first stream and of every other one that is ``active``.

        Raises:
            UserError, OSError: see ``Stream.next``; no stream has moved then.
        """
        before = self.state_dict()
        try:
            return {name: s.next() for name, s in self.streams.items() if s is self.first or name in active}
        except Exception:
            self.load_state_dict(before)
            raise

    @property
    def skipped(self) -> dict[str, str]:
        """Why files were skipped so far in this process, by file."""
        return {file: why for stream in self.streams.values() for file, why in stream.skipped.items()}

    def take_skipped(self) -> list[str]:
        """A line for each skipped file that was not told yet."""
        new = {file: why for file, why in self.skipped.items() if file not in self._told}
        self._told |= new.keys()
        return [f"{file}: {why}" for file, why in new.items()]

    def files_of(self, numbers: Mapping[str, int]) -> dict[str, list[Path]]:
        """The files of a batch, by stream.

        Args:
            numbers: number of the batch in each stream, from 0: its ``state_dict`` entry before that batch was taken.
        """
        return {name: self.streams[name].files_of(number) for name, number in numbers.items()}

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


def build_mixer(
    datasets: dict[str, BaseDataset], batch_sizes: dict[str, int], opt: Namespace, rank: int = 0, world: int = 1
) -> StreamMixer:
    """Streams of the datasets, with seeds of their own; process ``rank`` of ``world`` has its share of each batch."""
    return StreamMixer(
        {
            name: Stream(
                name,
                dataset,
                batch_sizes[name],
                seed=opt.seed * len(datasets) + number,
                shuffle=not opt.serial_batches,
                num_workers=opt.num_workers,
                rank=rank,
                world=world,
                skip_bad=opt.on_bad_sample == "skip",
                pin_memory=bool(opt.gpu_ids),
            )
            for number, (name, dataset) in enumerate(datasets.items())
        },
        opt.epoch_size,
    )
