"""How long things take, in units of the progress: what a step costs grows with the pixels that go through it."""

from argparse import Namespace
from collections.abc import Callable

from benchmark.cases import Case, Group
from benchmark.loader import loader_turns, turn_units

UNIT = 1000  # pixels
START = 64  # of starting a process and making its networks: about as long as a step at 256 pixels

Advance = Callable[[int], object]  # tells the progress how many units were done


def iteration_units(case: Case) -> int:
    """One iteration."""
    return max(1, case.load.size**2 * case.load.batch // UNIT)


def peak_units(case: Case) -> int:
    """The peak of a case: a process, and two iterations of each kind."""
    return START + 2 * len(case.kinds) * iteration_units(case)


def group_units(opt: Namespace, group: Group) -> int:
    """Times, work and peaks of a group; those of our step beside an extra are known from the ladder."""
    times = sum(len(case.kinds) * iteration_units(case) for case in group.cases) * (opt.warmup + opt.repeats)
    work = sum(len(alike[0].kinds) * iteration_units(alike[0]) for alike in group.same_work())
    new = [case for case in group.cases if case.extra or group.is_ladder]
    return times + work + (sum(peak_units(case) for case in new) if opt.memory else 0)


def loader_units(opt: Namespace, size: int) -> int:
    """All turns at one size."""
    return loader_turns(opt.repeats) * turn_units(size, opt.batch)
