"""FC-DenseNet: what its description gives, the published names, sizes, and every weight trained."""

import pytest
import torch
from torch import nn

from models.networks.fc_densenet import DenseBlock, FCDenseNet
from models.networks.fc_densenet_weights import ours_from_published
from tests.models.networks.slow_fc_densenet import (
    published_checkpoint,
    published_shapes,
    random_weights,
    slow_output,
)
from tests.models.networks.test_layers import bytes_kept, output_and_gradients, rand


def small():
    torch.manual_seed(0)
    return FCDenseNet(first_channels=4, growth=2, num_layers=3, levels=2)


def in_double(weights):
    return {key: value.double() for key, value in weights.items()}


@pytest.fixture(scope="module")
def raw():
    return random_weights(seed=3)


@pytest.fixture(scope="module")
def loaded(raw):
    """With the published weights ``raw``, in double, for testing."""
    network = FCDenseNet()
    network.load_state_dict(ours_from_published(raw), strict=True)
    return network.double().eval()


# What is computed


@torch.no_grad()
def test_network_computes_what_a_slow_one_does_with_the_published_weights(raw, loaded):
    images = rand(2, 3, 32, 64)
    expected = slow_output(in_double(raw), images)
    assert expected.std(dim=(2, 3)).min() > 0.1  # something to compare
    torch.testing.assert_close(loaded(images), expected)


@torch.no_grad()
def test_channels_are_the_published_ones(raw, loaded):
    """Those of the slow network too, so that the judge is the right one."""
    seen, slow = {}, {}
    places = {f"down {k}": block for k, block in enumerate(loaded.down)} | {"bottleneck": loaded.bottleneck}
    places |= {f"up {k}": block for k, block in enumerate(loaded.up)} | {"last": loaded.last}
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0].shape[1]}))
        for name, module in places.items()
    ]
    images = rand(1, 3, 32, 32)
    loaded(images)
    slow_output(in_double(raw), images, look=lambda name, x: slow.update({name: x.shape[1]}))
    for hook in hooks:
        hook.remove()
    into = {"down 0": 48, "down 1": 96, "down 2": 144, "down 3": 192, "down 4": 240, "bottleneck": 288}
    into |= {"up 0": 336, "up 1": 288, "up 2": 240, "up 3": 192, "up 4": 144, "last": 192}
    assert seen == slow == into


@torch.no_grad()
@pytest.mark.parametrize("keeps_input", [False, True])
def test_dense_block_returns_its_input_only_where_it_should_and_new_channels_in_order(keeps_input):
    block = DenseBlock(1, 1, 2, keeps_input=keeps_input).eval()
    for layer, taps in zip(block.layers, ([2.0], [10.0, 100.0]), strict=True):
        layer.norm.eps = 0.0  # nothing is normed by mean 0 and variance 1
        nn.init.zeros_(layer.conv.weight)
        layer.conv.weight[0, :, 1, 1] = torch.tensor(taps)
        nn.init.constant_(layer.conv.bias, -7.0)
    x = torch.tensor([3.0, -1.0]).view(1, 1, 1, 2)
    first = [2 * 3 - 7, 0 - 7]  # the layer sees relu(x)
    second = [10 * 3 + 0 - 7, 0 + 0 - 7]  # and relu of the first one's
    rows = [[3.0, -1.0], first, second] if keeps_input else [first, second]
    assert block(x)[0, :, 0].tolist() == rows


@torch.no_grad()
def test_what_comes_from_below_is_first_in_the_concatenation():
    network = small().eval()
    before = network(torch.ones(1, 3, 8, 8))
    # Of the last block's input (6 from below, 10 of the skip connection) nothing but the skip connection is let on.
    for layer in network.up[-1].layers:
        layer.conv.weight[:, :6] = 0
    network.last.weight[:, :6] = 0
    cut = network(torch.ones(1, 3, 8, 8))
    nn.init.normal_(network.grow[-1][1].weight)
    assert torch.equal(network(torch.ones(1, 3, 8, 8)), cut)
    assert not torch.equal(cut, before)


@torch.no_grad()
def test_batch_equals_its_images_one_by_one(loaded):
    images = rand(2, 3, 32, 64)
    torch.testing.assert_close(loaded(images), torch.cat([loaded(image[None]) for image in images]))


def test_nothing_is_random_in_training():
    network, images = small(), rand(2, 3, 8, 12, dtype=torch.float32)
    assert torch.equal(network(images), network(images))
    assert not [module for module in network.modules() if "Dropout" in type(module).__name__]


@torch.no_grad()
def test_statistics_of_batch_norm_are_of_the_batch_in_training_and_running_ones_in_testing():
    network, images = small(), 3 + rand(2, 3, 8, 12, dtype=torch.float32)
    batch = network(images)
    for _ in range(200):
        network(images)
    torch.testing.assert_close(network.eval()(images), batch, rtol=0.2, atol=0.2)  # variance with n - 1, not n
    assert (network(images) - FCDenseNet.forward(small().eval(), images)).abs().max() > 0.5


# Weights


def test_parameters_are_as_many_as_published():
    assert sum(parameter.numel() for parameter in FCDenseNet().parameters()) == 1_374_865


def test_published_shapes_have_as_many_parameters():
    kinds = ("weight", "bias")  # the rest are statistics
    sizes = [torch.Size(shape).numel() for key, shape in published_shapes().items() if key.endswith(kinds)]
    assert sum(sizes) == 1_374_865


@torch.no_grad()
def test_network_begins_with_kaiming_normal_weights_and_no_biases():
    torch.manual_seed(0)
    network, farthest = FCDenseNet(), 0.0
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            assert (module.bias == 0).all(), name
            scaled = module.weight * (module.weight[0].numel() / 2) ** 0.5  # by the root of fan_in / 2
            # Of n numbers the deviation is known to about 1 / sqrt(2 n), here four times that.
            assert scaled.std().item() == pytest.approx(1, abs=4 / (2 * scaled.numel()) ** 0.5), name
            farthest = max(farthest, scaled.abs().max().item())
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all(), name
            assert (module.bias == 0).all(), name
    assert farthest > 4  # of a uniform distribution it is 1.73


def test_published_names_become_ours_one_by_one(raw):
    ours = ours_from_published(raw)
    assert len(ours) == len(raw)
    for published, name in {
        "firstconv.bias": "first.bias",
        "denseBlocksDown.1.layers.3.norm.running_var": "down.1.layers.3.norm.running_var",
        "transDownBlocks.4.norm.weight": "shrink.4.0.norm.weight",
        "transDownBlocks.0.conv.weight": "shrink.0.0.conv.weight",
        "bottleneck.bottleneck.layers.0.conv.bias": "bottleneck.layers.0.conv.bias",
        "transUpBlocks.2.convTrans.1.weight": "grow.2.1.weight",
        "denseBlocksUp.4.layers.2.conv.weight": "up.4.layers.2.conv.weight",
        "finalConv.weight": "last.weight",
    }.items():
        assert ours[name] is raw[published]


def test_whole_checkpoint_gives_the_weights_of_its_model_without_the_prefix(raw):
    assert ours_from_published(published_checkpoint(raw)) == ours_from_published(raw)


def test_our_names_stay_and_so_do_unknown_ones():
    state = {key: torch.zeros(1) for key in [*FCDenseNet().state_dict(), "denseBlocksDown.5.layers.0.conv.weight", "x"]}
    assert ours_from_published(state) == state


def test_weight_that_is_there_by_both_names_keeps_the_published_one_to_be_refused(raw):
    doubled = raw | {"last.bias": torch.ones(1)}
    renamed = ours_from_published(doubled)
    assert renamed["last.bias"] is doubled["last.bias"]
    assert renamed["finalConv.bias"] is raw["finalConv.bias"]


# Sizes


@pytest.mark.parametrize("size", [(64, 80), (48, 64), (464, 512)])
def test_sizes_that_cannot_be_halved_five_times_are_refused_with_the_way_out(size):
    with pytest.raises(ValueError, match=r"multiples of 32, got \(\d+, \d+\); pad_to_multiple"):
        FCDenseNet()(torch.empty(1, 3, *size))


@pytest.mark.parametrize("levels", [1, 3])
def test_fewer_levels_need_smaller_multiples(levels):
    network = FCDenseNet(first_channels=4, growth=2, num_layers=2, levels=levels)
    assert network.size_multiple == 2**levels
    assert network(torch.zeros(2, 3, 2**levels, 3 * 2**levels)).shape == (2, 1, 2**levels, 3 * 2**levels)


def test_channels_are_arguments():
    assert FCDenseNet(2, 5, levels=1)(torch.zeros(2, 2, 4, 6)).shape == (2, 5, 4, 6)


# How it is trained


def test_every_weight_gets_gradient():
    # As in testing: in training batch norm takes out what most biases add.
    torch.manual_seed(0)
    network = FCDenseNet().eval()
    output = network(torch.randn(2, 3, 64, 96))
    (output * torch.rand_like(output)).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert [name for name, weight in network.named_parameters() if weight.grad.abs().max() < 1e-6] == []


def test_recomputing_changes_no_output_no_gradient_and_no_statistics():
    kept, recomputed = small().double(), small().double()
    recomputed.recompute = True
    x, at = rand(2, 3, 8, 12), rand(2, 1, 8, 12)
    found, expected = (output_and_gradients(network, x, at=at) for network in (recomputed, kept))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(dict(recomputed.state_dict()), dict(kept.state_dict()), rtol=0, atol=0)


def test_recomputing_keeps_far_less():
    network, x = FCDenseNet(), rand(1, 3, 64, 64, dtype=torch.float32)
    whole = bytes_kept(network, x)
    network.recompute = True
    assert bytes_kept(network, x) < 0.25 * whole


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_output_is_float32_and_as_fine_under_autocast(raw, loaded, dtype):
    network, images = FCDenseNet().eval(), rand(1, 3, 32, 64)
    network.load_state_dict(loaded.state_dict())
    with torch.autocast("cpu", dtype=dtype):
        output = network(images.float())
    assert output.dtype == torch.float32
    assert (output.to(dtype) != output).any()  # more bits than those of the type
    expected = loaded(images).float()
    torch.testing.assert_close(output, expected, rtol=0.1, atol=0.05 * expected.abs().max().item())  # 8 bits within


def test_nothing_of_a_call_is_kept():
    network = small()
    before = [dict(vars(module)) for module in network.modules()]
    network(torch.randn(2, 3, 8, 12))
    assert [dict(vars(module)) for module in network.modules()] == before
