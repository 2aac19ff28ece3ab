"""Turns, and what the times come to."""

import pytest

from benchmark.cases import Case, Load
from benchmark.timing import Measured, take_turns
from benchmark.work import Work

TRAIN = Load("train", 64, 1)
FIRST, SECOND = Case("first", TRAIN), Case("second", TRAIN)


def test_cases_take_turns_round_by_round():
    order = []

    def run(case, kind):
        order.append((case.title, kind))
        return 1.0

    take_turns([FIRST, SECOND], run, repeats=2, warmup=1)
    one_round = [(case, kind) for case in ("first", "second") for kind in ("without D", "with D")]
    assert order == one_round * 3


def test_warmup_does_not_count():
    clock = iter(range(100))
    times = take_turns([FIRST, SECOND], lambda case, kind: float(next(clock)), repeats=2, warmup=1)
    assert times[FIRST] == {"without D": [4.0, 8.0], "with D": [5.0, 9.0]}
    assert times[SECOND] == {"without D": [6.0, 10.0], "with D": [7.0, 11.0]}


def test_cycle_is_four_iterations_without_the_discriminator_and_one_with():
    measured = Measured(FIRST, {"without D": [1.0, 2.0, 3.0], "with D": [6.0, 12.0, 8.0]})
    assert measured.cycles == pytest.approx([(4 * 1 + 6) / 5, (4 * 2 + 12) / 5, (4 * 3 + 8) / 5])
    assert (measured.median_s, measured.min_s) == pytest.approx((4.0, 2.0))


def test_work_of_a_cycle_is_weighted_alike():
    work = {"without D": Work(100, 0), "with D": Work(200, 3)}
    measured = Measured(FIRST, work=work)
    assert measured.flops == pytest.approx(120)
    assert measured.flow_calls == 3
    assert (Measured(FIRST).flops, Measured(FIRST).flow_calls) == (None, None)
