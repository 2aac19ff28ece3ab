"""The ResNet encoder: torchvision's features and weights, for one image and for two side by side."""

from urllib.error import URLError

import pytest
import torch
from torchvision.models import ResNet18_Weights, ResNet50_Weights, get_model
from torchvision.models._utils import IntermediateLayerGetter

from models.networks.resnet_encoder import ResnetEncoder, count_layers, load_imagenet_weights
from util.errors import UserError

NARROW, WIDE = (64, 64, 128, 256, 512), (64, 256, 512, 1024, 2048)
CHANNELS = {18: NARROW, 34: NARROW, 50: WIDE, 101: WIDE, 152: WIDE}


def on_meta(build, *arguments):
    with torch.device("meta"):
        return build(*arguments)


def resnet(num_layers=18, seed=0):
    """torchvision's, whose batch norm has seen data."""
    torch.manual_seed(seed)
    network = get_model(f"resnet{num_layers}", weights=None)
    network(2 * torch.randn(2, 3, 64, 64) + 1)
    return network.eval()


@pytest.fixture(scope="module")
def published():
    return resnet()


@pytest.fixture
def file(published, tmp_path):
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    yield tmp_path / "resnet18.pth"
    (tmp_path / "resnet18.pth").unlink()


def features_of(network, images):
    """f0 to f4 as torchvision computes them."""
    names = ("relu", "layer1", "layer2", "layer3", "layer4")
    return list(IntermediateLayerGetter(network, {name: name for name in names})(images).values())


def save_changed(file, **changes):
    state = torch.load(file, weights_only=True) | changes
    torch.save({key: value for key, value in state.items() if value is not None}, file)


@pytest.mark.parametrize("num_layers", CHANNELS)
def test_features_have_the_documented_channels_at_a_half_to_a_thirty_second_of_the_size(num_layers):
    encoder = on_meta(ResnetEncoder, num_layers)
    features = encoder(torch.empty(2, 3, 96, 160, device="meta"))
    assert encoder.channels == CHANNELS[num_layers]
    assert [f.shape[1] for f in features] == list(CHANNELS[num_layers])
    assert [tuple(f.shape[2:]) for f in features] == [(48, 80), (24, 40), (12, 20), (6, 10), (3, 5)]


def test_uneven_sides_come_out_rounded_up():
    features = on_meta(ResnetEncoder)(torch.empty(1, 3, 70, 101, device="meta"))
    assert [tuple(f.shape[-2:]) for f in features] == [(35, 51), (18, 26), (9, 13), (5, 7), (3, 4)]


@pytest.mark.parametrize("num_layers", CHANNELS)
def test_weights_are_torchvisions_without_the_classifier(num_layers):
    encoder, whole = on_meta(ResnetEncoder, num_layers), on_meta(get_model, f"resnet{num_layers}")
    expected = {key: value.shape for key, value in whole.state_dict().items() if key not in ("fc.weight", "fc.bias")}
    assert {key: value.shape for key, value in encoder.state_dict().items()} == expected


@pytest.mark.parametrize("num_images", [1, 2])
def test_untrained_convolutions_are_kaiming_normal_and_batch_norm_one_and_zero(num_images):
    torch.manual_seed(0)
    for name, weight in ResnetEncoder(18, num_images).named_parameters():
        if weight.ndim == 4:
            std = (2 / (weight.shape[0] * weight.shape[2] * weight.shape[3])) ** 0.5  # fan out
            # 4 standard errors of an estimate from numel samples
            assert abs(weight.std().item() - std) < 4 * std / (2 * weight.numel()) ** 0.5, name
            assert abs(weight.mean().item()) < 4 * std / weight.numel() ** 0.5, name
        else:
            assert (weight == (1 if name.endswith("weight") else 0)).all(), name


def test_features_with_imagenet_weights_are_torchvisions(published, file):
    encoder, images = ResnetEncoder().eval(), torch.randn(2, 3, 70, 101)
    load_imagenet_weights(encoder, file)
    for ours, theirs in zip(encoder(images), features_of(published, images), strict=True):
        assert torch.equal(ours, theirs)


def test_bottlenecks_give_torchvisions_features_too():
    torch.manual_seed(0)
    published, encoder, images = resnet(50), ResnetEncoder(50).eval(), torch.randn(1, 3, 64, 96)
    encoder.load_state_dict({k: v for k, v in published.state_dict().items() if not k.startswith("fc.")})
    for ours, theirs in zip(encoder(images), features_of(published, images), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("num_images", [2, 3])
def test_image_beside_itself_gives_the_features_of_the_image_alone(published, file, num_images):
    encoder, images = ResnetEncoder(18, num_images).eval(), torch.randn(2, 3, 64, 96)
    load_imagenet_weights(encoder, file)
    for ours, alone in zip(encoder(images.repeat(1, num_images, 1, 1)), features_of(published, images), strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-4, atol=1e-4)  # sums in another order, through 17 layers


def test_file_from_before_batches_were_counted_loads(published, file):
    save_changed(file, **{key: None for key in published.state_dict() if key.endswith("num_batches_tracked")})
    encoder = ResnetEncoder()
    load_imagenet_weights(encoder, file)
    assert torch.equal(encoder.layer4[1].bn2.running_var, published.layer4[1].bn2.running_var)
    assert encoder.bn1.num_batches_tracked == 0


def test_refusal_names_what_is_missing_and_what_is_unknown_and_leaves_the_encoder_untouched(file):
    save_changed(file, **{"bn1.bias": None, "surplus": torch.zeros(1)})
    encoder = ResnetEncoder()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(UserError, match=r"resnet18\.pth: do not fit ResnetEncoder: 1 missing .*bn1\.bias; 1 unknown"):
        load_imagenet_weights(encoder, file)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("num_layers", [34, 50])
def test_refusal_says_how_many_layers_the_file_has(file, num_layers):
    with pytest.raises(UserError, match=f"the file is of a ResNet of 18 layers, the encoder has {num_layers}"):
        load_imagenet_weights(on_meta(ResnetEncoder, num_layers), file)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"model": {"conv1.weight": torch.zeros(1)}}])
def test_file_of_another_kind_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"odd\.pth: expected tensors by name"):
        load_imagenet_weights(on_meta(ResnetEncoder), tmp_path / "odd.pth")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_imagenet_weights(on_meta(ResnetEncoder), tmp_path / "none.pth")


def test_without_a_file_torchvisions_first_weights_are_downloaded(monkeypatch):
    published, asked = resnet(50), []

    def download(self, **options):
        asked.append(self)
        return published.state_dict()

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", download)
    encoder = ResnetEncoder(50)
    load_imagenet_weights(encoder, None)
    assert torch.equal(encoder.conv1.weight, published.conv1.weight)
    assert asked == [ResNet50_Weights.IMAGENET1K_V1]


def test_failed_download_says_how_to_do_without(monkeypatch):
    def fail(self, **options):
        raise URLError("no route")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"no route.*resnet18 .*--encoder_weights FILE.*--encoder_weights none"):
        load_imagenet_weights(on_meta(ResnetEncoder), None)


@pytest.mark.parametrize("num_layers", CHANNELS)
def test_layers_are_counted_as_in_the_networks_name(num_layers):
    assert count_layers(on_meta(ResnetEncoder, num_layers).state_dict()) == num_layers


def test_unknown_number_of_layers_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no ResNet of 19 layers, known are: 18, 34, 50, 101, 152"):
        ResnetEncoder(19)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (6, 64, 64)])
def test_other_channels_are_refused_with_the_expected_ones(shape):
    with pytest.raises(ValueError, match=r"images must be \(B, 6, H, W\), got \("):
        on_meta(ResnetEncoder, 18, 2)(torch.empty(shape, device="meta"))
