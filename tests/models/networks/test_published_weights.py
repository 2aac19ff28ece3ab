"""Loading published pix2pixHD weights: as they are, or a refusal that names the reason."""

import pytest
import torch

from models.networks.pix2pixhd import GlobalGenerator, LocalEnhancer, MultiscaleDiscriminator
from models.networks.weights import load_published_state
from util.errors import UserError


def small(build=GlobalGenerator, **changes):
    return build(**({"ngf": 4, "n_downsample": 2} | changes))


def small_discriminator(**changes):
    return MultiscaleDiscriminator(ndf=4, **changes)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("build", [small, small_discriminator])
def test_state_loads_with_and_without_the_prefix_of_parallel_wrappers(build, prefix):
    published, network = build(), build()
    load_published_state(network, {prefix + key: value for key, value in published.state_dict().items()})
    for key, value in published.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key


@pytest.mark.parametrize("upsample", ["nearest", "transposed"])
def test_loaded_generator_predicts_what_the_published_one_does(upsample):
    published, network, images = small(upsample=upsample), small(upsample=upsample), torch.rand(2, 3, 16, 24)
    load_published_state(network, published.state_dict())
    assert torch.equal(network(images), published(images))


@pytest.mark.parametrize(
    ("published", "network", "guess"),
    [
        (small(upsample="transposed"), small(), "transposed decoder: use --upsample transposed"),
        (small(), small(upsample="transposed"), "nearest-upsampling decoder: use --upsample nearest"),
        (small(norm="batch"), small(), "batch norm: use --norm batch"),
        (small(), small(norm="batch"), "instance norm: use --norm instance"),
        (small(LocalEnhancer), small(), "local enhancer: use --netG local"),
        (small(), small(LocalEnhancer), "global generator: use --netG global"),
        (small(n_blocks=3), small(n_blocks=5), "fits --n_blocks_global 3, here it is 5"),
        (small(ngf=8), small(ngf=4), "fits --ngf 8, here it is 4"),
        (small(LocalEnhancer, ngf=8), small(LocalEnhancer, ngf=4), "fits --ngf 8, here it is 4"),
        (small_discriminator(), small(), "this looks like a discriminator"),
        (small(), small_discriminator(), "this looks like a generator"),
    ],
)
def test_refusal_guesses_what_the_file_is(published, network, guess):
    with pytest.raises(UserError, match="do not fit") as error:
        load_published_state(network, published.state_dict())
    assert guess in str(error.value)


def test_refusal_names_the_file_the_first_keys_and_both_shapes():
    state = small().state_dict()
    state["model.1.weight"] = torch.zeros(4, 5, 7, 7)
    state["surplus"] = state.pop("model.1.bias")
    with pytest.raises(UserError) as error:
        load_published_state(small(), state, source="latest_net_G.pth")
    text = str(error.value)
    assert text.startswith("latest_net_G.pth: do not fit GlobalGenerator")
    assert "1 missing from the file: model.1.bias" in text
    assert "1 unknown here: surplus" in text
    assert "1 of another shape: model.1.weight is (4, 5, 7, 7) in the file, (4, 3, 7, 7) here" in text


def test_refused_state_leaves_the_network_untouched():
    network = small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = small().state_dict()
    del state["model.1.bias"]
    with pytest.raises(UserError):
        load_published_state(network, state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_whole_checkpoint_is_recognised_as_such():
    with pytest.raises(UserError, match=r"epoch, net_G hold no tensor; is it a whole checkpoint"):
        load_published_state(small(), {"epoch": 3, "net_G": small().state_dict()})
