"""U-Net (Ronneberger et al., MICCAI 2015) as the public code of 2018 has it for SfM-supervised depth (Liu et al.).

Narrow but deep, without normalisation. What it has in common with the authors' later network, FC-DenseNet, is here too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.layers import Float32Conv2d, run_layers


def up_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice the size: nearest neighbour, then a 3x3 convolution; a transposed one leaves grid patterns in the depth."""
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(in_channels, out_channels, 3, padding=1))


def init_kaiming(module: nn.Module) -> None:
    """For ``apply``: convolutions N(0, 2 / fan_in), biases 0; batch norm is left at its 1 and 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(module.bias)


def check_sides(images: Tensor, multiple: int) -> None:
    """Refuse images (B, C, H, W) that cannot be halved as often as the network does.

    Such sides would come back shorter than the skip connections are; the public code then cuts from the middle.

    Raises:
        ValueError: H or W is no multiple of ``multiple`` [px].
    """
    size = tuple(images.shape[-2:])
    if any(side % multiple for side in size):
        raise ValueError(f"sides must be multiples of {multiple}, got {size}; pad_to_multiple pads them")


def run_block(block: nn.Module, x: Tensor, *, recompute: bool) -> Tensor:
    """``block(x)``; with ``recompute`` what it computes within is not kept, as ``run_layers`` does it."""
    return run_layers(nn.Sequential(block), x, recompute=True) if recompute else block(x)


def _two_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Encoder and decoder with skip connections, any sign of output.

        e_0 = f_0(image),    e_k = f_k(maxpool(e_(k-1))),    d_k = g_k([up_k(d_(k+1)), e_k]),    output = last(d_0)

    f_k and g_k are two 3x3 convolutions with ReLU, up_k is ``up_conv``, the deepest d is its e.

    Args:
        in_channels, out_channels: of image and output.
        base_filters: channels at full size; each level has twice as many as the one above.
        levels: resolutions, the full one included.

    ``size_multiple``: sides must be multiples of it; ``util.padding`` pads and crops.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 1, base_filters: int = 4, levels: int = 7) -> None:
        super().__init__()
        self.size_multiple = 2 ** (levels - 1)
        self.recompute = False  # True: less memory, more time (``run_layers``)
        widths = [base_filters * 2**level for level in range(levels)]
        rising = widths[-2::-1]  # of the decoder's levels, coarsest first
        self.down = nn.ModuleList(map(_two_convs, (in_channels, *widths), widths))
        # The published 2,164,189 parameters come out when up convolutions have a bias and halve the channels, so that
        # they and the skip connection have equal shares of the concatenation.
        self.grow = nn.ModuleList(up_conv(2 * width, width) for width in rising)
        self.up = nn.ModuleList(_two_convs(2 * width, width) for width in rising)
        self.last = Float32Conv2d(base_filters, out_channels, 1)
        self.apply(init_kaiming)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W), float32 under autocast too.

        Raises:
            ValueError: H or W is no multiple of ``size_multiple``.
        """
        check_sides(images, self.size_multiple)
        first, *deeper = self.down
        features = [self._run(first, images)]
        for block in deeper:
            features.append(self._run(block, F.max_pool2d(features[-1], 2)))
        x = features.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            x = torch.cat((self._run(grow, x), features.pop()), dim=1)
            x = self._run(block, x)
        return self.last(x)

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        return run_block(block, x, recompute=self.recompute)
