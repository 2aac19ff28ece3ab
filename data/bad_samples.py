"""A sample whose files cannot be read, and the next one in its place (``--on_bad_sample skip``)."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from data.base_dataset import BaseDataset
from util.errors import UserError

MAX_IN_A_ROW = 100  # more of them are no accident: the disk is gone, or an option is wrong
MACHINE_FAULTS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # open files and memory run out whatever the file

Read = TypeVar("Read")


def read_or_next(read: Callable[[int], Read], dataset: BaseDataset, index: int) -> tuple[int, Read, dict[str, str]]:
    """Read the sample ``index``, or else the first one behind it that can be read; behind the last comes the first.

    Args:
        read: reads the sample of an index, with the same randomness for each.
        dataset: says which files a sample has.
        index: the sample that is wanted.

    Returns:
        The index of the sample that was read, what ``read`` made of it, and why files were skipped, by file.

    Raises:
        UserError: ``MAX_IN_A_ROW`` samples, or all, cannot be read.
        OSError: the fault is the machine's (``MACHINE_FAULTS``).
    """
    skipped: dict[str, str] = {}
    tries = min(len(dataset), MAX_IN_A_ROW)
    for behind in range(tries):
        candidate = (index + behind) % len(dataset)
        try:
            return candidate, read(candidate), skipped
        except (UserError, OSError) as fault:
            if isinstance(fault, OSError) and fault.errno in MACHINE_FAULTS:
                raise
            file, reason = _file_and_reason(fault, dataset.files(candidate))
            skipped.setdefault(file, reason)
    file, reason = next(iter(skipped.items()))
    raise UserError(f"{tries} samples in a row of the training set cannot be read, the first being {file}: {reason}")


def _file_and_reason(fault: UserError | OSError, files: list[Path]) -> tuple[str, str]:
    """Which of a sample's files is meant, and what is wrong with it."""
    if isinstance(fault, OSError) and fault.filename is not None:
        return str(fault.filename), fault.strerror
    text = str(fault)
    file = next((str(file) for file in files if str(file) in text), str(files[0]))
    return file, text.removeprefix(f"{file} ")
