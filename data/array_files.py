"""Large arrays in files that are written row by row, whole or not at all, and read where they lie."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from util.errors import UserError

OPEN_ARRAYS = 256  # that a process keeps mapped


@contextmanager
def array_writer(path: Path, dtype: type, shape: tuple[int, ...]) -> Iterator[Callable[[np.ndarray], object]]:
    """Write an array of ``shape`` row by row: gives the function that adds a row.

    Not through a memory map: when the disk is full, writing to that is no error but the end of the process (SIGBUS).
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:

        def add(row: np.ndarray) -> None:
            assert (row.dtype, row.shape) == (dtype, shape[1:])
            file.write(row.tobytes())

        np.lib.format.write_array_header_1_0(file, header)
        yield add


@lru_cache(maxsize=OPEN_ARRAYS)
def mapped_array(path: Path) -> np.ndarray:
    """The array of a file, of which only what is looked at is read.

    Raises:
        UserError: it is missing, cut off, or no array.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}); make it again") from None
