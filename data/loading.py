"""Reading batches, in this process or in processes of its own: how these begin, what they hand over, how they die."""

import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import connection
from typing import NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from data.bad_samples import read_or_next
from data.base_dataset import BaseDataset, Sample, SampleKey
from util.errors import UserError
from util.interrupt import leave_stopping_to_main

# Python 3.14 would let a server start the loader processes. They end when their parent does, which then is that server,
# and it ends when they do: after a kill of the main process, none of them ever does.
START_METHOD = "fork" if sys.platform == "linux" else None  # None: the system's own


class Loaded(NamedTuple):
    """A batch, or the user's mistake that kept it from being read; and why files were skipped, by file."""

    batch: dict[str, Tensor]
    skipped: dict[str, str]
    fault: Exception | None = None


class Batches(Dataset):
    """Batches of samples, picked by lists of keys.

    A user's mistake is handed over as a value: raised in a loader process, it would arrive as a traceback's text.

    Args:
        dataset: what is read.
        skip_bad: take the next sample where the files of one cannot be read.
    """

    def __init__(self, dataset: BaseDataset, skip_bad: bool = False) -> None:
        self.dataset, self.skip_bad = dataset, skip_bad

    def __getitem__(self, keys: list[SampleKey]) -> Loaded:
        try:
            samples, skipped = self._read(keys)
            require_one_size(samples)
        except (UserError, OSError) as fault:
            return Loaded({}, {}, fault)
        return Loaded(default_collate(samples), skipped)

    def _read(self, keys: list[SampleKey]) -> tuple[list[Sample], dict[str, str]]:
        if not self.skip_bad:
            return [self.dataset[key] for key in keys], {}
        samples, skipped = [], {}
        for index, seed in keys:
            _, sample, bad = read_or_next(lambda i, seed=seed: self.dataset[i, seed], self.dataset, index)
            samples.append(sample)
            skipped |= bad
        return samples, skipped


def require_one_size(samples: list[Sample]) -> None:
    """
    Raises:
        UserError: the frames of a batch differ in size; lists the sizes.
    """
    sizes = {tuple(tensor.shape[-2:]) for sample in samples for tensor in list(sample.values())[:1]}
    if len(sizes) > 1:
        listed = ", ".join(f"{height}x{width}" for height, width in sorted(sizes))
        raise UserError(f"frames of one batch differ in size ({listed}); use --resize_or_crop resize")


def start_loading(
    batches: Batches, keys: Sampler[list[SampleKey]], *, num_workers: int = 0, pin_memory: bool = False
) -> Iterator[Loaded]:
    """The batches of the keys, in order; loader processes live as long as the iterator.

    PyTorch raises when a loader process dies, by a signal's handler, wherever this process then is: in the middle of an
    update, say. That handler is put away here; a death is met where a batch is asked for, after 5 s at most.
    """
    loader = DataLoader(
        batches,
        batch_size=None,  # a key is a whole batch already
        sampler=keys,
        num_workers=num_workers,
        multiprocessing_context=START_METHOD if num_workers else None,
        worker_init_fn=begin_loader,
        generator=torch.Generator(),  # else each new iterator draws from the run's, and a resumed run has one more
        pin_memory=pin_memory,
        # Not persistent_workers, which outlive an iterator: this one ends with the run.
    )
    if not num_workers or threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return iter(loader)  # without that handler
    handler = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)
    return iterator


def begin_loader(worker_id: int) -> None:
    """What a loader process does first: it is one of many, so it takes one core, and it leaves signals to the main one.

    0 makes OpenCV work without threads. 1 would make it end those that it had in the main process: a fork does not
    have them, and OpenCV would wait for them for ever.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    leave_stopping_to_main(worker_id)


def how_a_loader_died(iterator: Iterator[Loaded], wait_s: float = 0.0) -> str | None:
    """How one of the iterator's processes ended, such as "killed by signal: Killed"; None when all are alive."""
    workers = getattr(iterator, "_workers", [])  # there are none where this process loads
    ended = connection.wait([worker.sentinel for worker in workers], timeout=wait_s) if workers else []
    if not ended:
        return None
    dead = next(worker for worker in workers if worker.sentinel in ended)
    dead.join()
    return f"killed by signal: {signal.strsignal(-dead.exitcode)}" if dead.exitcode < 0 else f"code {dead.exitcode}"
