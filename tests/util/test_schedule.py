"""The learning rate over epochs and iterations, and what is due when epochs end."""

from argparse import Namespace

import pytest

from util.schedule import EpochEnds, Rates, rate_factor, triangle


def test_published_rate_falls_linearly_from_the_first_of_80_epochs_and_never_exceeds_the_base():
    """niter 0, niter_decay 80; the published code began above its base rate when niter was larger."""
    factors = [rate_factor(epoch, 0, 80) for epoch in range(1, 81)]
    assert factors == pytest.approx([1 - k / 80 for k in range(80)])
    assert max(factors) == 1.0
    assert min(factors) == pytest.approx(1 / 80)


def test_rate_is_constant_for_niter_epochs_and_then_falls_to_0_after_the_last():
    assert [rate_factor(epoch, 3, 4) for epoch in range(1, 9)] == [1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert [rate_factor(epoch, 5, 0) for epoch in range(1, 6)] == [1.0] * 5


def test_a_cycle_rises_for_half_of_its_steps_and_falls_for_the_other_half():
    expected = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25] * 2
    assert [triangle(step, 4) for step in range(16)] == pytest.approx(expected)


def test_cyclic_rates_are_the_published_ones():
    """lr(n) = 1e-4 + 9e-4 triangle: 1e-4 at step 0, 1e-3 at step 1000, whatever the epoch."""
    rates = Rates("cyclic", niter=100, niter_decay=0, low=1e-4 / 1e-3, half_cycle=1000)
    steps = {0: 1e-4, 500: 5.5e-4, 1000: 1e-3, 1250: 7.75e-4, 2000: 1e-4, 3000: 1e-3}
    assert [1e-3 * rates.factor(7, step) for step in steps] == pytest.approx(list(steps.values()))


def test_linear_rates_ask_for_the_epoch_alone():
    rates = Rates("linear", niter=3, niter_decay=4)
    assert [rates.factor(epoch, iteration) for epoch, iteration in ((1, 0), (3, 99), (5, 100))] == [1, 1, 0.75]


def ends(total):
    """Epochs of 3 iterations, evaluated every second one, kept every third one."""
    return EpochEnds(3, total, Namespace(eval_epoch_freq=2, save_epoch_freq=3))


def test_iterations_belong_to_epochs_counted_from_1():
    assert [ends(9).epoch(iteration) for iteration in range(1, 8)] == [1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize(("total", "expected"), [(18, [6, 12, 18]), (15, [6, 12, 15]), (14, [6, 12, 14])])
def test_scores_are_due_at_the_end_of_every_second_epoch_and_of_the_run(total, expected):
    assert [iteration for iteration in range(total + 1) if ends(total).evaluation(iteration)] == expected


@pytest.mark.parametrize(("total", "expected"), [(18, [9, 18]), (17, [9])])
def test_checkpoints_of_epochs_are_due_after_whole_ones_only(total, expected):
    assert [iteration for iteration in range(total + 1) if ends(total).checkpoint(iteration)] == expected
