"""The next batch is read, and copied to the GPU, while the GPU still computes with this one."""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from data.streams import Batch, StreamMixer


class Place(NamedTuple):
    """Where a mixer is."""

    epoch: int
    passes: dict[str, int]
    state: dict[str, Any]

    @classmethod
    def of(cls, streams: StreamMixer) -> "Place":
        return cls(streams.epoch, streams.passes, streams.state_dict())


class Prefetcher:
    """A mixer's batches on the device, one of them read ahead. Positions count what was handed out, no more.

    On a GPU the copies run beside the computations, on a CUDA stream of their own. On the CPU nothing is read ahead:
    it is the mixer and nothing else.

    Args:
        streams: where the batches come from.
        active: the streams that are needed in an epoch; the batch read ahead may be the first of the next one.
        to_device: copies a batch, without waiting for it.
        device: where to.
        ahead: whether to read ahead; None: on a GPU only.
    """

    def __init__(
        self,
        streams: StreamMixer,
        active: Callable[[int], Collection[str]],
        to_device: Callable[[Batch], Batch],
        *,
        device: torch.device,
        ahead: bool | None = None,
    ) -> None:
        self.streams, self.active, self.to_device = streams, active, to_device
        self.ahead = device.type == "cuda" if ahead is None else ahead
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._waiting: Batch | Exception | None = None  # what was read ahead
        self._place: Place | None = None  # of the mixer before that

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.streams)

    @property
    def epoch(self) -> int:
        """Number of the current epoch, from 1."""
        return self._here().epoch

    @property
    def passes(self) -> dict[str, int]:
        return self._here().passes

    @property
    def batches_per_pass(self) -> dict[str, int]:
        return self.streams.batches_per_pass

    def state_dict(self) -> dict[str, Any]:
        return self._here().state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the position of a checkpoint; what was read ahead is dropped.

        Raises:
            UserError: see ``StreamMixer.load_state_dict``.
        """
        self.streams.load_state_dict(state)
        self._waiting = self._place = None

    def next(self) -> Batch:
        """The next batch, on the device or on its way there.

        Raises:
            UserError, OSError: see ``StreamMixer.next``; also when it was met while this batch was read ahead.
        """
        batch = self._read() if self._waiting is None else self._waiting
        self._waiting = self._place = None
        if isinstance(batch, Exception):
            raise batch
        self._await_copies(batch)
        if self.ahead:
            self._place = Place.of(self.streams)
            self._waiting = self._read()
        return batch

    def _here(self) -> Place:
        return self._place or Place.of(self.streams)

    def _read(self) -> Batch | Exception:
        try:
            batch = self.streams.next(self.active(self.streams.epoch))
            with torch.cuda.stream(self._copying) if self._copying else nullcontext():
                return self.to_device(batch)
        except Exception as fault:
            return fault

    def _await_copies(self, batch: Batch) -> None:
        """What is computed from now on waits for the copies so far; this process does not."""
        if self._copying is None:
            return
        computing = torch.cuda.current_stream(self._copying.device)
        computing.wait_stream(self._copying)
        for tensors in batch.values():
            for tensor in tensors.values():
                tensor.record_stream(computing)  # else its memory could be used for a copy before the computation ends
