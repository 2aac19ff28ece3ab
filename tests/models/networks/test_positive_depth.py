"""Depth networks by name: positive, of any size, and with weights of any of their families."""

import copy
from itertools import permutations

import pytest
import torch
from torch import nn

from models.losses.photometric import standardise
from models.networks import sc_depth_weights
from models.networks.fc_densenet import FCDenseNet
from models.networks.pix2pixhd import GlobalGenerator
from models.networks.positive_depth import (
    DEPTH_NETWORKS,
    PositiveDepth,
    build_depth_network,
    depth_from_tanh,
    load_depth_state,
    standardised,
)
from models.networks.sc_depth import DepthNet
from models.networks.unet import UNet
from tests.models.networks import slow_sc_depth
from tests.models.networks.slow_fc_densenet import published_checkpoint, random_weights, slow_output
from tests.models.networks.test_layers import bytes_kept, rand
from util.errors import UserError
from util.trained_weights import read_trained

NAMES = tuple(DEPTH_NETWORKS)
MULTIPLES = {"fcdensenet57": 32, "unet": 64, "global": 16, "resnet": 32}


class Noted(nn.Module):
    """A network that notes what it is given, and whose output is a channel of it."""

    size_multiple = 4

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return images[:, 1:2]


def build(name):
    torch.manual_seed(0)
    return build_depth_network(name, ngf=4)


def lively(name):
    """In double, for testing, with biases and statistics of data."""
    network = build(name)
    for key, weight in network.named_parameters():
        if key.endswith("bias"):
            nn.init.normal_(weight, std=0.1)
    network(torch.randn(2, 3, 64, 64))
    return network.double().eval()


def inner_state(name):
    torch.manual_seed(1)
    return build_depth_network(name, ngf=4).network.state_dict()


def assert_loaded(network, state):
    found = network.network.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())


# Depth


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_depth_is_positive_and_finite(name, training):
    depth = build(name).train(training)(2 * torch.rand(2, 3, 64, 96) - 1)
    assert depth.shape == (2, 1, 64, 96)
    assert depth.isfinite().all()
    assert depth.min() >= 0
    assert depth.std() > 0


@torch.no_grad()
@pytest.mark.parametrize(("name", "network"), [("fcdensenet57", FCDenseNet), ("unet", UNet)])
def test_networks_of_the_authors_give_the_absolute_value(name, network):
    images = 2 * torch.rand(1, 3, 128, 192) - 1  # a size that is not padded
    depth = build(name).eval()
    output = depth.network(images)
    assert isinstance(depth.network, network)
    assert output.min() < 0 < output.max()
    assert torch.equal(depth(images), output.abs())


@torch.no_grad()
def test_published_weights_give_the_depth_that_their_description_does(tmp_path):
    weights = random_weights(seed=5)
    torch.save(published_checkpoint(weights), tmp_path / "published_net_depth.pth")
    network, images = build("fcdensenet57"), rand(1, 3, 64, 64)
    load_depth_state(network, read_trained(tmp_path / "published_net_depth.pth")["networks"]["net_depth"])
    expected = slow_output({key: value.double() for key, value in weights.items()}, images).abs()
    torch.testing.assert_close(network.double().eval()(images), expected)


def test_depth_of_the_generator_by_hand():
    depth = depth_from_tanh(torch.tensor([-1.0, 0.0, 0.5, 1.0]))
    assert depth.tolist() == pytest.approx([0.001, 0.501, 0.751, 1.001])


@torch.no_grad()
def test_generator_that_is_saturated_gives_its_least_depth_and_not_zero():
    network = build("global")
    nn.init.constant_(network.network.model[-2].bias, -1e3)
    assert network(torch.zeros(1, 3, 32, 32)).unique().tolist() == pytest.approx([0.001])


@torch.no_grad()
def test_generator_has_the_width_that_is_asked_for_and_sees_the_image_as_it_is():
    network, images = build("global"), 2 * torch.rand(2, 3, 32, 48) - 1
    assert network.network.model[1].out_channels == 4
    assert torch.equal(network(images), depth_from_tanh(network.network(images)))


@torch.no_grad()
def test_resnet_sees_standardised_images_and_its_depth_stays():
    network, images = build("resnet").eval(), 2 * torch.rand(2, 3, 64, 96) - 1
    assert isinstance(network.network, DepthNet)
    assert torch.equal(network(images), network.network(standardise(images)))


def test_standardised_is_that_of_the_losses_of_sc_depth():
    images = rand(2, 3, 4, 5)
    assert torch.equal(standardised(images), standardise(images))


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_depth_is_float32_under_autocast(name):
    network, images = build(name).eval(), rand(1, 3, 64, 64, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        depth = network(images)
    assert depth.dtype == torch.float32
    assert (depth.bfloat16() != depth).any()  # more bits than those of the type


# Sizes


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(3, 70), (1, 1), (67, 65)])
def test_any_size_comes_back(name, size):
    for training in (True, False):  # batch norm needs more than a pixel in training, even of one image
        depth = build(name).train(training)(2 * torch.rand(1, 3, *size) - 1)
        assert depth.shape == (1, 1, *size)
        assert depth.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_sides_are_multiples_of_what_the_network_halves(name):
    assert build(name).size_multiple == MULTIPLES[name]


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_image_of_a_fitting_size_is_not_padded(name):
    network, seen = build(name), []
    network.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = rand(1, 3, 2 * MULTIPLES[name], 3 * MULTIPLES[name], dtype=torch.float32)
    network(images)
    assert torch.equal(seen[0], network.prepare(images))


@torch.no_grad()
def test_padding_mirrors_the_image_evenly_and_is_cut_off_again():
    network = PositiveDepth(Noted(), to_depth=torch.abs, prepare=torch.negative)
    images = torch.arange(3 * 6 * 9.0).view(1, 3, 6, 9) - 80
    assert torch.equal(network(images), images[:, 1:2].abs())
    seen = -network.network.seen[0]
    assert seen.shape == (1, 3, 8, 12)
    assert torch.equal(seen[..., 1:7, 1:10], images)
    assert torch.equal(seen[..., 0, 1:10], images[..., 1, :])  # mirrored about the border pixel
    assert torch.equal(seen[..., 1:7, 11], images[..., 6])


@torch.no_grad()
def test_small_image_is_padded_to_twice_the_multiple():
    network = PositiveDepth(Noted())
    network(torch.zeros(1, 3, 4, 13))
    assert network.network.seen[0].shape == (1, 3, 8, 16)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_its_images_one_by_one(name):
    network, images = lively(name), rand(2, 3, 40, 60)
    torch.testing.assert_close(network(images), torch.cat([network(image[None]) for image in images]))


# Training


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gets_gradient_through_the_padding(name):
    network = lively(name).float()
    depth = network(torch.randn(2, 3, 40, 66))
    (depth * torch.rand_like(depth)).sum().backward()
    silent = {key for key, weight in network.named_parameters() if weight.grad.abs().max() < 1e-9}
    # What a bias adds before the generator's norm is taken out again.
    assert silent <= {f"network.{bias}" for bias in biases_before_a_norm(network.network)}


def biases_before_a_norm(network):
    layers = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    pairs = zip(layers, layers[1:], strict=False)
    return [f"{name}.bias" for (name, _), (_, following) in pairs if isinstance(following, nn.InstanceNorm2d)]


@pytest.mark.parametrize("name", ["fcdensenet57", "unet", "global"])
def test_recomputing_is_the_networks(name):
    network, x = build(name), torch.randn(1, 3, 64, 64)
    whole = bytes_kept(network, x)
    network.recompute = True
    assert network.network.recompute is True
    assert network.recompute is True
    assert bytes_kept(network, x) < 0.8 * whole


def test_resnet_does_not_say_that_it_can_recompute():
    assert not hasattr(build("resnet"), "recompute")


@pytest.mark.parametrize("name", NAMES)
def test_network_can_be_copied(name):
    network, images = build(name).eval(), torch.randn(1, 3, 32, 40)
    assert torch.equal(copy.deepcopy(network)(images), network(images))


@torch.no_grad()
@pytest.mark.parametrize("network", [UNet(levels=3), FCDenseNet(first_channels=4, num_layers=2, levels=2)])
def test_networks_compile_in_one_piece(network):
    torch._dynamo.reset()
    network, images = PositiveDepth(network, to_depth=torch.abs).eval(), torch.randn(1, 3, 10, 18)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), network(images))
    torch._dynamo.reset()


# By name


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no depth network 'vit', known are: fcdensenet57, unet, global, resnet"):
        build_depth_network("vit")


def test_generator_is_as_wide_as_published_by_default():
    with torch.device("meta"):
        assert sum(weight.numel() for weight in build_depth_network("global").parameters()) == 182_436_993


# Weights


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["", "module.", "network.", "module.network."])
def test_weights_load_with_and_without_what_wraps_them(name, prefix):
    network, state = build(name), inner_state(name)
    load_depth_state(network, {prefix + key: value for key, value in state.items()})
    assert_loaded(network, state)


@pytest.mark.parametrize("name", NAMES)
def test_own_weights_come_back(name):
    network, other = build(name), build(name)
    nn.init.normal_(next(other.parameters()))
    load_depth_state(network, other.state_dict())
    assert_loaded(network, other.network.state_dict())


@pytest.mark.parametrize("whole", [True, False])
def test_published_fc_densenet_loads_from_its_checkpoint_or_its_weights(whole):
    weights, network = random_weights(seed=7), build("fcdensenet57")
    load_depth_state(network, published_checkpoint(weights) if whole else weights)
    assert torch.equal(network.network.up[4].layers[3].conv.weight, weights["denseBlocksUp.4.layers.3.conv.weight"])
    assert torch.equal(network.network.shrink[2][0].norm.running_var, weights["transDownBlocks.2.norm.running_var"])
    sums = {value.double().sum().item() for value in weights.values()}
    assert {value.double().sum().item() for value in network.state_dict().values()} == sums


def test_published_depth_network_of_sc_depth_loads_too():
    weights, network = slow_sc_depth.random_weights("depth_net", seed=2), build("resnet")
    load_depth_state(network, weights)
    assert_loaded(network, sc_depth_weights.ours_from_published({"depth_net": weights})["net_depth"])


@torch.no_grad()
def test_generator_of_colon2depth_gives_its_depth_again():
    generator = GlobalGenerator(ngf=4)
    network, images = build("global"), 2 * torch.rand(1, 3, 32, 48) - 1
    load_depth_state(network, generator.state_dict())
    torch.testing.assert_close(network(images), (generator(images) + 1) / 2 + 0.001)


@pytest.mark.parametrize(("name", "other"), list(permutations(NAMES, 2)))
def test_weights_of_another_network_are_refused_with_its_name(name, other):
    with pytest.raises(UserError, match=f"^a.pt: do not fit .*; this looks like --net {other}$"):
        load_depth_state(build(name), inner_state(other), "a.pt")


def test_generator_of_another_width_is_refused_with_its_width():
    with pytest.raises(UserError, match="the file fits --ngf 8, here it is 4$"):
        load_depth_state(build("global"), GlobalGenerator(ngf=8).state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finalConv.bias": None}, "do not fit FCDenseNet: 1 missing from the file: last.bias$"),
        ({"finalConv.scale": torch.ones(1)}, "1 unknown here: last.scale$"),
        ({"denseBlocksUp.5.layers.0.conv.bias": torch.ones(12)}, "1 unknown here: denseBlocksUp.5.layers.0.conv.bias$"),
        ({"last.bias": torch.ones(1)}, "1 unknown here: finalConv.bias$"),  # by both names
        (
            {"firstconv.weight": torch.ones(48, 1, 3, 3)},
            r"first.weight is \(48, 1, 3, 3\) in the file, \(48, 3, 3, 3\)",
        ),
        ({"firstconv.weight": [1.0]}, "first.weight hold no tensor"),
    ],
)
def test_published_weights_that_do_not_fit_are_refused_and_change_nothing(changes, message):
    network, weights = build("fcdensenet57"), random_weights(seed=3) | changes
    before = copy.deepcopy(network.network.state_dict())
    weights = {key: value for key, value in weights.items() if value is not None}
    with pytest.raises(UserError, match=message):
        load_depth_state(network, published_checkpoint(weights), "epoch_3.pt")
    assert_loaded(network, before)


@pytest.mark.parametrize("state", [[1, 2], torch.ones(3), {}, {"weight": torch.ones(1)}, {"epoch": 3, "lr": 1e-3}])
def test_what_is_no_network_at_all_is_refused_without_a_guess(state):
    with pytest.raises(UserError, match="^a.pt: ") as error:
        load_depth_state(build("unet"), state, "a.pt")
    assert "looks like" not in str(error.value)
