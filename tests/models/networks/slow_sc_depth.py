"""SC-Depth's networks once more, slowly, from raw weights in their published names; and such weights, at random.

Nothing here knows the networks that are tested. Batch norm is that of testing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import get_model

DECODER = {f"decoder.upconvs0.{k}.conv.conv": shape for k, shape in enumerate([(256, 512), (128, 256), (64, 128)])}
DECODER |= {"decoder.upconvs0.3.conv.conv": (32, 64), "decoder.upconvs0.4.conv.conv": (16, 32)}
DECODER |= {f"decoder.upconvs1.{k}.conv.conv": shape for k, shape in enumerate([(256, 512), (128, 256), (64, 128)])}
DECODER |= {"decoder.upconvs1.3.conv.conv": (32, 96), "decoder.upconvs1.4.conv.conv": (16, 16)}
DECODER |= {f"decoder.dispconvs.{scale}.conv": (1, channels) for scale, channels in enumerate([16, 32, 64, 128])}


def published_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Shapes by key of ``depth_net``, ``pose_net`` or ``rectify_net`` on a ResNet-18, what is never used included."""
    with torch.device("meta"):
        resnet = get_model("resnet18", weights=None)
    shapes = {f"encoder.encoder.{key}": tuple(value.shape) for key, value in resnet.state_dict().items()}
    if network == "depth_net":
        return shapes | _with_biases({key: (*channels, 3, 3) for key, channels in DECODER.items()})
    shapes["encoder.encoder.conv1.weight"] = (64, 6, 7, 7)
    outputs = {"pose_net": 6, "rectify_net": 3}[network]
    head = {"decoder.conv_squeeze": (256, 512, 1, 1), "decoder.convs_pose.0": (256, 256, 3, 3)}
    head |= {"decoder.convs_pose.1": (256, 256, 3, 3), "decoder.convs_pose.2": (outputs, 256, 1, 1)}
    return shapes | _with_biases(head)


def _with_biases(convs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{key}.{kind}": s for key, shape in convs.items() for kind, s in (("weight", shape), ("bias", shape[:1]))}


def random_weights(network: str, seed: int) -> dict[str, Tensor]:
    """Such that signals neither vanish nor explode, and no statistic is what batch norm begins with."""
    rng = torch.Generator().manual_seed(seed)

    def value(key: str, shape: tuple[int, ...]) -> Tensor:
        if key.endswith("num_batches_tracked"):
            return torch.tensor(seed + 1)
        if len(shape) > 1:
            return torch.randn(shape, generator=rng) * (2 / shape[1:].numel()) ** 0.5
        if key.endswith(("running_var", "weight")):
            return 0.5 + torch.rand(shape, generator=rng)
        return 0.2 * torch.randn(shape, generator=rng)

    return {key: value(key, torch.Size(shape)) for key, shape in published_shapes(network).items()}


# From the published description


def slow_features(weights: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """f0 ... f4 of a ResNet-18; the keys are torchvision's."""
    x = F.conv2d(images, weights["conv1.weight"], stride=2, padding=3)
    features = [F.relu(_batch_norm(weights, "bn1", x))]
    x = F.max_pool2d(features[0], 3, stride=2, padding=1)
    for layer in (1, 2, 3, 4):
        x = _basic_block(weights, f"layer{layer}.0", x, stride=1 if layer == 1 else 2)
        x = _basic_block(weights, f"layer{layer}.1", x, stride=1)
        features.append(x)
    return features


def _basic_block(weights: dict[str, Tensor], name: str, x: Tensor, stride: int) -> Tensor:
    y = F.conv2d(x, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
    y = F.relu(_batch_norm(weights, f"{name}.bn1", y))
    y = _batch_norm(weights, f"{name}.bn2", F.conv2d(y, weights[f"{name}.conv2.weight"], padding=1))
    if stride == 2:
        x = F.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=2)
        x = _batch_norm(weights, f"{name}.downsample.1", x)
    return F.relu(x + y)


def _batch_norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, var, scale, shift = (
        weights[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def slow_depth(weights: dict[str, Tensor], features: list[Tensor]) -> Tensor:
    """Depth of an encoder's f0 ... f4; the keys begin with ``decoder.``."""

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = features[4]
    for i in (4, 3, 2, 1, 0):
        x = _elu(conv(f"decoder.upconvs0.{4 - i}.conv.conv", x))
        x = resample(x, *((torch.arange(2 * side, dtype=x.dtype) + 0.5) / 2 - 0.5 for side in x.shape[-2:]))
        if i > 0:
            x = torch.cat((x, features[i - 1]), dim=1)
        x = _elu(conv(f"decoder.upconvs1.{4 - i}.conv.conv", x))
    disparity = 10 / (1 + torch.exp(-conv("decoder.dispconvs.0.conv", x))) + 0.01
    return 1 / disparity


def _elu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.exp(x) - 1)


def slow_vector(
    weights: dict[str, Tensor], first: Tensor, second: Tensor, *, scale: float, half_size: bool = False
) -> Tensor:
    """What the pose and rectify networks give for two images; the keys are the published ones."""
    images = torch.cat((first, second), dim=1)
    if half_size:  # the corners stay where they are
        places = (torch.linspace(0, side - 1, side // 2, dtype=first.dtype) for side in first.shape[-2:])
        images = resample(images, *places)
    x = slow_features(below(weights, "encoder.encoder."), images)[4]
    for name, padding in (("conv_squeeze", 0), ("convs_pose.0", 1), ("convs_pose.1", 1), ("convs_pose.2", 0)):
        x = F.relu(x) if name != "conv_squeeze" else x
        x = F.conv2d(x, weights[f"decoder.{name}.weight"], weights[f"decoder.{name}.bias"], padding=padding)
    return scale * x.flatten(2).mean(dim=2)


def resample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear at the product of these places [px]; beyond the border the border's value."""

    def shares(places: Tensor, side: int) -> Tensor:
        distance = places.clamp(0, side - 1)[:, None] - torch.arange(side, dtype=places.dtype)
        return (1 - distance.abs()).clamp(min=0)  # (places, side)

    return shares(rows, x.shape[-2]) @ x @ shares(columns, x.shape[-1]).T


def below(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose keys begin with the prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
