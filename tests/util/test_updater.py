"""One optimiser: the loss scale of fp16, clipping under it, groups of weights, and its state."""

import copy

import pytest
import torch
from torch import nn

from util.precision import Precision
from util.updater import Updater

RATE, FIRST_SCALE = 0.1, 2.0**16  # GradScaler's own


def make_updater(weights, precision="fp16", clip_norm=0.0, skip_nonfinite=False, optimizer=torch.optim.SGD):
    scaler = Precision(precision, torch.device("cpu")).scaler()
    return Updater(optimizer(weights, lr=RATE), scaler, clip_norm, skip_nonfinite)


@pytest.fixture
def weight():
    return nn.Parameter(torch.tensor([1.0, 2.0]))


def update(updater, weight, factor):
    """One whose gradient is ``factor`` for each weight."""
    updater.backward((weight * factor).sum(), first=True)
    return updater.step()


# The loss scale


@pytest.mark.parametrize("skip_nonfinite", [False, True])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_fp16_leaves_out_what_is_not_finite_and_halves_its_scale(weight, skip_nonfinite, broken):
    updater = make_updater([weight], skip_nonfinite=skip_nonfinite)
    assert update(updater, weight, broken)  # it is looking for its scale, which is no fault
    assert weight.tolist() == [1.0, 2.0]
    assert updater.scaler.get_scale() == FIRST_SCALE / 2
    update(updater, weight, 1.0)
    assert weight.tolist() == pytest.approx([0.9, 1.9])
    assert updater.scaler.get_scale() == FIRST_SCALE / 2


def test_the_scale_drops_out_of_the_step(weight):
    plain = nn.Parameter(weight.detach().clone())
    for precision, values in (("fp16", weight), ("fp32", plain)):
        updater = make_updater([values], precision, optimizer=torch.optim.Adam)
        for factor in (3.0, -1.0, 0.5):
            update(updater, values, factor)
    torch.testing.assert_close(weight, plain, rtol=1e-6, atol=0)


def test_scale_below_1_counts_as_left_out_since_no_smaller_one_helps(weight):
    updater = make_updater([weight], skip_nonfinite=True)
    made = [update(updater, weight, float("nan")) for _ in range(19)]
    assert made == [True] * 16 + [False] * 3  # 2^16 is 1 after 16 halvings
    assert weight.tolist() == [1.0, 2.0]


def test_hopeless_scale_is_not_counted_unless_that_is_asked_for(weight):
    updater = make_updater([weight])
    assert all(update(updater, weight, float("nan")) for _ in range(20))
    assert updater.scaler.get_scale() == FIRST_SCALE / 2**20


# Without a scale


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_steps_that_are_not_finite_are_left_out_and_told(weight, clip_norm):
    updater = make_updater([weight], "fp32", clip_norm=clip_norm, skip_nonfinite=True)
    made = [update(updater, weight, factor) for factor in (float("nan"), float("inf"), 0.1, float("nan"))]
    assert made == [False, False, True, False]
    assert weight.tolist() == pytest.approx([0.99, 1.99])


def test_moments_of_adam_do_not_see_what_was_left_out(weight):
    undisturbed = nn.Parameter(weight.detach().clone())
    for values, factors in ((weight, (1.0, float("nan"), 2.0)), (undisturbed, (1.0, 2.0))):
        updater = make_updater([values], "fp32", skip_nonfinite=True, optimizer=torch.optim.Adam)
        for factor in factors:
            update(updater, values, factor)
    assert torch.equal(weight, undisturbed)


# Gradients


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_the_norm_of_all_weights_is_clipped_and_that_of_unscaled_gradients(precision):
    first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    updater = make_updater([first, second], precision, clip_norm=1.0)
    updater.backward(first.sum() * 2 + second.sum() * 1, first=True)  # gradient (2, 2, 1), norm 3
    updater.step()
    # 1e-5: clipping divides by the norm plus 1e-6
    assert [*first.tolist(), *second.tolist()] == pytest.approx([-RATE * 2 / 3, -RATE * 2 / 3, -RATE / 3], rel=1e-5)


def test_small_gradients_are_not_enlarged(weight):
    updater = make_updater([weight], "fp32", clip_norm=1.0)
    update(updater, weight, 0.5)
    assert weight.tolist() == pytest.approx([0.95, 1.95])


def test_gradients_of_parts_add_up_and_the_first_part_begins_anew(weight):
    updater = make_updater([weight], "fp32")
    for part, factor in enumerate((1.0, 2.0, 3.0)):
        updater.backward((weight * factor).sum(), first=part == 0)
    assert weight.grad.tolist() == [6.0, 6.0]
    updater.backward(weight.sum(), first=True)
    assert weight.grad.tolist() == [1.0, 1.0]


def test_only_weights_that_learn_at_present_and_belong_to_it_get_gradients(weight):
    held, foreign = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))
    updater = make_updater([weight, held], "fp32", clip_norm=1.0)
    update(updater, weight, held * foreign)
    assert (held.grad, foreign.grad) == (None, None)
    assert held.tolist() == foreign.tolist() == [1.0, 1.0]
    held.requires_grad_(True)
    assert [w is held for w in updater.weights] == [False, True]


# Rate and state


def test_each_group_keeps_its_own_base_rate():
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.2, 0.04)]
    updater = make_updater(groups)
    for factor in (0.5, 0.25):
        updater.set_rate(factor)
    assert [group["lr"] for group in updater.optimizer.param_groups] == pytest.approx([0.05, 0.01])
    assert updater.rate == pytest.approx(0.05)


def test_scale_and_moments_go_on_from_a_checkpoint(weight):
    other = nn.Parameter(weight.detach().clone())
    updater, resumed = (make_updater([w], optimizer=torch.optim.Adam) for w in (weight, other))
    for factor in (1.0, float("nan"), 2.0):
        update(updater, weight, factor)
    resumed.load_state_dict(copy.deepcopy(updater.state_dict()))
    other.data.copy_(weight.data)
    assert resumed.scaler.get_scale() == FIRST_SCALE / 2
    for one, values in ((updater, weight), (resumed, other)):
        update(one, values, -3.0)
    assert torch.equal(weight, other)


def test_rates_and_betas_are_those_of_today_and_not_of_the_checkpoint(weight):
    """``--continue_train --beta1 0.9`` says that it changed, so it has to count."""

    def make(lr, betas):
        return make_updater([{"params": [weight], "lr": lr, "betas": betas}], "fp32", optimizer=torch.optim.Adam)

    before, now = make(0.1, (0.5, 0.999)), make(0.2, (0.9, 0.99))
    update(before, weight, 1.0)
    now.load_state_dict(copy.deepcopy(before.state_dict()))
    now.set_rate(0.5)
    (group,) = now.optimizer.param_groups
    assert (group["lr"], group["betas"]) == (0.1, (0.9, 0.99))
    assert now.optimizer.state[weight]["exp_avg"].tolist() == before.optimizer.state[weight]["exp_avg"].tolist()


def test_state_of_a_run_without_a_scale_leaves_the_scale_as_it_begins(weight):
    updater = make_updater([weight])
    updater.load_state_dict(make_updater([weight], "fp32").state_dict())
    assert updater.scaler.get_scale() == FIRST_SCALE
