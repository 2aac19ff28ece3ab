"""Losses of an interval on the device: their means, and which of them stopped being finite, and when."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from util.errors import UserError

Place = tuple[int, int]  # iteration, and number of the update since the record was cleared


class TrainingDiverged(UserError):
    """A loss or a weight became nan or infinite.

    ``iteration`` and ``terms`` say which losses did, and when first; None and empty when a weight did.
    """

    def __init__(self, message: str, iteration: int | None = None, terms: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.iteration, self.terms = iteration, terms


@dataclass
class Interval:
    """What was recorded of one set of names since it was read."""

    sums: Tensor  # (N,) of the values
    first_bad: Tensor  # (N,) number of the update of the first value that was not finite, 0 where all were
    count: int = 0


class LossRecord:
    """Collects scalars of updates by name; nothing waits for the device until they are read."""

    def __init__(self) -> None:
        self._intervals: dict[tuple[str, ...], Interval] = {}
        self._iterations: list[int] = []  # of each update

    def add(self, values: Mapping[str, Tensor], iteration: int) -> None:
        """Take in the values of one update."""
        names, row = tuple(values), torch.stack([value.detach().float() for value in values.values()])
        interval = self._intervals.get(names)
        if interval is None:
            interval = Interval(torch.zeros_like(row), torch.zeros_like(row, dtype=torch.int64))
            self._intervals[names] = interval
        interval.sums += row
        interval.count += 1
        newly_bad = (interval.first_bad == 0) & ~row.isfinite()
        self._iterations.append(iteration)
        interval.first_bad.masked_fill_(newly_bad, len(self._iterations))

    def means(self) -> dict[str, float]:
        """Mean of each name that was recorded, in the order of their first time; waits for the device."""
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for names, interval in self._intervals.items():
            if interval.count:
                for name, value in zip(names, interval.sums.tolist(), strict=True):
                    sums[name] = sums.get(name, 0.0) + value
                    counts[name] = counts.get(name, 0) + interval.count
        return {name: total / counts[name] for name, total in sums.items()}

    def first_bad(self) -> dict[str, Place]:
        """Names that were not finite, each with its first such update; waits for the device."""
        found: dict[str, Place] = {}
        for names, interval in self._intervals.items():
            for name, update in zip(names, interval.first_bad.tolist(), strict=True):
                if update:
                    place = (self._iterations[update - 1], update)
                    found[name] = min(place, found.get(name, place))
        return found

    def clear(self) -> None:
        """Begin a new interval; the names keep their order."""
        for interval in self._intervals.values():
            interval.sums.zero_()
            interval.first_bad.zero_()
            interval.count = 0
        self._iterations.clear()


def require_finite(found: Mapping[str, Place], means: Mapping[str, float]) -> None:
    """
    Args:
        found: what ``LossRecord.first_bad`` gives, of all processes.
        means: shown beside it.

    Raises:
        TrainingDiverged: something was found; names the losses of the first update in which one was not finite. Those
            after it in the same iteration are mostly its consequences.
    """
    if not found:
        return
    place = min(found.values())
    iteration, terms = place[0], tuple(name for name, first in found.items() if first == place)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in means.items())
    raise TrainingDiverged(
        f"{' and '.join(terms)} became nan or infinite in iteration {iteration} (means since the last line: {shown})",
        iteration,
        terms,
    )
