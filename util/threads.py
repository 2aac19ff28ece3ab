"""Work on many files at once, for what OpenCV and NumPy do without Python's lock."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from util.progress import progress_bar

AHEAD = 64  # results that are held at most

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(function: Callable[[T], R], inputs: Sequence[T], what: str, unit: str) -> Iterable[R]:
    """``function`` of each input, in their order, with a progress bar; an error ends it where its result would come."""
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress_bar(len(inputs), what, unit) as bar:
        for start in range(0, len(inputs), AHEAD):
            for result in pool.map(function, inputs[start : start + AHEAD]):
                bar.update(1)
                yield result
