"""Winograd's algorithm gives the convolution, and its gradients, to rounding; and is used where it pays."""

import copy

import pytest
import torch
from torch import nn

from models.networks import winograd
from models.networks.pix2pixhd import GlobalGenerator
from models.networks.winograd import MIN_CHANNELS, MIN_TILES, WinogradConv2d


@pytest.fixture
def always(monkeypatch):
    """Use it for few channels and small pictures too."""
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    monkeypatch.setattr(winograd, "MIN_TILES", 1)


@pytest.fixture
def products(monkeypatch):
    """Shapes of the kernels that were transformed."""
    calls, original = [], winograd._transform_kernels
    monkeypatch.setattr(winograd, "_transform_kernels", lambda w: calls.append(tuple(w.shape)) or original(w))
    return calls


def rand(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def direct(conv, x):
    return nn.functional.conv2d(x, conv.weight, conv.bias)


def output_and_gradients(forward, conv, x, at):
    x = x.clone().requires_grad_()
    y = forward(conv, x)
    return [y.detach(), *torch.autograd.grad(y, [x, *conv.parameters()], at)]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("size", [(4, 4), (4, 9), (5, 5), (7, 6), (12, 10)])
def test_equals_the_convolution_at_every_pixel_and_weight(products, size):
    conv = WinogradConv2d(3, 2).double()
    x, at = rand(2, 3, *size), rand(2, 2, size[0] - 2, size[1] - 2)
    found = output_and_gradients(WinogradConv2d.__call__, conv, x, at)
    assert products == [(2, 3, 3, 3)] * 2  # forward and backward
    torch.testing.assert_close(found, output_and_gradients(direct, conv, x, at), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("always")
def test_gradients_by_finite_differences():
    x, weight = rand(2, 2, 6, 4).requires_grad_(), rand(3, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(winograd._Winograd.apply, (x, weight))


@pytest.mark.usefixtures("always")
def test_one_kernel_place_shifts_the_picture():
    """A kernel of a single 1 copies the pixels that it lies on: no rounding at all with small whole numbers."""
    x = torch.arange(1.0, 49.0).view(1, 1, 6, 8)
    conv = WinogradConv2d(1, 1).requires_grad_(False)
    conv.bias.zero_()
    for row in range(3):
        for column in range(3):
            conv.weight.zero_()[..., row, column] = 1
            assert torch.equal(conv(x), x[..., row : row + 4, column : column + 6])


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("learns", ["x", "weight"])
def test_only_the_wanted_gradient_is_computed(products, learns):
    conv, x = WinogradConv2d(2, 2).double(), rand(1, 2, 6, 6)
    conv.requires_grad_(learns == "weight")
    x.requires_grad_(learns == "x")
    conv(x).sum().backward()
    assert (x.grad is None, conv.weight.grad is None) == (learns != "x", learns != "weight")
    assert len(products) == (2 if learns == "x" else 1)  # the gradient of the weight does not need the kernels


def test_rounding_is_that_of_the_convolution():
    """As in a residual block: against float64, the error is at most a few times that of the direct convolution."""
    torch.manual_seed(0)
    conv, x = WinogradConv2d(MIN_CHANNELS, MIN_CHANNELS), torch.randn(1, MIN_CHANNELS, 34, 34)
    at = torch.randn(1, MIN_CHANNELS, 32, 32)
    exact = output_and_gradients(direct, copy.deepcopy(conv).double(), x.double(), at.double())
    for one, other, true in zip(
        output_and_gradients(WinogradConv2d.__call__, conv, x, at),
        output_and_gradients(direct, conv, x, at),
        exact,
        strict=True,
    ):
        error, error_direct = ((z - true).square().mean().sqrt() for z in (one, other))
        assert error < 4 * error_direct
        assert error < 2e-6 * true.square().mean().sqrt()


@pytest.mark.parametrize(
    ("channels", "shape", "used"),
    [
        ((MIN_CHANNELS, MIN_CHANNELS), (1, 18, 18), True),  # 8 x 8 tiles
        ((MIN_CHANNELS, MIN_CHANNELS), (1, 18, 17), False),
        ((MIN_CHANNELS, MIN_CHANNELS), (4, 10, 10), True),
        ((MIN_CHANNELS, MIN_CHANNELS - 1), (1, 18, 18), False),
        ((MIN_CHANNELS - 1, MIN_CHANNELS), (1, 18, 18), False),
    ],
)
def test_used_where_there_is_enough_to_save(products, channels, shape, used):
    assert MIN_TILES == 64
    batch, height, width = shape
    x = torch.zeros(batch, channels[0], height, width)
    with torch.no_grad():
        assert WinogradConv2d(*channels)(x).shape == (batch, channels[1], height - 2, width - 2)
    assert bool(products) == used


@pytest.mark.usefixtures("always")
def test_low_precision_is_left_to_the_library(products):
    conv, x = WinogradConv2d(2, 2), rand(1, 2, 6, 6, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert conv.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    assert products == []


@pytest.mark.usefixtures("always")
def test_compiling_is_left_a_convolution(monkeypatch, products):
    conv, x = WinogradConv2d(2, 2), rand(1, 2, 6, 6, dtype=torch.float32)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(conv(x), direct(conv, x))
    assert products == []


@pytest.mark.usefixtures("always")
def test_keeps_what_a_convolution_keeps():
    conv, x = WinogradConv2d(4, 4), rand(1, 4, 10, 10, dtype=torch.float32).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)), lambda _: None):
        conv(x)
    assert sorted(kept) == [(1, 4, 10, 10), (4, 4, 3, 3)]


@pytest.mark.usefixtures("always")
def test_activations_can_be_recomputed(products):
    torch.manual_seed(0)
    net = GlobalGenerator(ngf=4, n_downsample=2, n_blocks=1).double()
    x, at = rand(1, 3, 16, 16), rand(1, 1, 16, 16)
    kept = torch.autograd.grad(net(x), list(net.parameters()), at)
    net.recompute = True
    again = torch.autograd.grad(net(x), list(net.parameters()), at)
    assert len(products) == 2 * (2 + 3)  # two convolutions forward and backward; and once more forward
    torch.testing.assert_close(again, kept, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("always")
def test_generator_with_it_is_the_one_without(monkeypatch, products):
    torch.manual_seed(0)
    net = GlobalGenerator(ngf=4, n_downsample=2, n_blocks=2).double()
    x, at = rand(2, 3, 16, 20), rand(2, 1, 16, 20)
    found = [*torch.autograd.grad(net(x), list(net.parameters()), at)]
    assert len(products) == 4 * 2  # two blocks of two convolutions, forward and backward
    monkeypatch.setattr(winograd, "MIN_TILES", 10**6)
    expected = [*torch.autograd.grad(net(x), list(net.parameters()), at)]
    assert len(products) == 4 * 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
