"""The VGG19 loss, with random weights: its layers, ranges, gradients and files."""

from urllib.error import URLError

import pytest
import torch
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from models.losses.perceptual import PerceptualLoss
from util.errors import UserError


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    return make_layers(cfgs["E"], batch_norm=False).eval()


@pytest.fixture(scope="module")
def weights(vgg, tmp_path_factory):
    """A file as torchvision's, with the classifier's weights in it."""
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    state = {f"features.{key}": value for key, value in vgg.state_dict().items()}
    torch.save(state | {"classifier.0.weight": torch.zeros(2, 2)}, path)
    return path


@pytest.fixture(scope="module")
def loss(weights):
    return PerceptualLoss(weights)


def images(channels=1):
    generator = torch.Generator().manual_seed(channels)
    return [torch.rand(2, channels, 33, 40, generator=generator) * 2 - 1 for _ in range(2)]


def slow_loss(vgg, fake, real):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    total = 0.0
    for relu, weight in ((1, 1 / 32), (6, 1 / 16), (11, 1 / 8), (20, 1 / 4), (29, 1.0)):
        maps = []
        for x in (fake, real):
            x = x.expand(-1, 3, -1, -1) * 0.5 + 0.5
            maps.append(vgg[: relu + 1]((x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)))
        total += weight * (maps[0] - maps[1]).abs().mean().item()
    return total


@pytest.mark.parametrize("channels", [1, 3])
def test_loss_equals_the_sum_over_the_five_layers(loss, vgg, channels):
    fake, real = images(channels)
    assert loss(fake, real).item() == pytest.approx(slow_loss(vgg, fake, real), rel=1e-4)  # float32 through 13 layers


def test_the_layers_are_the_first_rectified_ones_of_their_blocks(loss):
    assert len(loss.features) == 30
    before_relu = [loss.features[index - 1] for index in (1, 6, 11, 20, 29)]
    assert [conv.out_channels for conv in before_relu] == [64, 128, 256, 512, 512]
    assert [type(loss.features[index - 2]).__name__ for index in (6, 11, 20, 29)] == ["MaxPool2d"] * 4


def test_equal_pictures_cost_nothing(loss):
    fake, _ = images()
    assert loss(fake, fake.clone()) == 0


def test_only_the_fake_picture_gets_gradient(loss):
    fake, real = (x.requires_grad_() for x in images())
    loss(fake, real).backward()
    assert fake.grad.abs().sum() > 0
    assert real.grad is None
    assert all(not weight.requires_grad and weight.grad is None for weight in loss.parameters())
    assert not loss.features.training


def test_batch_equals_its_images_one_by_one(loss):
    fake, real = images()
    singles = [loss(fake[b : b + 1], real[b : b + 1]) for b in range(2)]
    assert torch.allclose(loss(fake, real), torch.stack(singles).mean(), rtol=1e-4)  # float32 through 13 layers


def test_wrong_shapes_are_refused(loss):
    fake, real = images()
    with pytest.raises(ValueError, match="fake and real must both be"):
        loss(fake, real[..., :-1])
    with pytest.raises(ValueError, match="fake and real must both be"):
        loss(fake.expand(-1, 2, -1, -1), real.expand(-1, 2, -1, -1))


def test_failed_download_says_what_to_do(monkeypatch):
    def fail(self, **options):
        raise URLError("no route")

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"download of https://.*vgg19.* failed .*--vgg_weights FILE"):
        PerceptualLoss()


def test_file_of_another_network_is_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other.pth: do not fit .*\(64, 3, 5, 5\) in the file, \(64, 3, 3, 3\) here"):
        PerceptualLoss(tmp_path / "other.pth")
