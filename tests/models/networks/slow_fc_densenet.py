"""FC-DenseNet 57 once more, slowly, from raw weights in their published names; and such weights, at random.

Nothing here knows the network that is tested. Batch norm is that of testing. The first convolution has 48 channels, a
layer adds 12, a block has 4 layers.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

INPUTS_DOWN = (48, 96, 144, 192, 240)  # of the dense blocks; a block adds 48
INPUTS_UP = (336, 288, 240, 192, 144)  # 48 from below, and the skip connection's
LAYERS = range(4)

Shapes = dict[str, tuple[int, ...]]
Look = Callable[[str, Tensor], None]  # is shown what goes into a part of the network


def published_shapes() -> Shapes:
    """Shapes by key, without the prefix that ``DataParallel`` leaves."""
    shapes = conv("firstconv", 48, 3, 3) | conv("finalConv", 1, 192, 1)
    for level, channels in enumerate(INPUTS_DOWN):
        shapes |= block(f"denseBlocksDown.{level}", channels)
        shapes |= batch_norm_shapes(f"transDownBlocks.{level}.norm", channels + 48)
        shapes |= conv(f"transDownBlocks.{level}.conv", channels + 48, channels + 48, 1)
    shapes |= block("bottleneck.bottleneck", 288)
    for level, channels in enumerate(INPUTS_UP):
        shapes |= conv(f"transUpBlocks.{level}.convTrans.1", 48, 48, 3)
        shapes |= block(f"denseBlocksUp.{level}", channels)
    return shapes


def conv(name: str, outputs: int, inputs: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def batch_norm_shapes(name: str, channels: int) -> Shapes:
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{kind}": (channels,) for kind in kinds} | {f"{name}.num_batches_tracked": ()}


def block(name: str, channels: int) -> Shapes:
    shapes: Shapes = {}
    for layer in LAYERS:
        shapes |= batch_norm_shapes(f"{name}.layers.{layer}.norm", channels + 12 * layer)
        shapes |= conv(f"{name}.layers.{layer}.conv", 12, channels + 12 * layer, 3)
    return shapes


def random_weights(seed: int) -> dict[str, Tensor]:
    """Such that signals neither vanish nor explode, and no statistic is what batch norm begins with."""
    rng = torch.Generator().manual_seed(seed)

    def value(key: str, shape: tuple[int, ...]) -> Tensor:
        if key.endswith("num_batches_tracked"):
            return torch.tensor(seed + 1)
        if len(shape) > 1:
            return torch.randn(shape, generator=rng) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        if key.endswith(("running_var", "weight")):
            return 0.5 + torch.rand(shape, generator=rng)
        return 0.2 * torch.randn(shape, generator=rng)

    return {key: value(key, shape) for key, shape in published_shapes().items()}


def published_checkpoint(weights: dict[str, Tensor]) -> dict[str, object]:
    """The content of a file as the published training writes it."""
    model = {f"module.{key}": value for key, value in weights.items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    return {"model": model, "optimizer": optimizer, "epoch": 101, "step": 12_625, "validation": 0.173}


# From the published description


def slow_output(weights: dict[str, Tensor], images: Tensor, look: Look = lambda name, x: None) -> Tensor:
    """Before the absolute value."""
    x, skips = convolve(weights, "firstconv", images), {}
    for level in (0, 1, 2, 3, 4):
        look(f"down {level}", x)
        skips[level] = torch.cat((x, slow_block(weights, f"denseBlocksDown.{level}", x)), dim=1)
        x = convolve(
            weights, f"transDownBlocks.{level}.conv", norm_relu(weights, f"transDownBlocks.{level}.norm", skips[level])
        )
        x = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(dim=0)
    look("bottleneck", x)
    x = slow_block(weights, "bottleneck.bottleneck", x)
    for up, down in enumerate((4, 3, 2, 1, 0)):
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = torch.cat((convolve(weights, f"transUpBlocks.{up}.convTrans.1", x), skips[down]), dim=1)
        look(f"up {up}", x)
        new = slow_block(weights, f"denseBlocksUp.{up}", x)
        x = torch.cat((x, new), dim=1) if up == 4 else new
    look("last", x)
    return convolve(weights, "finalConv", x)


def slow_block(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The 48 new channels, the first layer's first."""
    for layer in LAYERS:
        y = norm_relu(weights, f"{name}.layers.{layer}.norm", x)
        x = torch.cat((x, convolve(weights, f"{name}.layers.{layer}.conv", y)), dim=1)
    return x[:, -48:]


def norm_relu(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, var, scale, shift = (
        weights[f"{name}.{kind}"][:, None, None] for kind in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)


def convolve(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight = weights[f"{name}.weight"]
    border = weight.shape[-1] // 2
    return F.conv2d(F.pad(x, (border,) * 4), weight, weights[f"{name}.bias"])
