"""Cases in turns, and what their times come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmark.cases import Case
from benchmark.work import Work


@dataclass
class Measured:
    """What was found out about a case.

    Args:
        case: which.
        seconds: of the iterations of each kind, one entry a repeat.
        work: of an iteration of each kind; empty where it was not counted.
        peak_bytes: see ``CaseRunner.peak_bytes``.
    """

    case: Case
    seconds: dict[str, list[float]] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)
    peak_bytes: int | None = None

    @property
    def cycles(self) -> list[float]:
        """Mean seconds of an iteration over a whole cycle, one entry a repeat."""
        shares = self.case.kinds
        rows = zip(*(self.seconds[kind] for kind in shares), strict=True)
        return [sum(share * of_kind for share, of_kind in zip(shares.values(), row, strict=True)) for row in rows]

    @property
    def median_s(self) -> float:
        return median(self.cycles)

    @property
    def min_s(self) -> float:
        return min(self.cycles)

    @property
    def flops(self) -> float | None:
        """Of an iteration, mean over a whole cycle."""
        if not self.work:
            return None
        return sum(share * self.work[kind].flops for kind, share in self.case.kinds.items())

    @property
    def flow_calls(self) -> int | None:
        """Of an iteration; all of a load are alike."""
        return max(work.flow_calls for work in self.work.values()) if self.work else None


def take_turns(
    cases: Sequence[Case], run: Callable[[Case, str], float], *, repeats: int, warmup: int
) -> dict[Case, dict[str, list[float]]]:
    """Run all cases once, then all once more, and so on: a machine that slows down slows all of them down.

    Args:
        cases: in the order of a round.
        run: one iteration of a case and kind; returns its seconds.
        repeats: rounds that count.
        warmup: rounds before, that do not.

    Returns:
        Seconds by case and kind, ``repeats`` of each.
    """
    times: dict[Case, dict[str, list[float]]] = {case: {kind: [] for kind in case.kinds} for case in cases}
    for number in range(warmup + repeats):
        for case in cases:
            for kind in case.kinds:
                seconds = run(case, kind)
                if number >= warmup:
                    times[case][kind].append(seconds)
    return times
