"""Averages of weights beside the weights: their formula, what is copied, and that they are a thing of their own."""

import copy

import pytest
import torch
from torch import nn

from util.averages import WeightAverages

DECAY = 0.3  # from the third iteration on; before, the average is younger: 2/11 and 3/12


@pytest.fixture
def network():
    """Weights, a weight that is held, and running statistics."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(4, 2))
    network[2].requires_grad_(False)
    return network


def disturb(network, number):
    """Other weights and other statistics, as after an iteration of training."""
    rng = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for weight in network.parameters():
            weight += torch.randn(weight.shape, generator=rng)
    network[1](3 * torch.rand(4, 3, 2, 2, generator=rng) + number)


def test_weights_are_averaged_by_the_formula_and_statistics_are_the_last_ones(network):
    averages = WeightAverages({"net": network}, DECAY)
    learned = dict(network.named_parameters())
    expected = {name: weight.detach().double() for name, weight in learned.items()}
    for iteration in range(1, 8):
        disturb(network, iteration)
        averages.update(iteration)
        d = min(DECAY, (1 + iteration) / (10 + iteration))
        expected = {name: d * expected[name] + (1 - d) * learned[name].detach().double() for name in learned}
    found = averages.state_dict()["net"]
    assert found.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        if name in learned:
            torch.testing.assert_close(found[name].double(), expected[name], rtol=0, atol=1e-5)
            assert not torch.allclose(found[name], value, atol=1e-2)
        else:
            assert torch.equal(found[name], value)
    assert found["1.num_batches_tracked"] == 7
    assert found["1.num_batches_tracked"].dtype == torch.int64


def test_first_averages_forget_random_weights_faster_than_the_decay_says(network):
    averages = WeightAverages({"net": network}, 0.999)
    start = network[0].bias.detach().clone()
    with torch.no_grad():
        network[0].bias += 11.0
    averages.update(1)
    torch.testing.assert_close(averages.state_dict()["net"]["0.bias"], start + 9.0)  # 9/11 of the way
    averages.update(10**6)
    torch.testing.assert_close(averages.state_dict()["net"]["0.bias"], start + 9.0 + 2.0 * 0.001, rtol=0, atol=1e-5)


def test_averages_change_by_an_update_alone_and_never_change_the_weights(network):
    averages = WeightAverages({"net": network}, DECAY)
    before = copy.deepcopy(averages.state_dict())
    disturb(network, 1)
    torch.testing.assert_close(averages.state_dict(), before, rtol=0, atol=0)
    weights = copy.deepcopy(network.state_dict())
    averages.update(1)
    torch.testing.assert_close(dict(network.state_dict()), dict(weights), rtol=0, atol=0)


def test_averages_hold_no_graph(network):
    averages = WeightAverages({"net": network}, DECAY)
    averages.update(1)
    assert not any(value.requires_grad for value in averages.state_dict()["net"].values())
    assert all(weight.requires_grad for weight in network[0].parameters())


def test_names_are_those_of_the_network_within_a_wrapper(network):
    averages = WeightAverages({"net": nn.DataParallel(network)}, DECAY)
    disturb(network, 1)
    averages.update(1)
    plain = WeightAverages({"net": network}, DECAY)
    assert averages.state_dict()["net"].keys() == plain.state_dict()["net"].keys() == network.state_dict().keys()


def test_each_network_has_averages_of_its_own(network):
    other = copy.deepcopy(network)
    averages = WeightAverages({"net_a": network, "net_b": other}, DECAY)
    before = other[0].bias.detach().clone()
    disturb(network, 1)
    averages.update(1)
    state = averages.state_dict()
    assert torch.equal(state["net_b"]["0.bias"], before)
    assert not torch.equal(state["net_a"]["0.bias"], before)


def test_restart_forgets_the_past(network):
    averages = WeightAverages({"net": network}, DECAY)
    disturb(network, 1)
    averages.update(1)
    averages.restart()
    torch.testing.assert_close(averages.state_dict()["net"], dict(network.state_dict()), rtol=0, atol=0)


def test_state_goes_round_and_is_a_copy(network):
    averages = WeightAverages({"net": network}, DECAY)
    disturb(network, 1)
    averages.update(1)
    state = copy.deepcopy(averages.state_dict())
    other = WeightAverages({"net": copy.deepcopy(network)}, DECAY)
    other.load_state_dict(state)
    torch.testing.assert_close(other.state_dict(), state, rtol=0, atol=0)
    state["net"]["0.bias"].fill_(100.0)
    assert other.state_dict()["net"]["0.bias"].abs().max() < 100


def test_decay_0_keeps_nothing(network):
    averages = WeightAverages({"net": network}, 0.0)
    averages.update(1)
    averages.load_state_dict({})
    assert averages.state_dict() == {}
