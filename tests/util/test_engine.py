"""The step that all methods share, on methods of one or two weights that can be followed by hand."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from util.engine import Engine, TrainingDiverged, network_states, random_state, rate_factor, set_random_state
from util.errors import UserError
from util.updates import Progress, Update

BATCH = {"synthetic": {"x": torch.tensor([2.0, 3.0])}}


class Scalar(nn.Module):
    """y = w x."""

    def __init__(self, value=1.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.w * x


class Toy(nn.Module):
    """Two networks of one weight, and whatever step the test gives."""

    def __init__(self, step, value=1.0):
        super().__init__()
        self.net_G, self.net_D = Scalar(value), Scalar(value)
        self.step, self.modes = step, []

    def networks(self):
        return {"net_G": self.net_G, "net_D": self.net_D}

    def build_optimizers(self):
        return {name: torch.optim.SGD(self.networks()[f"net_{name}"].parameters(), lr=0.1) for name in "GD"}

    def training_step(self, batch, progress):
        return self.step(self, batch["synthetic"]["x"], progress)

    def visuals(self, batch):
        return {"training": self.training, "x": batch["synthetic"]["x"]}


def quadratic(method, x, progress):
    """w - 0.1 * 2 w at each of two generator updates, one of the discriminator between them."""
    yield Update("G", {"first": method.net_G.w.square()}, {"seen": method.net_G.w * 10})
    yield Update("D", {"judge": (method.net_G(x) * method.net_D.w).mean()})
    yield Update("G", {"second": method.net_G.w.square(), "none": method.net_D.w * 0})


def make_engine(step=quadratic, value=1.0):
    return Engine(Toy(step, value), [])


def weights(engine):
    return engine.method.net_G.w.item(), engine.method.net_D.w.item()


# Updates


def test_each_update_is_made_at_its_yield_and_the_next_sees_its_weights():
    engine = make_engine()
    engine.step(BATCH, Progress(1, 1))
    # G: 1 -> 0.8; D: 1 - 0.1 * mean(0.8 * x) = 1 - 0.1 * 2; G: 0.8 -> 0.64
    assert weights(engine) == pytest.approx((0.64, 0.8))
    assert engine.losses() == pytest.approx({"first": 1.0, "seen": 10.0, "judge": 2.0, "second": 0.64, "none": 0.0})


def test_update_gives_gradients_to_the_weights_of_its_optimiser_alone():
    def judge_only(method, x, progress):
        yield Update("D", {"judge": (method.net_G(x) * method.net_D.w).mean()})

    engine = make_engine(judge_only)
    engine.step(BATCH, Progress(1, 1))
    assert engine.method.net_G.w.grad is None
    assert engine.method.net_D.w.grad.item() == pytest.approx(2.5)


def test_gradients_do_not_pile_up_over_iterations():
    engine = make_engine(lambda method, x, progress: iter([Update("G", {"a": method.net_G.w * 1.0})]))
    for iteration in range(1, 4):
        engine.step(BATCH, Progress(1, iteration))
    assert weights(engine)[0] == pytest.approx(1 - 3 * 0.1)


def test_held_weights_are_not_touched():
    engine = make_engine()
    engine.method.net_D.w.requires_grad_(False)
    engine.method.step = lambda method, x, progress: iter([Update("G", {"a": method.net_G.w * method.net_D.w})])
    engine.step(BATCH, Progress(1, 1))
    assert weights(engine) == pytest.approx((0.9, 1.0))


def test_losses_are_means_over_the_updates_since_they_were_read():
    def every_second(method, x, progress):
        yield Update("G", {"G": method.net_G.w * 0 + progress.iteration})
        if progress.iteration % 2 == 0:
            yield Update("D", {"D": method.net_D.w * 0 + 10 * progress.iteration})

    engine = make_engine(every_second)
    for iteration in range(1, 6):
        engine.step(BATCH, Progress(1, iteration))
    assert engine.losses() == pytest.approx({"G": 3.0, "D": 30.0})
    engine.step(BATCH, Progress(1, 7))
    assert engine.losses() == {"G": 7.0}


def test_losses_keep_their_order_whichever_comes_first_in_an_interval():
    def in_turns(method, x, progress):
        names = ("G", "D") if progress.iteration % 2 else ("D", "G")
        for name in names:
            yield Update("G", {name: method.net_G.w * 1.0})

    engine, orders = make_engine(in_turns), []
    for iteration in (1, 2):
        engine.step(BATCH, Progress(1, iteration))
        orders.append(list(engine.losses()))
    assert orders == [["G", "D"], ["G", "D"]]


def test_pictures_are_made_in_evaluation_mode_and_steps_in_training_mode():
    engine = make_engine(lambda method, x, progress: method.modes.append(method.training) or iter(()))
    assert engine.visuals(BATCH)["training"] is False
    engine.step(BATCH, Progress(1, 1))
    assert engine.method.modes == [True]


# What goes wrong


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_reported_even_when_later_ones_are(broken):
    def sometimes(method, x, progress):
        factor = broken if progress.iteration == 2 else 1.0
        yield Update("D", {"judge": method.net_D.w * 0 + factor})
        yield Update("G", {"good": method.net_G.w * 1.0})

    engine = make_engine(sometimes)
    engine.step(BATCH, Progress(1, 1))
    engine.check()
    for iteration in (2, 3):
        engine.step(BATCH, Progress(1, iteration))
    with pytest.raises(TrainingDiverged, match=r"judge (nan|inf), good 0\.\d+.*lower --lr"):
        engine.losses()


def test_finite_loss_with_an_infinite_gradient_is_noticed_by_the_weights():
    engine = make_engine(lambda method, x, progress: iter([Update("G", {"root": method.net_G.w.sqrt()})]), value=0.0)
    engine.step(BATCH, Progress(1, 1))
    with pytest.raises(TrainingDiverged, match="weights of net_G are not finite"):
        engine.check()


def test_full_gpu_memory_is_a_users_error_with_advice():
    def too_large(method, x, progress):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...")
        yield

    with pytest.raises(UserError, match=r"^CUDA out of memory; use a smaller batch"):
        make_engine(too_large).step(BATCH, Progress(1, 1))


# Learning rate


def test_published_rate_falls_linearly_from_the_first_of_80_epochs_and_never_exceeds_the_base():
    """niter 0, niter_decay 80; the published code began above its base rate when niter was larger."""
    factors = [rate_factor(epoch, 0, 80) for epoch in range(1, 81)]
    assert factors == pytest.approx([1 - k / 80 for k in range(80)])
    assert max(factors) == 1.0
    assert min(factors) == pytest.approx(1 / 80)


def test_rate_is_constant_for_niter_epochs_and_then_falls_to_0_after_the_last():
    assert [rate_factor(epoch, 3, 4) for epoch in range(1, 9)] == [1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert [rate_factor(epoch, 5, 0) for epoch in range(1, 6)] == [1.0] * 5


def test_rates_are_the_base_rates_times_the_factor_however_often_they_are_set():
    engine = make_engine()
    for factor in (0.5, 0.25):
        engine.set_rate(factor)
    assert engine.rates() == pytest.approx({"lr_G": 0.025, "lr_D": 0.025})


# State


def test_state_of_wrapped_networks_has_no_prefix_and_loads_into_plain_ones():
    engine = make_engine(value=3.0)
    engine.method.net_G = nn.DataParallel(engine.method.net_G)
    state = engine.state_dict()
    assert list(state["networks"]["net_G"]) == ["w"]
    plain = make_engine()
    plain.load_state_dict(state)
    assert weights(plain) == (3.0, 3.0)
    state["networks"]["net_G"]["w"] = torch.tensor(5.0)
    engine.load_state_dict(state)
    assert engine.method.net_G.module.w.item() == 5.0


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_give_the_same_step_as_one():
    engines = [Engine(Toy(quadratic), gpu_ids) for gpu_ids in ([0], [0, 1])]
    for engine in engines:
        engine.step(BATCH, Progress(1, 1))
    one, two = (network_states(engine.method) for engine in engines)
    torch.testing.assert_close(one, two)


def test_random_states_go_round():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    draw()
    state = random_state()
    first = draw()
    assert draw() != first
    set_random_state(state)
    assert draw() == first


def test_random_states_survive_a_file_that_runs_no_code(tmp_path):
    torch.save(random_state(), tmp_path / "random.pth")
    expected = (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: NPY002
    set_random_state(torch.load(tmp_path / "random.pth", weights_only=True))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002
