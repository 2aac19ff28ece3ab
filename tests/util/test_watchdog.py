"""Symptoms are warned of once they last, once as long as they last, and not by values that were not there."""

import pytest

from util.watchdog import MIN_INTERVALS_BETWEEN, Symptom, Watchdog, loss_scale_symptom

BAD, GOOD, MISSING = {"a": 0.125, "b": 3.0}, {"a": 5.0, "b": 3.0}, {"b": 3.0}


def symptom(patience=2, name="a is low", reads=("a", "b")):
    return Symptom(name, reads, lambda means: means["a"] < 1, patience, "raise a")


def warned_at(course, patience=2):
    """Numbers of the intervals, from 1, that gave a warning."""
    watchdog = Watchdog([symptom(patience)])
    return [number for number, means in enumerate(course, 1) if watchdog.check(means)]


def test_the_warning_tells_what_how_long_the_values_and_what_to_do():
    watchdog = Watchdog([symptom()])
    assert watchdog.check(BAD) == []
    assert watchdog.check(BAD) == ["warning: a is low for 2 logging intervals (a 0.125, b 3): raise a"]
    (single,) = Watchdog([symptom(patience=1)]).check(BAD)
    assert "for 1 logging interval (" in single


def test_it_is_given_once_as_long_as_it_lasts():
    assert warned_at([BAD] * 3 * MIN_INTERVALS_BETWEEN) == [2]


def test_only_intervals_in_a_row_count():
    assert warned_at([BAD, GOOD] * 10) == []
    assert warned_at([BAD, GOOD, BAD, BAD]) == [4]


def test_intervals_without_the_value_neither_count_nor_end_it():
    assert warned_at([BAD, MISSING, MISSING, BAD]) == [4]
    assert warned_at([MISSING] * 10) == []


def test_what_comes_back_is_warned_of_again():
    pause = [GOOD] * MIN_INTERVALS_BETWEEN
    assert warned_at([BAD, BAD, *pause, BAD, BAD]) == [2, MIN_INTERVALS_BETWEEN + 4]


def test_what_comes_and_goes_is_not_warned_of_at_every_turn():
    turns = warned_at([BAD, BAD, GOOD] * MIN_INTERVALS_BETWEEN)
    assert turns[0] == 2
    assert all(later - earlier >= MIN_INTERVALS_BETWEEN for earlier, later in zip(turns, turns[1:], strict=False))
    assert len(turns) == 3  # in 60 intervals


def test_what_comes_back_too_early_and_stays_is_warned_of_later():
    assert warned_at([BAD, BAD, GOOD] + [BAD] * MIN_INTERVALS_BETWEEN) == [2, 2 + MIN_INTERVALS_BETWEEN]


def test_symptoms_do_not_disturb_each_other():
    other = Symptom("b is high", ("b",), lambda means: means["b"] > 2, 1, "lower b")
    watchdog = Watchdog([symptom(), other])
    assert [line.split(" for")[0] for line in watchdog.check(GOOD)] == ["warning: b is high"]
    assert watchdog.check(BAD) == []
    assert [line.split(" for")[0] for line in watchdog.check(BAD)] == ["warning: a is low"]


@pytest.mark.parametrize("broken", [symptom(patience=0), symptom(reads=())])
def test_symptoms_that_could_never_be_warned_of_are_refused(broken):
    with pytest.raises(ValueError, match="'a is low' must read a value and have a patience"):
        Watchdog([broken])


def test_a_loss_scale_below_one_is_warned_of():
    watchdog = Watchdog([loss_scale_symptom("G"), loss_scale_symptom("D")])
    assert watchdog.check({"scale_G": 1.0, "scale_D": 65536.0}) == []
    (warning,) = watchdog.check({"scale_G": 0.5, "scale_D": 65536.0})
    assert warning.startswith("warning: the loss scale of G is below 1 for 1 logging interval (scale_G 0.5): ")
    assert "--precision bf16" in warning
