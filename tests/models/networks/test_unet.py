"""The U-Net of 2018: what its equation gives, its published size, and every weight trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.networks.unet import UNet, up_conv
from tests.models.networks.test_layers import bytes_kept, output_and_gradients, rand


def lively(*arguments):
    """With biases, so that nothing is the same everywhere."""
    torch.manual_seed(0)
    network = UNet(*arguments)
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weight, std=0.3)
    return network


def small():
    return lively(3, 2, 4, 3)


def slow_output(weights, x, levels):
    """From the equation; ``weights`` are convolutions (weight, bias) in the order down, grow, up, last."""
    weights, skips = iter(weights), []

    def conv(x):
        weight, bias = next(weights)
        border = weight.shape[-1] // 2
        return F.conv2d(F.pad(x, (border,) * 4), weight, bias)

    for level in range(levels):
        if level > 0:
            x = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(dim=0)
        x = conv(conv(x).clamp(min=0)).clamp(min=0)
        skips.append(x)
    growing = [next(weights) for _ in range(levels - 1)]
    for level in reversed(range(levels - 1)):
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        weight, bias = growing[levels - 2 - level]
        x = torch.cat((F.conv2d(F.pad(x, (1, 1, 1, 1)), weight, bias), skips[level]), dim=1)
        x = conv(conv(x).clamp(min=0)).clamp(min=0)
    return conv(x)


def convolutions(network):
    return [(module.weight, module.bias) for module in network.modules() if isinstance(module, nn.Conv2d)]


# What is computed


@torch.no_grad()
@pytest.mark.parametrize(("arguments", "levels", "size"), [((), 7, (64, 128)), ((3, 2, 4, 3), 3, (8, 20))])
def test_network_computes_its_equation(arguments, levels, size):
    network, images = lively(*arguments).double(), rand(2, 3, *size)
    expected = slow_output(convolutions(network), images, levels)
    assert expected.std(dim=(2, 3)).min() > 0.01  # something to compare
    torch.testing.assert_close(network(images), expected)


@torch.no_grad()
def test_upsampling_repeats_pixels_and_leaves_zeros_outside():
    layer = up_conv(1, 1)
    nn.init.ones_(layer[1].weight)
    nn.init.zeros_(layer[1].bias)
    x = torch.tensor([[1.0, 10.0]]).view(1, 1, 1, 2)
    row = [2 * 2 * 1, 2 * (2 * 1 + 10), 2 * (1 + 2 * 10), 2 * 2 * 10]  # 3x3 sums of two rows 1 1 10 10
    assert layer(x)[0, 0].tolist() == [row, row]


@torch.no_grad()
def test_what_comes_from_below_is_first_in_the_concatenation():
    network, images = small(), torch.ones(1, 3, 8, 8)
    before = network(images)
    network.up[-1][0].weight[:, :4] = 0  # of 8 channels: only the skip connection is let on
    cut = network(images)
    nn.init.normal_(network.grow[-1][1].weight)
    assert torch.equal(network(images), cut)
    assert not torch.equal(cut, before)


@torch.no_grad()
def test_batch_equals_its_images_one_by_one():
    network, images = lively().double(), rand(3, 3, 64, 64)
    torch.testing.assert_close(network(images), torch.cat([network(image[None]) for image in images]))


# Size


def test_parameters_are_as_many_as_published():
    assert sum(parameter.numel() for parameter in UNet().parameters()) == 2_164_189


def test_parameters_of_a_small_one_by_hand():
    down = (9 * 1 * 2 + 2) + (9 * 2 * 2 + 2) + (9 * 2 * 4 + 4) + (9 * 4 * 4 + 4)
    up = (9 * 4 * 2 + 2) + (9 * 4 * 2 + 2) + (9 * 2 * 2 + 2)
    network = UNet(in_channels=1, out_channels=3, base_filters=2, levels=2)
    assert sum(parameter.numel() for parameter in network.parameters()) == down + up + (2 * 3 + 3)


def test_channels_double_from_level_to_level():
    assert [block[2].out_channels for block in UNet().down] == [4, 8, 16, 32, 64, 128, 256]


@torch.no_grad()
def test_network_begins_with_kaiming_normal_weights_and_no_biases():
    torch.manual_seed(0)
    for weight, bias in convolutions(UNet()):
        assert (bias == 0).all()
        scaled = weight * (weight[0].numel() / 2) ** 0.5  # by the root of fan_in / 2
        # Of n numbers the deviation is known to about 1 / sqrt(2 n), here four times that; of the last four to nothing.
        if weight.numel() > 4:
            assert scaled.std().item() == pytest.approx(1, abs=4 / (2 * scaled.numel()) ** 0.5)


@pytest.mark.parametrize("size", [(64, 96), (32, 64), (464, 512)])
def test_sizes_that_cannot_be_halved_six_times_are_refused_with_the_way_out(size):
    with pytest.raises(ValueError, match=r"multiples of 64, got \(\d+, \d+\); pad_to_multiple"):
        UNet()(torch.empty(1, 3, *size))


def test_smallest_size_is_that_of_one_pixel_at_the_coarsest_level():
    network = UNet(levels=4)
    assert network.size_multiple == 8
    assert network(torch.zeros(1, 3, 8, 24)).shape == (1, 1, 8, 24)


# How it is trained


def test_every_weight_gets_gradient():
    network = lively()
    output = network(torch.randn(2, 3, 128, 192))
    (output * torch.rand_like(output)).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_recomputing_changes_no_output_and_no_gradient():
    kept, recomputed = small().double(), small().double()
    recomputed.recompute = True
    x, at = rand(2, 3, 8, 12), rand(2, 2, 8, 12)
    found, expected = (output_and_gradients(network, x, at=at) for network in (recomputed, kept))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_recomputing_keeps_less():
    network, x = UNet(), rand(1, 3, 128, 128, dtype=torch.float32)
    whole = bytes_kept(network, x)
    network.recompute = True
    assert bytes_kept(network, x) < 0.6 * whole


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_output_is_float32_and_as_fine_under_autocast(dtype):
    network, images = lively(), rand(1, 3, 64, 128, dtype=torch.float32)
    expected = network(images)
    with torch.autocast("cpu", dtype=dtype):
        output = network(images)
    assert output.dtype == torch.float32
    assert (output.to(dtype) != output).any()  # more bits than those of the type
    torch.testing.assert_close(output, expected, rtol=0.1, atol=0.05 * expected.abs().max().item())  # 8 bits within


def test_nothing_of_a_call_is_kept():
    network = small()
    before = [dict(vars(module)) for module in network.modules()]
    network(torch.randn(2, 3, 8, 12))
    assert [dict(vars(module)) for module in network.modules()] == before
