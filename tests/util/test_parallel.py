"""Wrapping networks, holding them fixed, keeping gradients back, and batches in parts."""

from threading import Thread

import pytest
import torch
from torch import nn

from util import parallel
from util.parallel import DataParallel, frozen, gradients_stay, in_this_precision, split_batch, unwrap, wrap


class FakeDistributed(nn.Module):
    """In place of ``DistributedDataParallel``, which needs other processes: says what it was given."""

    def __init__(self, module, **arguments):
        super().__init__()
        self.module, self.arguments, self.held_back = module, arguments, 0

    def forward(self, x):
        raise AssertionError("the wrapper was called")

    def no_sync(self):
        return HoldBack(self)


class HoldBack:
    def __init__(self, wrapper):
        self.wrapper = wrapper

    def __enter__(self):
        self.wrapper.held_back += 1

    def __exit__(self, *error):
        self.wrapper.held_back -= 1


@pytest.fixture
def distributed(monkeypatch):
    monkeypatch.setattr(parallel, "DistributedDataParallel", FakeDistributed)
    monkeypatch.setattr(parallel, "WRAPPERS", (nn.DataParallel, FakeDistributed))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def learning(network):
    return [weight.requires_grad for weight in network.parameters()]


# Wrapping


@pytest.mark.parametrize("enabled", [True, False])
def test_threads_compute_in_the_precision_of_their_caller(enabled):
    """Replicas of ``DataParallel`` run in threads, which by themselves know nothing of their caller's precision."""
    x, layer, seen = torch.ones(1, 3), nn.Linear(3, 2), {}

    def note(name, function):
        seen[name] = function(x).dtype

    with torch.autocast("cpu", dtype=torch.float16, enabled=enabled):
        as_here = in_this_precision(layer, "cpu")
    threads = [Thread(target=note, args=pair) for pair in (("as here", as_here), ("on its own", layer))]
    for thread in threads:
        thread.start()
        thread.join()
    assert seen == {"as here": torch.float16 if enabled else torch.float32, "on its own": torch.float32}


def test_replicas_are_given_the_precision_of_the_caller(network, monkeypatch):
    given = []
    monkeypatch.setattr(nn.DataParallel, "parallel_apply", lambda self, replicas, *rest: given.extend(replicas))
    monkeypatch.setattr(parallel, "in_this_precision", lambda function, device_type: (function, device_type))
    wrapper = DataParallel(network)
    wrapper.parallel_apply([network, network], [(), ()], [{}, {}])
    assert given == [(network, "cuda")] * 2


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_compute_in_the_precision_of_one():
    wrapper = wrap(nn.Linear(3, 2).cuda(), [0, 1], 1)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert wrapper(torch.ones(4, 3, device="cuda")).dtype == torch.bfloat16


def test_one_process_on_one_gpu_or_none_needs_no_wrapper(network):
    assert wrap(network, [], 1) is network
    assert wrap(network, [1], 1) is network


def test_several_gpus_of_one_process_share_each_batch(network, monkeypatch):
    monkeypatch.setattr(parallel, "DataParallel", lambda module, device_ids: (module, device_ids))
    assert wrap(network, [2, 0], 1) == (network, [2, 0])


@pytest.mark.usefixtures("distributed")
@pytest.mark.parametrize(("gpu_ids", "device_ids"), [([3], [3]), ([], None)])
def test_one_of_several_processes_exchanges_gradients_but_no_buffers(network, gpu_ids, device_ids):
    wrapped = wrap(network, gpu_ids, 2)
    assert isinstance(wrapped, FakeDistributed)
    assert wrapped.module is network
    assert wrapped.arguments["device_ids"] == device_ids
    assert False in [wrapped.arguments.get(name) for name in ("broadcast_buffers", "forward_sync_buffers")]


@pytest.mark.usefixtures("distributed")
def test_network_that_learns_nothing_is_not_wrapped(network):
    network.requires_grad_(False)
    assert wrap(network, [0], 2) is network
    network[2].bias.requires_grad_(True)
    assert isinstance(wrap(network, [0], 2), FakeDistributed)


def test_unwrapping_gives_the_network_with_or_without_a_wrapper(network):
    assert unwrap(nn.DataParallel(network)) is network
    assert unwrap(network) is network


# Holding fixed


def test_frozen_network_gives_its_input_the_gradient_and_its_weights_none(network):
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    with frozen(network) as fixed:
        fixed(x).square().sum().backward()
    assert [weight.grad for weight in network.parameters()] == [None] * 4
    network(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=0, atol=1e-14)
    assert all(weight.grad is not None for weight in network.parameters())


def test_graph_made_while_frozen_gives_weights_no_gradient_afterwards_either(network):
    x = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    with frozen(network) as fixed:
        loss = fixed(x).sum()
    loss.backward()
    assert [weight.grad for weight in network.parameters()] == [None] * 4
    assert x.grad.abs().sum() > 0


def test_what_learned_before_learns_afterwards_and_what_was_held_stays_so(network):
    network[0].weight.requires_grad_(False)
    before = learning(network)
    with frozen(network):
        assert learning(network) == [False] * 4
    assert learning(network) == before == [False, True, True, True]


def test_what_learned_before_learns_after_an_exception_too(network):
    with pytest.raises(KeyError), frozen(network):
        raise KeyError("in the middle of a step")
    assert learning(network) == [True] * 4


@pytest.mark.usefixtures("distributed")
def test_frozen_network_of_several_processes_is_the_one_inside_which_waits_for_no_gradients(network):
    with frozen(FakeDistributed(network)) as fixed:
        assert fixed is network


def test_frozen_network_of_several_gpus_keeps_its_wrapper(network):
    wrapped = nn.DataParallel(network)
    with frozen(wrapped) as fixed:
        assert fixed is wrapped
        assert learning(network) == [False] * 4


# Gradients that stay


@pytest.mark.usefixtures("distributed")
def test_gradients_stay_within_the_block_and_only_when_asked_to(network):
    wrapped = FakeDistributed(network)
    for stay in (True, False):
        with gradients_stay([network, wrapped], stay):
            assert wrapped.held_back == int(stay)
        assert wrapped.held_back == 0


# Parts of a batch


def test_batch_is_split_in_order_and_stream_by_stream():
    batch = {
        "synthetic": {"image": torch.arange(24.0).view(4, 2, 3), "valid": torch.tensor([True, False, True, True])},
        "video": {"frames": torch.arange(10.0).view(2, 5)},
    }
    first, second = split_batch(batch, 2)
    assert torch.equal(first["synthetic"]["image"], batch["synthetic"]["image"][:2])
    assert torch.equal(second["synthetic"]["image"], batch["synthetic"]["image"][2:])
    assert second["synthetic"]["valid"].tolist() == [True, True]
    assert first["video"]["frames"].tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
    assert second["video"]["frames"].tolist() == [[5.0, 6.0, 7.0, 8.0, 9.0]]


def test_batch_in_one_part_is_itself():
    batch = {"video": {"frames": torch.rand(3, 2)}}
    (part,) = split_batch(batch, 1)
    assert torch.equal(part["video"]["frames"], batch["video"]["frames"])
