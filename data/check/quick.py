"""The part of a check that costs seconds: ``train.py`` does it before anything else is read."""

from collections.abc import Iterable, Sequence

import numpy as np

from data.check.findings import FAULT, Finding, shortened
from data.check.frames import faults_of_a_frame, faults_of_a_split, measure
from data.check.leaks import shared_sequences
from data.formats import DataFormat, Item
from util.errors import UserError

FRAMES = 16  # of a split, evenly spread
OF_ONE_SAMPLE = ("unreadable", "size")


def check_quickly(source: DataFormat, phases: Iterable[str], *, skip_bad: bool = False) -> None:
    """Some frames of each split, their cameras, and the names of the sequences.

    Args:
        source: the data set.
        phases: splits that will be read.
        skip_bad: files that cannot be read will be skipped, so they are no fault.

    Raises:
        UserError: something is wrong; lists what, and how to do without this check.
        FileNotFoundError: see ``DataFormat.items``.
    """
    findings: list[Finding] = []
    sequences: dict[str, set[str]] = {}
    for phase in phases:
        items = source.items(phase)
        sequences[phase] = {item.sequence for item in items}
        results = [measure(source, item) for item in spread(items)]
        findings += [result for result in results if isinstance(result, Finding)]
        frames = [result for result in results if not isinstance(result, Finding)]
        findings += [finding for facts in frames for finding in faults_of_a_frame(facts, source)]
        findings += faults_of_a_split(phase, frames, source)
    findings += shared_sequences(sequences)
    faults = [finding for finding in findings if finding.level == FAULT]
    if skip_bad:
        faults = [finding for finding in faults if finding.kind not in OF_ONE_SAMPLE]
    if faults:
        raise UserError(
            f"{' | '.join(shortened(faults))} (python -m data.check {source.root} looks through all of the set; "
            "--no_check trains nevertheless)"
        )


def spread(items: Sequence[Item]) -> list[Item]:
    """``FRAMES`` of them, the first and the last included."""
    places = np.linspace(0, len(items) - 1, min(FRAMES, len(items))).round().astype(int)
    return [items[place] for place in places]
