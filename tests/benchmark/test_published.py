"""The published schedule costs more than ours and does the same: equal losses, equal weights after the step."""

import copy
import re

import numpy as np
import pytest
import torch
from tiny_run import tiny_options

from benchmark.batches import synthetic_batch, video_batch
from benchmark.cases import OUR_LAYERS
from benchmark.networks import PLAIN, SharedModel, with_layers
from benchmark.published import PublishedStep, bilinear_numpy, consistent_numpy, default_adam, make_estimator
from benchmark.work import count_work
from models.geometry.flow import forward_backward_mask, warp
from models.networks import layers, winograd
from util.engine import Engine, EngineSettings
from util.updates import Progress

CPU = torch.device("cpu")
SIZE, BATCH, CYCLE = 32, 2, 5
FLOW = make_estimator(CPU)

# Instance norm takes these away again, so their gradients are nothing but rounding, of which Adam makes whole steps.
WITHOUT_EFFECT = r"net_G\.model\.(?!18)\d+\.(.+\.)?bias|net_D\.scale\d_layer[123]\.0\.bias"


@pytest.fixture(autouse=True)
def our_layers_work(monkeypatch):
    """In networks as small as these, too; else they would compute as PyTorch's do."""
    for module, name in (
        (winograd, "MIN_TILES"),
        (winograd, "MIN_CHANNELS"),
        (layers, "MIN_CHANNELS_PER_OUTPUT"),
        (layers, "MIN_SUBPIXEL_PIXELS"),
    ):
        monkeypatch.setattr(module, name, 1)


def make_pair(dtype=torch.float32):
    """The published step and our engine on equal weights of their own."""
    torch.manual_seed(0)
    model = SharedModel(tiny_options()).to(dtype)
    theirs = copy.deepcopy(model)
    return PublishedStep(theirs, default_adam(theirs), FLOW), Engine(model, EngineSettings())


def make_batch(what, dtype=torch.float32):
    batch = synthetic_batch(SIZE, BATCH, CPU) if what == "train" else video_batch(SIZE, BATCH, CPU, FLOW)
    return {
        stream: {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}
        for stream, tensors in batch.items()
    }


def do_both(published, engine, what, iteration, dtype=torch.float32):
    """Terms of both."""
    batch = make_batch(what, dtype)
    terms = published.train(batch, iteration) if what == "train" else published.video(batch)
    engine.step(batch, Progress(1, iteration))
    return {name: term.item() for name, term in terms.items()}, engine.losses()


# The same results


@pytest.mark.parametrize(("what", "iteration"), [("train", 1), ("train", CYCLE), ("video", 1)])
def test_losses_are_ours(what, iteration):
    theirs, ours = do_both(*make_pair(), what, iteration)
    shared = [name for name in ours if name in theirs]
    expected = {"train": ["G_GAN", "G_FM"], "video": ["G_video"]}[what]
    assert shared == expected + (["D_fake", "D_real"] if iteration == CYCLE else [])
    assert {name: theirs[name] for name in shared} == pytest.approx({name: ours[name] for name in shared}, rel=1e-5)


def test_the_video_loss_without_the_network_and_its_gradients_are_ours():
    published, engine = make_pair()
    batch = make_batch("video")
    depth = torch.rand(BATCH, 3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    theirs = published.video_loss(batch, depth), depth.grad.clone()
    ours = engine.method.video_loss(batch, depth), depth.grad
    assert theirs[1].abs().max() > 0
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-7)
    assert count_work(lambda: published.video_loss(batch, depth)).flow_calls == 4 * BATCH
    assert count_work(lambda: engine.method.video_loss(batch, depth)).flow_calls == 0


@pytest.mark.parametrize(("what", "iteration"), [("train", 1), ("train", CYCLE), ("video", 1)])
def test_weights_after_a_step_are_ours(what, iteration):
    published, engine = make_pair()
    do_both(published, engine, what, iteration)
    effective = {n: w for n, w in engine.method.named_parameters() if not re.fullmatch(WITHOUT_EFFECT, n)}
    theirs = dict(published.method.named_parameters())
    assert len(effective) == sum(w.ndim == 4 for w in theirs.values()) + 5  # the biases that no norm follows
    for name, weight in effective.items():
        torch.testing.assert_close(theirs[name], weight, rtol=0, atol=1e-6, msg=name)


def test_all_weights_are_ours_when_rounding_plays_no_part():
    published, engine = make_pair(torch.float64)
    for what, iteration in [("train", 1), ("train", CYCLE), ("video", 1)]:
        do_both(published, engine, what, iteration, torch.float64)
    for (name, theirs), ours in zip(published.method.named_parameters(), engine.method.parameters(), strict=True):
        # atol: the losses are added up in float32; a step is 5e-5
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-7, msg=name)


def test_weights_move():
    published, _ = make_pair()
    before = [weight.detach().clone() for weight in published.net_G.parameters()]
    published.train(make_batch("train"), 1)
    assert all((b != w).any() for b, w in zip(before, published.net_G.parameters(), strict=True) if w.ndim == 4)


def test_prediction_is_ours():
    published, engine = make_pair()
    images = make_batch("train")["synthetic"]["image"]
    ours = engine.method.predict(images)
    torch.testing.assert_close(published.predict(images), ours, rtol=1e-5, atol=1e-3)


def test_mask_in_numpy_is_ours():
    flow, back = (torch.randn(1, 2, 12, 17, generator=torch.Generator().manual_seed(n)) * 3 for n in (0, 1))
    back[..., :8] = -flow[..., :8]
    mask = forward_backward_mask(flow, back)[0, 0].numpy()
    assert 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(consistent_numpy(flow[0].numpy(), back[0].numpy()), mask)


def test_sampling_in_numpy_is_ours():
    picture, flow = torch.rand(1, 2, 12, 17), torch.randn(1, 2, 12, 17) * 4  # some of it leads outside
    y, x = np.mgrid[:12, :17]
    sampled = bilinear_numpy(picture[0].numpy(), x + flow[0, 0].numpy(), y + flow[0, 1].numpy())
    np.testing.assert_allclose(sampled, warp(picture, flow)[0].numpy(), atol=1e-5)


# The published cost


def count_passes(network, step):
    passes = []
    handle = network.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    step()
    handle.remove()
    return passes


@pytest.mark.parametrize("iteration", [1, CYCLE])
def test_discriminator_runs_three_times_with_gradients_in_every_iteration(iteration):
    published, _ = make_pair()
    batch = make_batch("train")
    assert count_passes(published.net_D, lambda: published.train(batch, iteration)) == [True] * 3


def test_our_schedule_runs_it_twice_and_once_without_gradients():
    _, engine = make_pair()
    batch = make_batch("train")
    assert count_passes(engine.method.net_D, lambda: engine.step(batch, Progress(1, 1))) == [True, False]


def test_generator_update_fills_the_gradients_of_the_discriminator_and_leaves_its_weights():
    published, engine = make_pair()
    before = copy.deepcopy(published.net_D.state_dict())
    do_both(published, engine, "train", 1)
    assert all(weight.grad is not None and weight.grad.any() for weight in published.net_D.parameters())
    assert all(torch.equal(before[name], weight) for name, weight in published.net_D.state_dict().items())
    assert all(weight.grad is None for weight in engine.method.net_D.parameters())


def test_thrown_away_gradients_take_no_part_in_the_discriminators_update():
    published, engine = make_pair(torch.float64)
    for iteration in (3, 4, CYCLE):
        do_both(published, engine, "train", iteration, torch.float64)
    for theirs, ours in zip(published.net_D.parameters(), engine.method.net_D.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-7)  # of a step of 5e-5


def test_flow_is_computed_four_times_a_triplet_and_never_in_our_step():
    published, engine = make_pair()
    batch = make_batch("video")
    assert count_work(lambda: published.video(batch)).flow_calls == 4 * BATCH
    assert count_work(lambda: engine.step(batch, Progress(1, 1))).flow_calls == 0


def test_adam_is_the_one_that_pytorch_makes_by_default():
    published, engine = make_pair()
    for name, optimizer in published.optimizers.items():
        ours = engine.updaters[name].optimizer
        assert (optimizer.defaults["fused"], optimizer.defaults["foreach"]) == (None, None)
        assert ours.defaults["fused"] is True
        assert [optimizer.defaults[key] for key in ("lr", "betas", "eps")] == [
            ours.defaults[key] for key in ("lr", "betas", "eps")
        ]


def test_our_layers_compute_otherwise():
    """Published and ours are compared above; here, that this compares two ways of computing."""
    published, engine = make_pair()
    batch = make_batch("train")
    ours, theirs = (
        {type(node).__name__ for node in graph(net(batch["synthetic"]["image"]))}
        for net in (engine.method.net_G, published.net_G)
    )
    assert {"_WinogradBackward", "_InterleaveBackward", "Col2ImBackward0"} <= ours - theirs
    assert "CopySlices" in theirs - ours
    judged = [
        {type(node).__name__ for maps in net(torch.rand(1, 4, 32, 32)) for m in maps for node in graph(m)}
        for net in (engine.method.net_D, published.net_D)
    ]
    assert ["CopySlices" in found for found in judged] == [False, True]


def graph(tensor):
    """All nodes that a tensor was computed by."""
    found, todo = set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [before for before, _ in node.next_functions]
    return found


def kinds(network):
    """Of our layers, those that are in a network."""
    return {name for name, (ours, _) in PLAIN.items() if any(isinstance(layer, ours) for layer in network.modules())}


def test_layers_are_pytorchs_own_with_the_same_weights():
    published, engine = make_pair()
    assert kinds(published.net_G) == kinds(published.net_D) == set()
    assert (kinds(engine.method.net_G), kinds(engine.method.net_D)) == (set(OUR_LAYERS), {"norm"})
    for plain, ours in ((published.net_G, published.method.net_G), (published.net_D, published.method.net_D)):
        assert list(plain.state_dict()) == list(ours.state_dict())
        assert all(a is b for a, b in zip(plain.parameters(), ours.parameters(), strict=True))


@pytest.mark.parametrize("number", range(len(OUR_LAYERS) + 1))
def test_each_row_of_the_ladder_has_one_more_of_our_layers(number):
    published, _ = make_pair(torch.float64)
    image, ours = make_batch("train", torch.float64)["synthetic"]["image"], OUR_LAYERS[:number]
    network = with_layers(published.method.net_G, ours)
    assert kinds(network) == set(ours)
    torch.testing.assert_close(network(image), published.net_G(image), rtol=0, atol=1e-12)
