"""SC-Depth's networks: depth of one image, and motion between two (Bian et al., NeurIPS 2019, IJCV 2021, TPAMI 2022).

The pose network is ``PoseNet(6, 0.01)``, the auto-rectify network of SC-DepthV2 ``PoseNet(3, 1.0, half_size=True)``.
Images are standardised, depth and translation are in one arbitrary unit. What the published modules hold but never
use is left out: the encoder's classifier and the heads of the coarser scales, whose weights would get no gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.layers import Float32Conv2d, ReflectionPad2d
from models.networks.resnet_encoder import ResnetEncoder

WIDTHS = (256, 128, 64, 32, 16)  # channels of the decoder's levels, coarsest first
MIN_DISPARITY, DISPARITY_RANGE = 0.01, 10.0  # 1 / depth at a sigmoid of 0, and what is added to it at 1
MIN_DEPTH, MAX_DEPTH = 1 / (MIN_DISPARITY + DISPARITY_RANGE), 1 / MIN_DISPARITY  # 0.0999 and 100


def _conv_elu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, 3), nn.ELU(inplace=True))


class UpLevel(nn.Module):
    """One level of the decoder: convolution, twice the size, the encoder's features behind it, convolution."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = _conv_elu(in_channels, out_channels)
        self.fuse = _conv_elu(out_channels + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """(B, in_channels, H, W) and (B, skip_channels, 2 H, 2 W) or None to (B, out_channels, 2 H, 2 W)."""
        x = F.interpolate(self.reduce(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.fuse(x if skip is None else torch.cat((x, skip), dim=1))


class DepthNet(nn.Module):
    """Depth of single images: a ResNet, a decoder with skip connections, one head at full size.

    Args:
        num_layers: of the ResNet: 18, 34, 50, 101 or 152.

    ``size_multiple``: sides must be multiples of it, and at least twice as long, since the decoder mirrors borders;
    ``util.padding`` pads and crops.

    Raises:
        ValueError: there is no ResNet of ``num_layers``.
    """

    size_multiple = 32

    def __init__(self, num_layers: int = 18) -> None:
        super().__init__()
        self.encoder = ResnetEncoder(num_layers)
        *skips, deepest = self.encoder.channels
        inputs, skips = (deepest, *WIDTHS[:-1]), (*reversed(skips), 0)
        self.levels = nn.ModuleList(UpLevel(*channels) for channels in zip(inputs, skips, WIDTHS, strict=True))
        self.head = nn.Sequential(ReflectionPad2d(1), Float32Conv2d(WIDTHS[-1], 1, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), standardised, to depth (B, 1, H, W) from MIN_DEPTH to MAX_DEPTH, float32 under autocast too.

        Raises:
            ValueError: H or W is no multiple of ``size_multiple``, or less than twice of it.
        """
        size, least = tuple(images.shape[-2:]), 2 * self.size_multiple
        if any(side % self.size_multiple or side < least for side in size):
            raise ValueError(
                f"sides must be multiples of {self.size_multiple} and at least {least}, got {size}; "
                "pad_to_multiple pads them"
            )
        *features, x = self.encoder(images)
        for level, skip in zip(self.levels, (*reversed(features), None), strict=True):
            x = level(x, skip)
        return depth_from_logits(self.head(x))


def depth_from_logits(logits: Tensor) -> Tensor:
    """depth = 1 / (10 sigmoid(x) + 0.01), in an arbitrary unit; about 0.2 at 0, where an untrained head begins."""
    return 1 / (DISPARITY_RANGE * torch.sigmoid(logits) + MIN_DISPARITY)


class PoseNet(nn.Module):
    """A vector that describes the motion between two images: always on a ResNet-18 that sees both together.

    Args:
        num_outputs: length of the vector. The pose network has 6: translation (x, y, z), then angles (x, y, z) [rad];
            the rectify network has the 3 angles.
        scale: what the network's mean output is multiplied with.
        half_size: see the images at half their size.
    """

    def __init__(self, num_outputs: int = 6, scale: float = 0.01, half_size: bool = False) -> None:
        super().__init__()
        self.scale, self.half_size = scale, half_size
        self.encoder = ResnetEncoder(18, num_images=2)
        self.head = nn.Sequential(
            nn.Conv2d(self.encoder.channels[-1], 256, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            Float32Conv2d(256, num_outputs, 1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two (B, 3, H, W), standardised, to (B, num_outputs), float32 under autocast too.

            v = scale * mean_xy head(f4(first, second))

        As a pose it takes points of the camera of ``first`` to that of ``second``.

        Raises:
            ValueError: the shapes differ.
        """
        if first.shape != second.shape:
            raise ValueError(f"both images must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
        images = torch.cat((first, second), dim=1)  # (B, 6, H, W)
        if self.half_size:
            half = (images.shape[-2] // 2, images.shape[-1] // 2)
            images = F.interpolate(images, size=half, mode="bilinear", align_corners=True)
        return self.scale * self.head(self.encoder(images)[-1]).mean(dim=(2, 3))
