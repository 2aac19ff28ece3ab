"""FC-DenseNet (Jegou et al., CVPR workshops 2017), as Liu et al. use it for depth (IEEE TMI 39(5), 2020).

Different from its origin: no dropout, and upsampling by nearest neighbour and convolution, against grid patterns. Files
of the published code load by ``models/networks/fc_densenet_weights.py``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.layers import Float32Conv2d
from models.networks.unet import check_sides, init_kaiming, run_block, up_conv


class NormReluConv(nn.Module):
    """conv(ReLU(norm(x))), the same size; with ``kernel`` 3 a dense layer, with 1 what comes before pooling."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x), inplace=True))


class DenseBlock(nn.Module):
    """Layers that each see the input and all that the layers before them made.

        y_k = layer_k([x, y_1, ..., y_(k-1)]),    block(x) = [x, y_1, ..., y_n] or [y_1, ..., y_n]

    Args:
        in_channels: of x.
        growth: channels of each y.
        num_layers: n.
        keeps_input: whether x is part of the output.
    """

    def __init__(self, in_channels: int, growth: int, num_layers: int, *, keeps_input: bool) -> None:
        super().__init__()
        self.keeps_input = keeps_input
        self.layers = nn.ModuleList(NormReluConv(in_channels + k * growth, growth, 3) for k in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, num_layers * growth, H, W), with ``keeps_input`` in_channels more."""
        features = [x]
        for layer in self.layers:
            features.append(layer(torch.cat(features, dim=1)))
        return torch.cat(features if self.keeps_input else features[1:], dim=1)


def _shrink(channels: int) -> nn.Sequential:
    return nn.Sequential(NormReluConv(channels, channels, 1), nn.MaxPool2d(2))


class FCDenseNet(nn.Module):
    """A U-Net of dense blocks, any sign of output; the defaults are FC-DenseNet 57 with 1,374,865 parameters.

        s_0 = down_0(first(image)),    s_k = down_k(shrink(s_(k-1))),    u_levels = bottleneck(shrink(s_(levels-1)))
        u_k = up_k([grow(u_(k+1)), s_k]),    output = last(u_0)

    Going down, and in the last block, a block's input is part of its output; elsewhere going up it is not, else the
    channels would pile up.

    Args:
        in_channels, out_channels: of image and output.
        first_channels: of the first convolution.
        growth: channels that a dense layer adds.
        num_layers: dense layers a block.
        levels: how often the size is halved.

    ``size_multiple``: sides must be multiples of it; ``util.padding`` pads and crops.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        first_channels: int = 48,
        growth: int = 12,
        num_layers: int = 4,
        levels: int = 5,
    ) -> None:
        super().__init__()
        self.size_multiple = 2**levels
        self.recompute = False  # True: less memory, more time (``run_layers``)
        new = growth * num_layers
        inputs = [first_channels + k * new for k in range(levels)]  # of the blocks going down
        skips = [width + new for width in reversed(inputs)]  # coarsest first
        self.first = nn.Conv2d(in_channels, first_channels, 3, padding=1)
        self.down = nn.ModuleList(DenseBlock(width, growth, num_layers, keeps_input=True) for width in inputs)
        self.shrink = nn.ModuleList(map(_shrink, reversed(skips)))
        self.bottleneck = DenseBlock(skips[0], growth, num_layers, keeps_input=False)
        self.grow = nn.ModuleList(up_conv(new, new) for _ in skips)
        self.up = nn.ModuleList(
            DenseBlock(new + width, growth, num_layers, keeps_input=k == levels - 1) for k, width in enumerate(skips)
        )
        self.last = Float32Conv2d(new + skips[-1] + new, out_channels, 1)
        self.apply(init_kaiming)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W), float32 under autocast too.

        Raises:
            ValueError: H or W is no multiple of ``size_multiple``.
        """
        check_sides(images, self.size_multiple)
        x, skips = self.first(images), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(self._run(block, x))
            x = self._run(shrink, skips[-1])
        x = self._run(self.bottleneck, x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = self._run(block, torch.cat((self._run(grow, x), skips.pop()), dim=1))
        return self.last(x)

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        return run_block(block, x, recompute=self.recompute)
