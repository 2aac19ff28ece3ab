"""The learning rate over the epochs, and what is due when they end."""

from argparse import Namespace
from dataclasses import dataclass


def rate_factor(epoch: int, niter: int, niter_decay: int) -> float:
    """Share of the base learning rate in ``epoch`` (from 1): 1 for ``niter`` epochs, then linearly towards 0.

    The first epoch of the decay still has the full rate, the one after the last would have 0.
    """
    return 1.0 - max(0, epoch - 1 - niter) / niter_decay if niter_decay else 1.0


@dataclass(frozen=True)
class EpochEnds:
    """What is due after an iteration.

    Args:
        length: iterations of an epoch.
        total: iterations of the run, which may end in the middle of an epoch.
        opt: has ``eval_epoch_freq`` and ``save_epoch_freq``, in epochs.
    """

    length: int
    total: int
    opt: Namespace

    def epoch(self, iteration: int) -> int:
        """The epoch, from 1, that an iteration, from 1, belongs to."""
        return -(-iteration // self.length)

    def evaluation(self, iteration: int) -> bool:
        """At the end of some epochs, and of the run."""
        return iteration == self.total or self._ends_one_of(self.opt.eval_epoch_freq, iteration)

    def checkpoint(self, iteration: int) -> bool:
        """Whether the epoch's own checkpoint is due."""
        return self._ends_one_of(self.opt.save_epoch_freq, iteration)

    def _ends_one_of(self, every: int, iteration: int) -> bool:
        return iteration > 0 and iteration % (every * self.length) == 0
