"""Published SC-Depth weights: a file as it is released predicts what its description says, or is refused by name."""

from argparse import Namespace

import pytest
import torch

from models.networks.resnet_encoder import ResnetEncoder
from models.networks.sc_depth import DepthNet, PoseNet
from models.networks.sc_depth_weights import load_sc_depth_state, ours_from_published
from tests.models.networks.slow_sc_depth import below, random_weights, slow_depth, slow_features, slow_vector
from util.errors import UserError
from util.trained_weights import read_trained

OPTIONS = {"model_version": "v2", "resnet_layers": 18, "batch_size": 8, "lr": 1e-4, "seed": 3, "ckpt_path": None}


def on_meta(build, *arguments):
    with torch.device("meta"):
        return build(*arguments)


def shapes(state):
    return {key: tuple(value.shape) for key, value in state.items()}


def in_double(weights):
    return {key: value.double() for key, value in weights.items()}


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.fixture(scope="module")
def raw():
    """Weights of the three published networks."""
    return {name: random_weights(name, seed) for seed, name in enumerate(("depth_net", "pose_net", "rectify_net"))}


@pytest.fixture(scope="module")
def loaded(raw, tmp_path_factory):
    """What ``read_trained`` makes of a file with them, and in our names."""
    file = tmp_path_factory.mktemp("ckpt") / "epoch=101-val_loss=0.1580.ckpt"
    state = {f"{name}.{key}": value for name, weights in raw.items() for key, value in weights.items()}
    content = {"epoch": 101, "global_step": 102_000, "pytorch-lightning_version": "1.5.10", "state_dict": state}
    content |= {"loops": None, "hparams_name": "kwargs", "hyper_parameters": {"hparams": Namespace(**OPTIONS)}}
    torch.save(content, file)
    held = read_trained(file)
    file.unlink()  # it is large
    return held, ours_from_published(held["networks"])


def test_published_networks_have_the_known_number_of_entries(loaded):
    held, _ = loaded
    assert [(name, len(state)) for name, state in held["networks"].items()] == [
        ("depth_net", 150),
        ("pose_net", 130),
        ("rectify_net", 130),
    ]


@torch.no_grad()
def test_published_depth_network_predicts_as_described(raw, loaded):
    network, weights, images = DepthNet(), in_double(raw["depth_net"]), rand(2, 3, 64, 96)
    load_sc_depth_state(network, loaded[1]["net_depth"])
    expected = slow_depth(weights, slow_features(below(weights, "encoder.encoder."), images))
    assert expected.std() > 0.01  # something to compare
    torch.testing.assert_close(network.double().eval()(images), expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("pose", {"num_outputs": 6, "scale": 0.01}), ("rectify", {"num_outputs": 3, "scale": 1.0, "half_size": True})],
)
def test_published_pose_and_rectify_networks_predict_as_described(raw, loaded, name, arguments):
    network, weights = PoseNet(**arguments), in_double(raw[f"{name}_net"])
    load_sc_depth_state(network, loaded[1][f"net_{name}"])
    first, second = rand(2, 3, 66, 101), rand(2, 3, 66, 101) + 1
    count = arguments.pop("num_outputs")
    expected = slow_vector(weights, first, second, **arguments)
    assert expected.shape == (2, count)
    torch.testing.assert_close(network.double().eval()(first, second), expected)


def test_every_weight_of_the_network_is_one_of_the_file(raw, loaded):
    network = DepthNet()
    load_sc_depth_state(network, loaded[1]["net_depth"])
    values = {value.sum().item() for value in raw["depth_net"].values()}
    assert all(value.sum().item() in values for value in network.state_dict().values())
    assert network.encoder.bn1.num_batches_tracked == 1


def test_exactly_what_is_never_used_is_left_out(raw, loaded):
    left_out = {name: len(raw[name]) - len(loaded[1][f"net_{name.removesuffix('_net')}"]) for name in raw}
    assert left_out == {"depth_net": 8, "pose_net": 2, "rectify_net": 2}


def test_deeper_encoders_map_too():
    network = on_meta(DepthNet, 50).state_dict()
    published = {key.replace("encoder.", "encoder.encoder.", 1): value for key, value in network.items()}
    published = {key: value for key, value in published.items() if key.startswith("encoder.")}
    published |= {f"encoder.encoder.fc.{kind}": torch.empty(0) for kind in ("weight", "bias")}
    mapped = ours_from_published({"depth_net": published})["net_depth"]
    assert shapes(mapped) == {key: shape for key, shape in shapes(network).items() if key.startswith("encoder.")}


def test_our_names_stay(loaded):
    again = ours_from_published(loaded[1])
    assert {name: list(state) for name, state in again.items()} == {name: list(s) for name, s in loaded[1].items()}


# Refusals


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ("depth_net", "decoder.dispconvs.4.conv.weight"),
        ("depth_net", "decoder.upconvs0.5.conv.conv.weight"),
        ("depth_net", "encoder.encoder.fc.scale"),
        ("depth_net", "scale"),
        ("pose_net", "decoder.dispconvs.1.conv.weight"),  # belongs to the depth network
        ("pose_net", "decoder.convs_pose.3.weight"),
    ],
)
def test_key_that_is_not_known_is_named(raw, network, key):
    mapped = ours_from_published({network: raw[network] | {key: torch.zeros(1)}})
    ours = on_meta(DepthNet if network == "depth_net" else PoseNet)
    named = key.replace("encoder.encoder.", "encoder.")
    with pytest.raises(UserError, match=rf"a\.ckpt: do not fit {type(ours).__name__}: 1 unknown here: {named}$"):
        load_sc_depth_state(ours, *mapped.values(), source="a.ckpt")


@pytest.mark.parametrize(
    ("network", "key", "named"),
    [
        ("depth_net", "decoder.dispconvs.0.conv.bias", "head.1.bias"),
        ("depth_net", "decoder.upconvs1.2.conv.conv.weight", "levels.2.fuse.1.weight"),
        ("pose_net", "encoder.encoder.layer4.1.bn2.running_var", "encoder.layer4.1.bn2.running_var"),
        ("pose_net", "decoder.convs_pose.1.bias", "head.4.bias"),
    ],
)
def test_key_that_is_missing_is_named(raw, network, key, named):
    mapped = ours_from_published({network: {k: value for k, value in raw[network].items() if k != key}})
    with pytest.raises(UserError, match=f"1 missing from the file: {named}$"):
        load_sc_depth_state(on_meta(DepthNet if network == "depth_net" else PoseNet), *mapped.values())


def test_weight_that_is_there_by_both_names_hides_no_other(raw):
    for order in (1, -1):
        both = {"encoder.conv1.weight": torch.zeros(64, 3, 7, 7), **raw["depth_net"]}
        mapped = ours_from_published({"depth_net": dict(list(both.items())[::order])})["net_depth"]
        with pytest.raises(UserError, match=r"1 unknown here: encoder\.encoder\.conv1\.weight"):
            load_sc_depth_state(on_meta(DepthNet), mapped)


def test_networks_that_are_not_known_keep_their_names(raw):
    assert ours_from_published({"teacher": {"weight": torch.ones(1)}}) == {"teacher": {"weight": torch.ones(1)}}


@pytest.mark.parametrize(
    ("file", "network", "guess"),
    [
        ((DepthNet, 50), (DepthNet, 18), "the file fits --resnet_layers 50, here it is 18"),
        ((DepthNet, 18), (DepthNet, 34), "the file fits --resnet_layers 18, here it is 34"),
        ((PoseNet, 6), (DepthNet, 18), "this looks like a pose network"),
        ((PoseNet, 3), (DepthNet, 18), "this looks like a rectify network"),
        ((PoseNet, 3), (PoseNet, 6), "this looks like a rectify network"),
        ((PoseNet, 6), (PoseNet, 3), "this looks like a pose network"),
        ((DepthNet, 50), (PoseNet, 6), "this looks like a depth network"),
    ],
)
def test_refusal_guesses_what_the_file_is(file, network, guess):
    with pytest.raises(UserError, match=f"^a.ckpt: do not fit .*; {guess}$"):
        load_sc_depth_state(on_meta(*network), on_meta(*file).state_dict(), "a.ckpt")


def pose_net_on_a_resnet_50():
    """There is no such network: --resnet_layers is of the depth network alone."""
    network = on_meta(PoseNet)
    network.encoder = on_meta(ResnetEncoder, 50, 2)
    return network.state_dict()


@pytest.mark.parametrize(
    ("state", "network"),
    [({}, DepthNet), ({"weight": torch.zeros(1)}, DepthNet), (pose_net_on_a_resnet_50(), PoseNet)],
)
def test_nothing_is_guessed_of_weights_that_are_of_no_such_network(state, network):
    with pytest.raises(UserError) as error:
        load_sc_depth_state(on_meta(network), state)
    assert "looks like" not in str(error.value)
    assert "--resnet_layers" not in str(error.value)


def test_refused_state_leaves_the_network_untouched(loaded):
    network = DepthNet()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = dict(loaded[1]["net_depth"])
    del state["head.1.bias"]
    with pytest.raises(UserError):
        load_sc_depth_state(network, state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
