"""Some of many, evenly spread, whatever their number."""

import numpy as np
import pytest

from evaluation.evenly_spread import EvenlySpread


def spread(length, count):
    """What is chosen of the numbers below ``length``, and how many of them were built."""
    kept, built = EvenlySpread(count), []
    for number in range(length):
        kept.offer(lambda number=number: built.append(number) or number)
    return kept.chosen(), built


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("length", [1, 2, 9, 10, 11, 19, 20, 21, 39, 77, 500])
def test_as_many_as_wanted_are_chosen_in_order_and_cover_all(length, count):
    chosen, _ = spread(length, count)
    assert len(chosen) == min(length, count)
    assert chosen[0] == 0
    gaps = np.diff([*chosen, length])
    assert gaps.min() >= 1
    assert gaps.max() <= 2 * length / count + 1


def test_all_are_chosen_where_there_are_few():
    assert spread(7, 10)[0] == list(range(7))


def test_what_is_never_kept_is_not_built():
    _, built = spread(1000, 5)
    assert len(built) < 50


def test_none_is_chosen_of_none():
    assert EvenlySpread(4).chosen() == []


def test_none_cannot_be_wanted():
    with pytest.raises(ValueError, match="at least one must be wanted, got 0"):
        EvenlySpread(0)
