"""The learning rate over the epochs."""

import pytest

from util.schedule import rate_factor


def test_published_rate_falls_linearly_from_the_first_of_80_epochs_and_never_exceeds_the_base():
    """niter 0, niter_decay 80; the published code began above its base rate when niter was larger."""
    factors = [rate_factor(epoch, 0, 80) for epoch in range(1, 81)]
    assert factors == pytest.approx([1 - k / 80 for k in range(80)])
    assert max(factors) == 1.0
    assert min(factors) == pytest.approx(1 / 80)


def test_rate_is_constant_for_niter_epochs_and_then_falls_to_0_after_the_last():
    assert [rate_factor(epoch, 3, 4) for epoch in range(1, 9)] == [1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert [rate_factor(epoch, 5, 0) for epoch in range(1, 6)] == [1.0] * 5
