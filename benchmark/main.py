"""The whole benchmark: what is run in which order, and what becomes of the figures."""

import json
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

from benchmark.cases import Case, Group, plan_groups
from benchmark.loader import LoaderTimes, measure_loader, turns
from benchmark.machine import describe_machine
from benchmark.options import NETWORK_OPTIONS, network_flags, parse_options
from benchmark.page import fill_page, require_places
from benchmark.report import loader_row, make_rows
from benchmark.runner import Setup
from benchmark.tables import describe, make_sections, markdown_section, text_section
from benchmark.timing import Measured, take_turns
from benchmark.workers import LocalWorker, ProcessWorker, Worker, WorkerPool
from util.files import write_text
from util.progress import progress_bar

UNIT = 1000  # pixels that one unit of the progress stands for
START = 64  # units that starting a process and making its networks take: about as long as a step at 256 pixels

ERROR_LINE = re.compile(r"[\w.]+(Error|Exception)\b")  # of a traceback

Advance = Callable[[int], object]  # tells the progress how many units were done
Figures = dict[str, Any]


def main() -> None:
    opt = parse_options(sys.argv[1:])
    if opt.page:
        require_places(opt.page, [table_name(opt, what) for what in opt.what])
    for figures in measure(opt):  # noqa: B007 - the last ones are those that are shown
        write_text(opt.out, json.dumps(figures, indent=1) + "\n")
    show(figures)
    sys.stdout.write(f"\nall figures: {opt.out}\n")
    if opt.page:
        sections = make_sections(figures).items()
        fill_page(opt.page, {table_name(opt, what): markdown_section(section) for what, section in sections})
        sys.stdout.write(f"tables: {opt.page}\n")


def measure(opt: Namespace) -> Iterator[Figures]:
    """Run everything; gives all figures so far (plain values that name no folder) whenever there are more of them."""
    setup = Setup(network_flags(opt), opt.device.index)
    figures = {"machine": describe_machine(opt.device), "options": plain_options(opt), "cases": [], "loader": []}
    with WorkerPool(lambda keep: start_worker(setup, keep)) as pool:
        groups = plan_groups(opt, can_keep=can_keep(opt, pool))
        sizes = opt.sizes if "loader" in opt.what else []
        total = sum(group_units(opt, group) for group in groups) + sum(loader_units(opt, size) for size in sizes)
        with progress_bar(total, "benchmark", "kilopixels") as bar:
            peaks = measure_peaks(groups, setup, bar.update) if opt.memory else {}
            if groups:
                figures |= measure_facts(opt, pool.of(groups[0].cases[-1]))
            for group in groups:
                measured = measure_group(opt, group, pool, peaks, bar.update)
                figures["cases"] += make_rows(group.name, measured, figures["product_flops_per_s"])
                yield figures
            for size in sizes:
                figures["loader"] += map(loader_row, measure_sizes(opt, size, bar.update))
                yield figures


def start_worker(setup: Setup, keep_memory: bool) -> Worker:
    """A new one: a process for the CPU, this process for a GPU, whose memory is another matter."""
    return ProcessWorker(setup, keep_memory) if setup.gpu is None else LocalWorker(setup)


def can_keep(opt: Namespace, pool: WorkerPool) -> bool:
    """Whether the allocator of a process on this machine can be told to keep memory; on a GPU it is of no concern."""
    if opt.device.type != "cpu" or opt.what == ["loader"]:
        return False
    return pool.get("kept", keep_memory=True).kept


def measure_facts(opt: Namespace, worker: Worker) -> Figures:
    """What the cases have in common."""
    rates = {name: worker.call("product_rate", name) for name in opt.precisions}
    return {"parameters": worker.call("parameters"), "product_flops_per_s": rates}


def measure_peaks(groups: list[Group], setup: Setup, advance: Advance) -> dict[Case, int | None]:
    """Peak memory of every case, each in a worker of its own: what others have left behind would count too."""
    peaks: dict[Case, int | None] = {}
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


def measure_group(
    opt: Namespace, group: Group, pool: WorkerPool, peaks: dict[Case, int | None], advance: Advance
) -> list[Measured]:
    """Times of the cases of a group, and what they compute; workers of extras are closed after it."""

    def run(case: Case, kind: str) -> float:
        seconds = pool.of(case).call("seconds", case, kind)
        advance(units(case))
        return seconds

    cases = [case for case in group.cases if not case.extra or works(case, pool)]
    measured = {case: Measured(case, peak_bytes=peaks.get(case)) for case in cases}
    for alike in same_work(cases):
        work = pool.of(alike[0]).call("work", alike[0])
        advance(len(work) * units(alike[0]))
        for case in alike:
            measured[case].work = work
    for case, seconds in take_turns(cases, run, repeats=opt.repeats, warmup=opt.warmup).items():
        measured[case].seconds = seconds
    if not group.is_ladder:
        pool.close(group.name)
    return list(measured.values())


def works(case: Case, pool: WorkerPool) -> bool:
    """Whether an option of the engine works here at all; one line says why when it does not."""
    try:
        for kind in case.kinds:
            pool.of(case).call("seconds", case, kind)
    except RuntimeError as error:
        reason = next((line for line in str(error).splitlines() if ERROR_LINE.match(line)), str(error).splitlines()[-1])
        sys.stderr.write(f"{case.title} is left out, since it fails here: {reason}\n")
        return False
    return True


def same_work(cases: list[Case]) -> list[list[Case]]:
    """Cases that compute the same, together; allocator, kernel of Adam and precision change nothing there."""
    found: dict[tuple[bool, bool, bool], list[Case]] = {}
    for case in cases:
        again = case.extra == "checkpoint_activations"
        found.setdefault((case.published, case.subpixel, again), []).append(case)
    return list(found.values())


def measure_sizes(opt: Namespace, size: int, advance: Advance) -> list[LoaderTimes]:
    """The loader at one size."""
    each = loader_units(opt, size) // turns(opt.repeats)
    return measure_loader(size, opt.batch, opt.repeats, lambda: advance(each))


def units(case: Case) -> int:
    """Progress of one iteration: what it costs grows with the pixels."""
    return max(1, case.load.size**2 * case.load.batch // UNIT)


def peak_units(case: Case) -> int:
    """Progress of the peak of one case: a process, and two iterations of each kind."""
    return START + 2 * len(case.kinds) * units(case)


def group_units(opt: Namespace, group: Group) -> int:
    """Progress of a group. Peaks of our step beside an extra are known already."""
    times = sum(len(case.kinds) * units(case) for case in group.cases) * (opt.warmup + opt.repeats)
    counts = sum(len(alike[0].kinds) * units(alike[0]) for alike in same_work(group.cases))
    new = [case for case in group.cases if case.extra or group.is_ladder]
    return times + counts + (sum(peak_units(case) for case in new) if opt.memory else 0)


def loader_units(opt: Namespace, size: int) -> int:
    return turns(opt.repeats) * max(1, size**2 * opt.batch // UNIT)


def plain_options(opt: Namespace) -> Figures:
    """Those that change a figure."""
    names = ("what", "baseline", "sizes", "batch", "infer_batches", "precisions", "extras", "repeats", "warmup")
    return {name: getattr(opt, name) for name in (*names, *NETWORK_OPTIONS)}


def table_name(opt: Namespace, what: str) -> str:
    """As pages call it: ``cpu-train``."""
    return f"{'gpu' if opt.device.type == 'cuda' else 'cpu'}-{what}"


def show(figures: Figures) -> None:
    """All tables on stdout."""
    sys.stdout.write(f"\n{describe(figures)}\n")
    for what, section in make_sections(figures).items():
        sys.stdout.write(f"\n{what}\n\n{text_section(section)}\n")
