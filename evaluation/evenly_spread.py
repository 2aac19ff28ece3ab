"""Some of a stream, evenly spread over it, whatever its length turns out to be."""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


class EvenlySpread(Generic[T]):
    """Keeps some of many things whose number nobody knows, nearly evenly spread over all of them.

    Every n-th is kept; when there are twice as many as wanted, every other one goes, and n doubles.

    Args:
        count: how many are wanted.

    Raises:
        ValueError: that is none.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"at least one must be wanted, got {count}")
        self.count = count
        self._kept: list[T] = []
        self._seen, self._step = 0, 1

    def offer(self, build: Callable[[], T]) -> None:
        """The next one has come; ``build`` is called if it is kept."""
        if self._seen % self._step == 0:
            self._kept.append(build())
        self._seen += 1
        if len(self._kept) == 2 * self.count:
            self._kept, self._step = self._kept[::2], 2 * self._step

    def chosen(self) -> list[T]:
        """``count`` of them, or all if there were not so many."""
        number = min(self.count, len(self._kept))
        return [self._kept[index] for index in np.linspace(0, len(self._kept) - 1, number).round().astype(int)]
