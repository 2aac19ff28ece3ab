"""The learning rate over epochs and iterations, and what is due when epochs end."""

from argparse import Namespace
from dataclasses import dataclass


def rate_factor(epoch: int, niter: int, niter_decay: int) -> float:
    """Share of the base learning rate in ``epoch`` (from 1): 1 for ``niter`` epochs, then linearly towards 0.

    The first epoch of the decay still has the full rate, the one after the last would have 0.
    """
    return 1.0 - max(0, epoch - 1 - niter) / niter_decay if niter_decay else 1.0


def triangle(iteration: int, half_cycle: int) -> float:
    """Rises linearly from 0 to 1 in ``half_cycle`` iterations, falls back in as many, and again.

        max(0, 1 - |n / h - 2 c + 1|),    c = floor(1 + n / 2 h)

    Source: Smith, "Cyclical Learning Rates", WACV 2017.

    Args:
        iteration: n, done so far.
        half_cycle: h.
    """
    cycle = 1 + iteration // (2 * half_cycle)
    return max(0.0, 1 - abs(iteration / half_cycle - 2 * cycle + 1))


@dataclass(frozen=True)
class Rates:
    """The learning rate as a share of the base rate.

    Args:
        policy: ``linear``: constant for ``niter`` epochs, then linearly towards 0; ``cyclic``: up from ``lr_low`` to
            the base rate and down again, see ``triangle``.
        niter, niter_decay: see ``rate_factor``.
        low: share of the base rate where a cycle begins and ends.
        half_cycle: iterations.
    """

    policy: str
    niter: int
    niter_decay: int
    low: float = 0.0
    half_cycle: int = 1

    @classmethod
    def from_options(cls, opt: Namespace) -> "Rates":
        return cls(opt.lr_policy, opt.niter, opt.niter_decay, opt.lr_low / opt.lr, opt.lr_half_cycle)

    def factor(self, epoch: int, iteration: int) -> float:
        """In an epoch (from 1), after so many iterations of the run."""
        if self.policy == "cyclic":
            return self.low + (1 - self.low) * triangle(iteration, self.half_cycle)
        return rate_factor(epoch, self.niter, self.niter_decay)


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
