"""The step that all methods share, on methods of one or two weights that can be followed by hand."""

import pytest
import torch
from torch import nn

from util.engine import Engine, EngineSettings, network_states
from util.errors import UserError
from util.loss_record import TrainingDiverged
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

    def inference_networks(self):
        return {"net_G": self.net_G}

    def begin_epoch(self, epoch):
        self.net_D.requires_grad_(epoch > 1)

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


def make_engine(step=quadratic, value=1.0, **settings):
    return Engine(Toy(step, value), EngineSettings(**settings))


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
    with pytest.raises(TrainingDiverged, match=r"judge became nan or infinite in iteration 2 .*good 0\.\d+"):
        engine.losses()


def test_finite_loss_with_an_infinite_gradient_is_noticed_by_the_weights():
    engine = make_engine(lambda method, x, progress: iter([Update("G", {"root": method.net_G.w.sqrt()})]), value=0.0)
    engine.step(BATCH, Progress(1, 1))
    with pytest.raises(TrainingDiverged, match="weights of net_G are not finite"):
        engine.check()


# Learning rate


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
    engines = [Engine(Toy(quadratic), EngineSettings(gpu_ids=gpu_ids)) for gpu_ids in ((0,), (0, 1))]
    for engine in engines:
        engine.step(BATCH, Progress(1, 1))
    one, two = (network_states(engine.method) for engine in engines)
    torch.testing.assert_close(one, two)


def test_run_goes_on_in_another_precision():
    """fp16 has a loss scale, fp32 none: each can take the other's checkpoint."""
    for before, after in (("fp16", "fp32"), ("fp32", "fp16")):
        engine, other = make_engine(precision=before), make_engine(precision=after)
        engine.step(BATCH, Progress(1, 1))
        other.load_state_dict(engine.state_dict())
        other.step(BATCH, Progress(1, 2))
        assert weights(other)[0] == pytest.approx(0.64 * 0.64, rel=1e-3)


# Settings


def mean_square(method, x, progress):
    """A loss that is a mean over the samples, and a discriminator that sees the generator's new weight."""
    yield Update("G", {"square": (method.net_G(x) - 1).square().mean()})
    yield Update("D", {"judge": (method.net_D(method.net_G(x).detach()) - 2).square().mean()})


@pytest.mark.parametrize("parts", [2, 4])
def test_batch_in_parts_gives_the_weights_and_losses_of_the_whole_one(parts):
    batch = {"synthetic": {"x": torch.tensor([2.0, 3.0, -1.0, 0.5])}}
    whole, split = make_engine(mean_square), make_engine(mean_square, accumulate=parts)
    for engine in (whole, split):
        for iteration in (1, 2, 3):
            engine.step(batch, Progress(1, iteration))
    assert weights(split) == pytest.approx(weights(whole), rel=1e-6)
    assert split.losses() == pytest.approx(whole.losses(), rel=1e-6)


def test_averages_follow_the_weights_of_the_networks_that_predict():
    engine = make_engine(ema=0.5)
    engine.begin()
    expected, seen = 1.0, []
    for iteration in range(1, 31):
        engine.step(BATCH, Progress(1, iteration))
        decay = min(0.5, (1 + iteration) / (10 + iteration))
        expected = decay * expected + (1 - decay) * engine.method.net_G.w.item()
        seen.append(engine.state_dict()["ema"]["net_G"]["w"].item())
    assert seen[-1] == pytest.approx(expected, rel=1e-5)
    assert seen[-1] != pytest.approx(engine.method.net_G.w.item(), rel=1e-3)
    assert list(engine.state_dict()["ema"]) == ["net_G"]
    assert make_engine().state_dict()["ema"] == {}


def test_averages_begin_with_the_weights_that_the_run_begins_with():
    engine = make_engine(ema=0.9)
    with torch.no_grad():
        engine.method.net_G.w.fill_(7.0)  # weights of another run
    engine.begin()
    assert engine.state_dict()["ema"]["net_G"]["w"].item() == 7.0


def test_averages_go_on_from_a_checkpoint():
    engine, other = make_engine(ema=0.9), make_engine(ema=0.9)
    for iteration in (1, 2, 3):
        engine.step(BATCH, Progress(1, iteration))
    other.load_state_dict(engine.state_dict())
    for one in (engine, other):
        one.step(BATCH, Progress(1, 4))
    assert torch.equal(*(one.state_dict()["ema"]["net_G"]["w"] for one in (engine, other)))


def test_gradients_are_clipped_to_the_norm():
    engine = make_engine(lambda method, x, progress: iter([Update("G", {"a": 50 * method.net_G.w})]), clip_norm=2.0)
    engine.step(BATCH, Progress(1, 1))
    assert weights(engine)[0] == pytest.approx(1 - 0.1 * 2.0, rel=1e-4)


def broken_in(*iterations):
    def step(method, x, progress):
        factor = float("nan") if progress.iteration in iterations else 1.0
        yield Update("G", {"good": method.net_G.w * factor})

    return step


def test_updates_that_are_not_finite_are_left_out_when_that_is_allowed():
    engine = make_engine(broken_in(2, 3), skip_nonfinite=2)
    for iteration in range(1, 5):
        engine.step(BATCH, Progress(1, iteration))
    engine.check()
    assert weights(engine)[0] == pytest.approx(1 - 2 * 0.1)


def test_running_statistics_do_not_see_a_batch_that_was_left_out():
    def step(method, x, progress):
        factor = float("nan") if progress.iteration == 2 else 1.0
        yield Update("G", {"spread": (method.net_G.norm(x[:, None] * factor) * method.net_G.w).square().mean()})

    def after(iterations):
        torch.manual_seed(0)
        method = Toy(step)
        method.net_G.norm = nn.BatchNorm1d(1, affine=False)
        engine = Engine(method, EngineSettings(skip_nonfinite=2))
        for iteration in iterations:
            engine.step(BATCH, Progress(1, iteration))
        norm = method.net_G.norm
        return norm.running_mean.item(), norm.running_var.item(), norm.num_batches_tracked.item()

    assert after([1, 2]) == after([1])
    assert after([1, 2, 3]) == after([1, 3])
    assert after([1])[0] == pytest.approx(0.1 * 2.5)


def test_too_many_updates_in_a_row_that_are_not_finite_end_the_run_with_good_weights():
    engine = make_engine(broken_in(1, 3, 4, 5), skip_nonfinite=2)
    for iteration in range(1, 5):
        engine.step(BATCH, Progress(1, iteration))
    with pytest.raises(TrainingDiverged, match=r"of 3 iterations in a row.*\(good\).*in iteration 5") as error:
        engine.step(BATCH, Progress(1, 5))
    assert (error.value.iteration, error.value.terms) == (5, ("good",))
    assert weights(engine)[0] == pytest.approx(1 - 0.1)


def test_good_updates_of_an_iteration_do_not_make_up_for_one_that_is_not_finite():
    """Labelled frames that are always nan, and video that is good, with the same optimiser: nothing is learned."""

    def step(method, x, progress):
        yield Update("G", {"frames": method.net_G.w * float("nan")})
        yield Update("G", {"video": method.net_G.w * 1.0})

    engine = make_engine(step, skip_nonfinite=2)
    for iteration in (1, 2):
        engine.step(BATCH, Progress(1, iteration))
    with pytest.raises(TrainingDiverged, match=r"of 3 iterations in a row.*\(frames\)"):
        engine.step(BATCH, Progress(1, 3))


def test_updates_that_were_left_out_are_counted_among_the_losses():
    engine, counts = make_engine(broken_in(2, 3), skip_nonfinite=2), []
    for iteration in range(1, 5):
        engine.step(BATCH, Progress(1, iteration))
        if iteration % 2 == 0:
            counts.append(engine.losses()["left_out"])
    assert counts == [1.0, 1.0]
    assert "left_out" not in make_engine().losses()


def test_first_broken_loss_is_named_not_those_that_follow_from_it():
    def step(method, x, progress):
        first = float("nan") if progress.iteration == 3 else 1.0
        yield Update("D", {"cause": method.net_D.w * first})
        yield Update("G", {"consequence": method.net_G.w * (method.net_D.w.detach() if progress.iteration > 3 else 1)})

    engine = make_engine(step)
    for iteration in range(1, 6):
        engine.step(BATCH, Progress(1, iteration))
    with pytest.raises(TrainingDiverged, match=r"^cause became nan or infinite in iteration 3 ") as error:
        engine.check()
    assert (error.value.iteration, error.value.terms) == (3, ("cause",))


def test_losses_are_computed_in_float32_and_networks_in_the_precision():
    types = []

    def step(method, x, progress):
        y = nn.functional.linear(x[None], method.net_G.w.view(1, 1).expand(1, 2))
        types.append(y.dtype)
        yield Update("G", {"a": y.sum()})

    for precision, expected in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        engine = make_engine(step, precision=precision)
        engine.step(BATCH, Progress(1, 1))
        assert types.pop() == expected
        assert engine.method.net_G.w.dtype == engine.method.net_G.w.grad.dtype == torch.float32


def test_epochs_schedule_of_the_method_is_followed():
    engine = make_engine()
    engine.begin_epoch(1)
    assert not engine.method.net_D.w.requires_grad
    engine.begin_epoch(2)
    assert engine.method.net_D.w.requires_grad


def test_recomputing_is_refused_where_no_network_can():
    with pytest.raises(UserError, match="none of this method's networks"):
        make_engine(checkpoint_activations=True)
