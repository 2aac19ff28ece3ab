"""Work on many things at once, for what OpenCV, NumPy and PyAV do without Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from util.progress import progress_bar

AHEAD = 4  # results that are held at most, a thread

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(function: Callable[[T], R], inputs: Sequence[T], what: str, unit: str) -> Iterable[R]:
    """``function`` of each input, in their order, with a progress bar; an error ends it where its result would come."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool, progress_bar(len(inputs), what, unit) as bar:
        for result in map_ahead(pool, function, inputs, AHEAD * threads):
            bar.update(1)
            yield result


def map_ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], inputs: Iterable[T], ahead: int) -> Iterator[R]:
    """``function`` of each input, in their order; no more than ``ahead`` of them are worked on or wait to be taken.

    Inputs are taken as they are needed, so that they may be frames of a film that does not fit into memory, and one
    such line can feed another.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for one in inputs:
            waiting.append(pool.submit(function, one))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
