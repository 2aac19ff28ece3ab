"""Losses of an interval: means by name, and the first of each that was not finite."""

import pytest
import torch

from util.errors import UserError
from util.loss_record import LossRecord, TrainingDiverged, require_finite

NAN, INF = float("nan"), float("inf")


def record(*updates):
    """A record of updates (iteration, values by name)."""
    made = LossRecord()
    for iteration, values in updates:
        made.add({name: torch.tensor(value) for name, value in values.items()}, iteration)
    return made


def test_nothing_recorded_is_nothing():
    empty = LossRecord()
    empty.clear()
    assert (empty.means(), empty.first_bad()) == ({}, {})


def test_mean_of_a_name_is_over_the_updates_that_had_it():
    made = record((1, {"a": 1.0, "b": 10.0}), (1, {"c": 7.0}), (2, {"a": 2.0, "b": 30.0}), (3, {"a": 6.0}))
    assert made.means() == {"a": 3.0, "b": 20.0, "c": 7.0}


def test_names_are_in_the_order_of_their_first_time_even_after_clearing():
    made = record((1, {"b": 1.0}), (1, {"a": 2.0}))
    made.clear()
    assert made.means() == {}
    made.add({"a": torch.tensor(5.0)}, 2)
    made.add({"b": torch.tensor(4.0)}, 2)
    assert list(made.means().items()) == [("b", 4.0), ("a", 5.0)]


def test_name_that_was_not_there_since_clearing_has_no_mean():
    made = record((1, {"a": 1.0}), (1, {"b": NAN}))
    made.clear()
    made.add({"a": torch.tensor(3.0)}, 2)
    assert (made.means(), made.first_bad()) == ({"a": 3.0}, {})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_do_not_get_stuck_in_low_precision(dtype):
    made = LossRecord()
    for _ in range(3000):  # in bfloat16 the sum would stop at 256, in float16 at 2048
        made.add({"a": torch.ones((), dtype=dtype)}, 1)
    assert made.means() == {"a": 1.0}


def test_values_with_a_graph_are_read_and_the_graph_is_not_kept():
    weight = torch.tensor(2.0, requires_grad=True)
    made = LossRecord()
    made.add({"a": weight * 3}, 1)
    assert made.means() == {"a": 6.0}
    assert not any(interval.sums.requires_grad for interval in made._intervals.values())


@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_first_iteration_that_was_not_finite_is_kept(broken):
    made = record((4, {"a": 1.0, "b": 1.0}), (5, {"a": broken, "b": 1.0}), (6, {"a": 1.0, "b": 1.0}))
    made.add({"a": torch.tensor(broken), "b": torch.tensor(broken)}, 7)
    assert made.first_bad() == {"a": (5, 2), "b": (7, 4)}


def test_name_in_several_sets_has_the_first_iteration_of_all():
    made = record((1, {"a": 1.0, "b": 1.0}), (2, {"a": INF}), (3, {"a": NAN, "b": 1.0}), (4, {"a": NAN}))
    assert made.first_bad() == {"a": (2, 2)}


def test_updates_are_counted_from_the_last_clearing_on():
    made = record((1, {"a": NAN}), (2, {"a": 1.0}))
    made.clear()
    made.add({"a": torch.tensor(1.0)}, 3)
    made.add({"a": torch.tensor(NAN)}, 4)
    assert made.first_bad() == {"a": (4, 2)}


def test_two_infinities_that_cancel_are_noticed():
    assert record((1, {"a": INF}), (2, {"a": -INF})).first_bad() == {"a": (1, 1)}


def test_nothing_found_is_no_error():
    require_finite({}, {"a": 1.0})


def test_error_names_the_terms_of_the_first_update_alone():
    found = {"b": (4, 9), "d": (3, 8), "a": (3, 7), "c": (3, 7)}
    with pytest.raises(TrainingDiverged) as error:
        require_finite(found, {"a": NAN, "b": NAN, "c": INF, "d": 0.123456})
    assert (error.value.iteration, error.value.terms) == (3, ("a", "c"))
    assert str(error.value) == (
        "a and c became nan or infinite in iteration 3 (means since the last line: a nan, b nan, c inf, d 0.1235)"
    )


def test_diverged_training_is_the_users_business_and_may_name_no_loss():
    fault = TrainingDiverged("weights of net_G are not finite any more")
    assert isinstance(fault, UserError)
    assert (str(fault), fault.iteration, fault.terms) == ("weights of net_G are not finite any more", None, ())
