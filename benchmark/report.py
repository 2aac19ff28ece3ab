"""What was measured as rows of plain values, for JSON and for tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.films import FilmTimes
from benchmark.loader import LoaderTimes
from benchmark.timing import Measured


def make_rows(group: str, measured: Sequence[Measured], rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row for each case of a group.

    Args:
        group: its name.
        measured: its cases; where a ladder begins with the published step, that is the first.
        rates: fastest product of matrices by precision [FLOP/s].
    """
    by_title = {one.case.title: one for one in measured}
    baseline = next((one for one in measured if one.case.published), None)
    return [
        {"group": group, **_case_facts(one), **_times(one, by_title, baseline), **_work(one, rates)} for one in measured
    ]


def loader_row(times: LoaderTimes) -> dict[str, Any]:
    """Seconds a batch, and samples a second at their median."""
    return vars(times) | {"samples_per_s": times.samples_per_s}


def film_row(times: FilmTimes) -> dict[str, Any]:
    """Seconds for the film, and frames a second at their medians."""
    return vars(times) | {"decoded_per_s": times.decoded_per_s, "prepared_per_s": times.prepared_per_s}


def _case_facts(one: Measured) -> dict[str, Any]:
    case = one.case
    names = ("title", "published", "fused", "keep_memory", "precision", "extra")
    return vars(case.load) | {name: getattr(case, name) for name in names} | {"layers": list(case.layers)}


def _times(one: Measured, by_title: Mapping[str, Measured], baseline: Measured | None) -> dict[str, Any]:
    """Seconds, and how many times as fast as the row before and as the published step; None where there is none."""
    before = by_title.get(one.case.before)
    return {
        "seconds": one.seconds,
        "cycle_seconds": one.cycles,
        "median_s": one.median_s,
        "min_s": one.min_s,
        "before": one.case.before or None,
        "times_before": before.median_s / one.median_s if before else None,
        "times_published": baseline.median_s / one.median_s if baseline else None,
    }


def _work(one: Measured, rates: Mapping[str, float]) -> dict[str, Any]:
    rate = None if one.flops is None else one.flops / one.median_s
    return {
        "flops": one.flops,
        "flops_by_kind": {kind: work.flops for kind, work in one.work.items()},
        "flops_per_s": rate,
        "share_of_product": None if rate is None else rate / rates[one.case.precision],
        "flow_calls": one.flow_calls,
        "peak_bytes": one.peak_bytes,
    }
