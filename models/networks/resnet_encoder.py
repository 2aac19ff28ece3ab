"""ResNet (He et al., CVPR 2016) as an encoder: the features of five resolutions.

Layers and their names are torchvision's, so that its weights, and what grew out of them, load as they are.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model, get_model_weights

from util.weight_files import load_strictly, read_or_download

NUM_LAYERS = (18, 34, 50, 101, 152)
CLASSIFIER = ("fc.weight", "fc.bias")
ADVICE = (
    "give a local file of torchvision's resnet{num_layers} weights with --encoder_weights FILE, or begin with random "
    "ones with --encoder_weights none"
)


class ResnetEncoder(nn.Module):
    """Images to features at 1/2, 1/4, 1/8, 1/16 and 1/32 of their size.

        f0 = relu(bn1(conv1(x))),    f1 = layer1(maxpool(f0)),    fk = layerk(f(k-1))

    Begins with torchvision's random weights: convolutions Kaiming normal (fan out, ReLU), batch norm 1 and 0. There is
    no classifier, whose weights would get no gradient.

    Args:
        num_layers: 18, 34, 50, 101 or 152.
        num_images: so many images are seen together, concatenated along the channels.

    ``channels`` are those of f0 to f4.

    Raises:
        ValueError: there is no ResNet of ``num_layers``.
    """

    def __init__(self, num_layers: int = 18, num_images: int = 1) -> None:
        super().__init__()
        if num_layers not in NUM_LAYERS:
            raise ValueError(f"there is no ResNet of {num_layers} layers, known are: {', '.join(map(str, NUM_LAYERS))}")
        self.num_layers, self.num_images = num_layers, num_images
        resnet = get_model(f"resnet{num_layers}", weights=None)
        self.conv1 = nn.Conv2d(3 * num_images, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.relu, self.maxpool = resnet.bn1, resnet.relu, resnet.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4
        self.channels = (64, *(width * resnet.layer1[0].expansion for width in (64, 128, 256, 512)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3 * num_images, H, W), standardised, to f0, f1, ... f4: fk is (B, channels[k], H / 2^(k+1), W / 2^(k+1)).

        Sides that cannot be halved come out rounded up.

        Raises:
            ValueError: another number of channels.
        """
        if images.ndim != 4 or images.shape[1] != 3 * self.num_images:
            raise ValueError(f"images must be (B, {3 * self.num_images}, H, W), got {tuple(images.shape)}")
        features = [self.relu(self.bn1(self.conv1(images)))]
        features.append(self.layer1(self.maxpool(features[0])))
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def load_imagenet_weights(encoder: ResnetEncoder, path: Path | None) -> None:
    """Let an encoder begin with weights trained on ImageNet, all of them or none.

    For several images the first convolution is repeated along its input channels and divided by their number, so that
    an image beside itself gives the features of the image alone.

    Args:
        encoder: takes the weights.
        path: file of torchvision's weights; without it they are downloaded.

    Raises:
        UserError: the weights do not fit, or the download failed.
        FileNotFoundError: there is no file ``path``.
    """
    published = _published(encoder.num_layers)
    state = read_or_download(path, published, ADVICE.format(num_layers=encoder.num_layers))
    if isinstance(state, Mapping):
        state = _for_encoder(state, encoder)
    load_strictly(encoder, state, source=path or published.url, guess=_guess)


def _published(num_layers: int) -> WeightsEnum:
    # Version 1 is the one that there is for every number of layers, all trained by the same recipe.
    return get_model_weights(f"resnet{num_layers}").IMAGENET1K_V1


def _for_encoder(state: Mapping[str, Any], encoder: ResnetEncoder) -> dict[str, Any]:
    """A classifier's weights without its last layer, for as many images as the encoder sees."""
    # Files from before batch norm counted its batches lack the counts, from which nothing is computed.
    counts = {key: torch.tensor(0) for key in encoder.state_dict() if key.endswith(".num_batches_tracked")}
    fitted = counts | {key: value for key, value in state.items() if key not in CLASSIFIER}
    first = fitted.get("conv1.weight")
    if isinstance(first, Tensor) and first.shape[1:2] == (3,):
        fitted["conv1.weight"] = first.repeat(1, encoder.num_images, 1, 1) / encoder.num_images
    return fitted


def _guess(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    came, expected = count_layers(state), count_layers(wanted)
    if came in NUM_LAYERS and came != expected:
        return f"the file is of a ResNet of {came} layers, the encoder has {expected}"
    return ""


def count_layers(keys: Collection[str]) -> int:
    """The number in a ResNet's name, from the names of its weights: convolutions in blocks, the first one, and fc."""
    blocks = {match[1] for key in keys if (match := re.match(r"(layer[1-4]\.\d+)\.conv1\.", key))}
    per_block = 3 if "layer1.0.conv3.weight" in keys else 2
    return 2 + per_block * len(blocks)
