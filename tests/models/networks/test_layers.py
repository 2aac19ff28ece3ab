"""Layers that compute better than PyTorch's own ones compute the same."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.networks import layers
from models.networks.layers import (
    MIN_SUBPIXEL_PIXELS,
    Float32Conv2d,
    InstanceNorm2d,
    NearestUpConv,
    ReflectionPad2d,
    ScatterConv2d,
    run_layers,
    subpixel_weight,
)
from models.networks.pix2pixhd import GlobalGenerator, LocalEnhancer, ResnetBlock
from util.compilation import why_not

GENERATORS = [
    (GlobalGenerator, {"n_blocks": 2}),
    (LocalEnhancer, {"n_blocks_global": 2, "n_blocks_local": 1}),
]


@pytest.fixture
def by_subpixels(monkeypatch):
    """Shapes of the kernels that were turned into those of sub-pixels."""
    calls, original = [], layers.subpixel_weight

    def counted(weight, taps):
        calls.append(tuple(weight.shape))
        return original(weight, taps)

    monkeypatch.setattr(layers, "subpixel_weight", counted)
    return calls


def rand(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def plain_twin(layer):
    """What ``NearestUpConv`` stands for, of PyTorch's own layers, with the same weights."""
    conv = layer[2]
    inner = nn.Conv2d(conv.in_channels, conv.out_channels, 3).double()
    plain = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.ReflectionPad2d(1), inner)
    plain.load_state_dict(layer.state_dict())
    return plain


def output_and_gradients(network, x, *, at):
    """Output, and gradients of input and weights, when that of the output is ``at``."""
    x = x.clone().requires_grad_()
    y = network(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *network.parameters()], at)]


def plain_convolution(conv):
    """PyTorch's own, with the same weights."""
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size).to(conv.weight.dtype)
    plain.load_state_dict(conv.state_dict())
    return plain


# Nearest upsampling and convolution


@pytest.mark.parametrize("least", [0, 10**6], ids=["subpixel", "as it stands"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (9, 4), (16, 17)])
def test_upsampling_convolution_equals_pytorchs_layers_at_every_pixel_and_weight(
    monkeypatch, by_subpixels, least, size
):
    monkeypatch.setattr(layers, "MIN_SUBPIXEL_PIXELS", least)
    torch.manual_seed(0)
    layer = NearestUpConv(3, 2).double()
    x, at = rand(2, 3, *size), rand(2, 2, 2 * size[0], 2 * size[1])
    found = output_and_gradients(layer, x, at=at)
    expected = output_and_gradients(plain_twin(layer), x, at=at)
    assert len(found) == 4  # output, input, weight, bias
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert by_subpixels == ([(2, 3, 3, 3)] if least == 0 else [])


@pytest.mark.parametrize(("shape", "fast"), [((1, 1, 16, 16), True), ((1, 1, 15, 17), False), ((4, 1, 8, 8), True)])
def test_pictures_of_256_pixels_in_a_batch_are_worth_it(by_subpixels, shape, fast):
    assert MIN_SUBPIXEL_PIXELS == 256
    layer = NearestUpConv(1, 1).double()
    x = rand(*shape)
    torch.testing.assert_close(layer(x), plain_twin(layer)(x), rtol=0, atol=1e-12)
    assert len(by_subpixels) == int(fast)


def test_kernels_of_the_four_places_by_hand():
    """Rows 1 to 3 and columns 1 to 3 of a 3x3 kernel, written as digits of rows and columns."""
    weight = torch.tensor([[11.0, 12.0, 13.0], [21.0, 22.0, 23.0], [31.0, 32.0, 33.0]])[None, None]
    odd_odd, odd_even, even_odd, even_even = subpixel_weight(weight, NearestUpConv(1, 1).taps)[:, 0].tolist()
    assert odd_odd == [[11 + 12 + 21 + 22, 13 + 23], [31 + 32, 33]]
    assert odd_even == [[11 + 21, 12 + 13 + 22 + 23], [31, 32 + 33]]
    assert even_odd == [[11 + 12, 13], [21 + 22 + 31 + 32, 23 + 33]]
    assert even_even == [[11, 12 + 13], [21 + 31, 22 + 23 + 32 + 33]]


def test_state_has_the_keys_of_pytorchs_layers_and_loads_both_ways():
    layer = NearestUpConv(3, 2)
    assert list(layer.state_dict()) == ["2.weight", "2.bias"]
    other = NearestUpConv(3, 2)
    other.load_state_dict(nn.Sequential(nn.Upsample(), nn.ReflectionPad2d(1), layer[2]).state_dict(), strict=True)
    x = rand(1, 3, 20, 20, dtype=torch.float32)
    assert torch.equal(other(x), layer(x))


@pytest.mark.parametrize("size", [(4, 5), (18, 17)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_upsampling_convolution_in_mixed_precision_is_near_the_exact_one(size, dtype):
    layer, x = NearestUpConv(8, 4), rand(1, 8, *size, dtype=torch.float32).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer[2].weight.grad.dtype == torch.float32
    exact = plain_twin(layer)(x.detach().double())
    # Input, weights and output are rounded to 8 bits, each by 2^-9 at most.
    magnitude = copy.deepcopy(plain_twin(layer)).requires_grad_(False)
    for weight in magnitude.parameters():
        weight.abs_()
    assert ((y.double() - exact).abs() <= 4 * 2**-9 * magnitude(x.detach().double().abs())).all()
    assert (y.double() - exact).abs().max() > 1e-4  # it was bfloat16


def test_copy_computes_the_same_with_weights_of_its_own():
    layer = NearestUpConv(3, 2)
    other = copy.deepcopy(layer)
    x = rand(1, 3, 20, 20, dtype=torch.float32)
    before = layer(x)
    assert torch.equal(other(x), before)
    with torch.no_grad():
        other[2].weight.zero_()
        other.taps.zero_()
    assert torch.equal(layer(x), before)


# Norm, border and convolution in mixed precision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_instance_norm_is_pytorchs_own_to_rounding_in_float32_and_float64(dtype):
    x, at = rand(2, 3, 5, 7, dtype=dtype) * 2 + 3, rand(2, 3, 5, 7, dtype=dtype)
    found, expected = (output_and_gradients(norm, x, at=at) for norm in (InstanceNorm2d(3), nn.InstanceNorm2d(3)))
    assert all(z.dtype == dtype for z in found)
    torch.testing.assert_close(found, expected, rtol=0, atol=16 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layout_of_the_input_does_not_cost_the_norm_digits(dtype):
    """Beside a mean of 100, the variance as a difference of squares would lose four digits."""
    x = (100 + rand(2, 8, 33, 31)).to(dtype)
    found = InstanceNorm2d(8)(x.to(memory_format=torch.channels_last))
    assert torch.equal(found, InstanceNorm2d(8)(x))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_of_instance_norm_stay_float32_in_low_precision(dtype, autocast):
    """A mean of 100 and a deviation of 1: rounded to 8 bits, the mean alone would be off by a quarter deviation."""
    x, at = (100 + rand(2, 3, 17, 23)).to(dtype), rand(2, 3, 17, 23)
    with torch.autocast("cpu", dtype, enabled=autocast):
        y, gradient = output_and_gradients(InstanceNorm2d(3), x, at=at.to(dtype))
        y_pytorch = nn.InstanceNorm2d(3)(x)
    exact, exact_gradient = output_and_gradients(nn.InstanceNorm2d(3), x.double(), at=at.to(dtype).double())
    assert y.dtype == gradient.dtype == dtype
    # Nothing but rounding of the result to the type: half a unit in the last place.
    rounding = torch.finfo(dtype).eps / 2
    torch.testing.assert_close(y.double(), exact, rtol=1.1 * rounding, atol=1e-5)
    # Going backward, multiples of x and its mean are taken from each other: float32's rounding of numbers around 100.
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1.1 * rounding, atol=5e-5)
    error, error_pytorch = ((z.double() - exact).abs().max() for z in (y, y_pytorch))
    assert error <= error_pytorch


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_norm_on_a_gpu_is_that_of_the_cpu(dtype, autocast):
    x, at = (10 + rand(2, 3, 17, 23)).to(dtype), rand(2, 3, 17, 23).to(dtype)
    low = dtype != torch.float32
    with torch.autocast("cuda", dtype if low else torch.bfloat16, enabled=autocast and low):
        found = output_and_gradients(InstanceNorm2d(3), x.cuda(), at=at.cuda())
    assert all(z.dtype == dtype for z in found)
    tolerance = 4 * torch.finfo(dtype).eps if low else 1e-5
    expected = output_and_gradients(nn.InstanceNorm2d(3), x.double(), at=at.double())
    torch.testing.assert_close([z.cpu().double() for z in found], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_as_a_batch_norm_as_on_gpus_is_the_same(dtype):
    x = (10 + rand(2, 3, 17, 23)).to(dtype)
    as_batch, as_group = InstanceNorm2d(3)._as_batch_norm(x), InstanceNorm2d(3)._as_group_norm(x)
    assert as_batch.dtype == as_group.dtype == dtype
    torch.testing.assert_close(as_batch, as_group, rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_images_and_channels_are_normalised_one_by_one_in_low_precision():
    x = torch.stack([rand(3, 6, 5) * (i + 1) + 10 * i for i in range(2)]).bfloat16()
    norm = InstanceNorm2d(3)
    alone = [norm(x[i : i + 1, c : c + 1]) for i in range(2) for c in range(3)]
    assert torch.equal(norm(x), torch.cat(alone).view_as(x))


def test_border_keeps_low_precision_under_autocast():
    x = rand(2, 3, 4, 5).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = ReflectionPad2d(2)(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, F.pad(x.double(), (2, 2, 2, 2), mode="reflect").bfloat16())
    y.float().sum().backward()
    assert x.grad.sum() == y.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_last_convolution_is_float32_under_autocast(dtype):
    conv, x = Float32Conv2d(3, 2, 3), rand(2, 3, 6, 5, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, F.conv2d(x.float(), conv.weight, conv.bias))


def test_last_convolution_takes_float64_as_it_is():
    conv, x = Float32Conv2d(3, 2, 3).double(), rand(2, 3, 6, 5)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias))


# Convolution to few outputs


@pytest.mark.parametrize(
    ("kernel", "outputs", "size"), [(7, 1, (9, 12)), (7, 1, (7, 7)), (3, 2, (4, 9)), (1, 1, (2, 3))]
)
def test_outputs_summed_up_are_those_of_the_convolution(kernel, outputs, size):
    conv = ScatterConv2d(32 * outputs, outputs, kernel).double()
    x, at = rand(2, 32 * outputs, *size), rand(2, outputs, size[0] - kernel + 1, size[1] - kernel + 1)
    found = output_and_gradients(conv, x, at=at)
    expected = output_and_gradients(plain_convolution(conv), x, at=at)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_gradients_of_outputs_summed_up_by_finite_differences():
    conv = ScatterConv2d(32, 1, 3).double()
    assert torch.autograd.gradcheck(conv, rand(1, 32, 3, 4).requires_grad_())


@pytest.mark.parametrize(
    ("inputs", "outputs", "summed"), [(32, 1, True), (31, 1, False), (63, 2, False), (64, 2, True)]
)
def test_outputs_are_summed_up_where_they_are_few(monkeypatch, inputs, outputs, summed):
    sums = []
    fold = F.fold
    monkeypatch.setattr(F, "fold", lambda *args: sums.append(args[1:]) or fold(*args))
    ScatterConv2d(inputs, outputs, 3)(rand(1, inputs, 5, 6, dtype=torch.float32))
    assert sums == ([((7, 8), 3)] if summed else [])


def test_outputs_are_not_summed_up_when_compiling(monkeypatch):
    conv, x = ScatterConv2d(32, 1, 3), rand(1, 32, 5, 6, dtype=torch.float32)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(F, "fold", None)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_summed_up_are_float32_under_autocast(dtype):
    conv, x = ScatterConv2d(32, 1, 7), rand(2, 32, 9, 8, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, F.conv2d(x.float(), conv.weight, conv.bias), rtol=0, atol=1e-5)


# Computing activations twice


def make_generator(build, arguments, norm="instance"):
    torch.manual_seed(0)
    return build(ngf=4, n_downsample=2, norm=norm, **arguments).double()


def bytes_kept(network, x):
    """Of what the backward pass needs beside the weights; each tensor counts once."""
    weights, kept = {weight.data_ptr() for weight in network.parameters()}, {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor  # held, so that its place is not used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x)
    return sum(tensor.nbytes for tensor in kept.values())


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("build", "arguments"), GENERATORS)
def test_recomputing_changes_no_output_no_gradient_and_no_statistics(build, arguments, norm):
    kept, recomputed = (make_generator(build, arguments, norm) for _ in range(2))
    recomputed.recompute = True
    x, at = rand(2, 3, 16, 24), rand(2, 1, 16, 24)
    found, expected = (output_and_gradients(network, x, at=at) for network in (recomputed, kept))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(dict(recomputed.state_dict()), dict(kept.state_dict()), rtol=0, atol=0)
    assert all(norm.momentum == 0.1 for norm in recomputed.modules() if isinstance(norm, nn.BatchNorm2d))


@pytest.mark.parametrize(("build", "arguments"), GENERATORS)
def test_recomputing_keeps_far_less(build, arguments):
    network, x = make_generator(build, arguments), rand(1, 3, 32, 48)
    whole = bytes_kept(network, x)
    network.recompute = True
    assert bytes_kept(network, x) < 0.4 * whole


@pytest.mark.parametrize(("build", "arguments"), GENERATORS)
def test_recomputing_does_nothing_where_no_gradients_are_wanted(monkeypatch, build, arguments):
    network, x = make_generator(build, arguments), rand(1, 3, 16, 24)
    expected = network(x).detach()
    network.recompute = True
    monkeypatch.setattr(layers, "checkpoint", lambda *args, **kwargs: pytest.fail("nothing is to be kept"))
    with torch.no_grad():
        assert torch.equal(network(x), expected)


def test_stages_end_at_a_relu_a_residual_block_and_the_end(monkeypatch):
    stages, checkpoint = [], layers.checkpoint

    def noted(stage, x, **how):
        stages.append([type(layer) for layer in stage])
        return checkpoint(stage, x, **how)

    monkeypatch.setattr(layers, "checkpoint", noted)
    block = ResnetBlock(2, "instance")
    whole = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), block, NearestUpConv(2, 2), InstanceNorm2d(2), nn.ReLU())
    whole.extend([ReflectionPad2d(1), Float32Conv2d(2, 1, 3)])
    x = rand(1, 2, 4, 4, dtype=torch.float32)
    assert torch.equal(run_layers(whole, x, recompute=True), whole(x))
    assert stages == [
        [nn.Conv2d, nn.ReLU],
        [ResnetBlock],
        [NearestUpConv, InstanceNorm2d, nn.ReLU],
        [ReflectionPad2d, Float32Conv2d],
    ]


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not(torch.device("cpu"))), reason="torch.compile does not work here")
def test_compiled_decoder_layer_has_the_gradients_of_the_plain_one():
    """PyTorch 2.15 cannot compile the backward pass of a repeated border, so that border is made in another way."""
    torch.manual_seed(0)
    layer, x = NearestUpConv(3, 2), torch.rand(1, 3, 17, 16)
    gradients = []
    for forward in (layer, torch.compile(layer)):
        image = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(forward(image).square().sum(), (image, layer[2].weight)))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)
