"""Everything that is measured, in its order: peaks of memory, then groups of cases in turns, then the loader
and the preparation of films.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from benchmark.cases import KINDS, Case, Group, plan_groups
from benchmark.effort import Advance, group_units, iteration_units, loader_units, peak_units
from benchmark.films import film_units, measure_films
from benchmark.loader import measure_loader
from benchmark.machine import describe_machine
from benchmark.options import NETWORK_OPTIONS, network_flags
from benchmark.report import film_row, loader_row, make_rows
from benchmark.runner import Setup
from benchmark.timing import Measured, take_turns
from benchmark.workers import LocalWorker, ProcessWorker, Worker, WorkerPool
from util.progress import progress_bar

ERROR_LINE = re.compile(r"[\w.]+(Error|Exception)\b")  # of a traceback

Figures = dict[str, Any]
Peaks = dict[Case, int | None]


def measure(opt: Namespace) -> Iterator[Figures]:
    """Run everything; gives all figures so far (plain values that name no folder) whenever there are more of them."""
    setup = Setup(network_flags(opt), opt.device.index)
    figures = empty_figures(opt)
    with WorkerPool(lambda keep: start_worker(setup, keep)) as pool:
        groups = plan_groups(opt, can_keep=can_keep(opt, pool), on_cpu=opt.device.type == "cpu")
        sizes = opt.sizes if "loader" in opt.what else []
        total = sum(group_units(opt, group) for group in groups) + sum(loader_units(opt, size) for size in sizes)
        total += film_units(opt) if "films" in opt.what else 0
        with progress_bar(total, "benchmark", "kilopixels") as bar:
            peaks = measure_peaks(groups, setup, bar.update) if opt.memory else {}
            if groups:
                figures |= measure_facts(opt, pool.of(groups[0].cases[-1]))
            for group in groups:
                measured = measure_group(opt, group, pool, peaks, bar.update)
                figures["cases"] += make_rows(group.name, measured, figures["product_flops_per_s"])
                yield figures
            for size in sizes:
                times = measure_loader(size, opt.batch, opt.repeats, bar.update)
                figures["loader"] += map(loader_row, times)
                yield figures
            if "films" in opt.what:
                figures["films"] += map(film_row, measure_films(opt.repeats, bar.update))
                yield figures


def empty_figures(opt: Namespace) -> Figures:
    """The machine and the options that change a figure; nothing is measured yet."""
    names = ("what", "baseline", "sizes", "batch", "infer_batches", "precisions", "extras", "repeats", "warmup")
    options = {name: getattr(opt, name) for name in (*names, *NETWORK_OPTIONS)}
    found = {"parameters": {}, "product_flops_per_s": {}, "cases": [], "loader": [], "films": []}
    return {"machine": describe_machine(opt.device), "options": options, **found}


def start_worker(setup: Setup, keep_memory: bool) -> Worker:
    """A new one: a process for the CPU, this process for a GPU, whose memory is another matter."""
    return ProcessWorker(setup, keep_memory) if setup.gpu is None else LocalWorker(setup)


def can_keep(opt: Namespace, pool: WorkerPool) -> bool:
    """Whether the allocator of a process on this machine can be told to keep memory; on a GPU it is of no concern."""
    if opt.device.type != "cpu" or not set(opt.what) & set(KINDS):
        return False
    return pool.get("kept", keep_memory=True).kept


def measure_facts(opt: Namespace, worker: Worker) -> Figures:
    """What the cases have in common."""
    rates = {name: worker.call("product_rate", name) for name in opt.precisions}
    return {"parameters": worker.call("parameters"), "product_flops_per_s": rates}


def measure_peaks(groups: list[Group], setup: Setup, advance: Advance) -> Peaks:
    """Peak memory of every case, each in a worker of its own: what others have left behind would count too."""
    peaks: Peaks = {}
    for case in dict.fromkeys(case for group in groups for case in group.cases):
        worker = start_worker(setup, case.keep_memory)
        try:
            peaks[case] = worker.call("peak_bytes", case)
        except RuntimeError:
            if not case.extra:
                raise
        finally:
            worker.close()
        advance(peak_units(case))
    return peaks


def measure_group(opt: Namespace, group: Group, pool: WorkerPool, peaks: Peaks, advance: Advance) -> list[Measured]:
    """Times of the cases of a group, and what they compute. An extra that does not work here is left out."""

    def run(case: Case, kind: str) -> float:
        seconds = pool.of(case).call("seconds", case, kind)
        advance(iteration_units(case))
        return seconds

    name, cases = group.name, [case for case in group.cases if not case.extra or works(case, pool)]
    group = Group(name, cases if group.is_ladder or any(case.extra for case in cases) else [])
    measured = {case: Measured(case, peak_bytes=peaks.get(case)) for case in group.cases}
    for alike in group.same_work():
        counted = alike[0].counted
        work = pool.of(counted).call("work", counted)
        advance(len(work) * iteration_units(alike[0]))
        for case in alike:
            measured[case].work = work
    for case, seconds in take_turns(group.cases, run, repeats=opt.repeats, warmup=opt.warmup).items():
        measured[case].seconds = seconds
    if not group.is_ladder:
        pool.close(name)
    return list(measured.values())


def works(case: Case, pool: WorkerPool) -> bool:
    """Whether an option of the engine works here at all; one line says why when it does not."""
    try:
        for kind in case.kinds:
            pool.of(case).call("seconds", case, kind)
    except RuntimeError as error:
        lines = str(error).splitlines()
        reason = next((line for line in lines if ERROR_LINE.match(line)), lines[-1])
        sys.stderr.write(f"{case.title} is left out, since it fails here: {reason}\n")
        return False
    return True
