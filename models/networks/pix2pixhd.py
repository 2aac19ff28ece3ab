"""Generators and discriminator of the pix2pixHD family (Wang et al., CVPR 2018), with the decoder of colon2depth.

The order of layers in each ``nn.Sequential`` and the names of its attributes are those of the released checkpoints,
which load as they are (``models/networks/weights.py``).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.layers import InstanceNorm2d, NearestUpConv, ReflectionPad2d, ScatterConv2d, run_layers
from models.networks.winograd import WinogradConv2d

INIT_STD = 0.02  # std of pix2pixHD's init, biases keep PyTorch's default
MAX_CHANNELS_D = 512  # a discriminator layer has at most so many channels
LEAK = 0.2


class ResnetBlock(nn.Module):
    """x + conv(ReLU(conv(x))), each convolution 3x3 with mirrored border and norm."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            ReflectionPad2d(1),
            WinogradConv2d(channels, channels),
            _norm(norm, channels),
            nn.ReLU(),
            ReflectionPad2d(1),
            WinogradConv2d(channels, channels),
            _norm(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def _norm(kind: str, channels: int) -> nn.Module:
    """What follows must not work in place: of an instance norm, which is a view on GPUs, that makes copies."""
    if kind == "instance":
        return InstanceNorm2d(channels)  # no affine parameters, no running statistics: no keys
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    raise ValueError(f"unknown norm {kind!r}, known are: instance, batch")


def _front(in_channels: int, ngf: int, norm: str) -> list[nn.Module]:
    return [ReflectionPad2d(3), nn.Conv2d(in_channels, ngf, 7), _norm(norm, ngf), nn.ReLU()]


def _down(channels: int, norm: str) -> list[nn.Module]:
    """Half the size, twice the channels."""
    conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
    return [conv, _norm(norm, 2 * channels), nn.ReLU()]


def _up(channels: int, norm: str, upsample: str) -> list[nn.Module]:
    """Twice the size, half the channels: three entries of the Sequential, either way."""
    if upsample == "nearest":  # colon2depth: no checkerboards in the depth
        grow: nn.Module = NearestUpConv(channels, channels // 2)
    elif upsample == "transposed":  # pix2pixHD
        grow = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
    else:
        raise ValueError(f"unknown upsample {upsample!r}, known are: nearest, transposed")
    return [grow, _norm(norm, channels // 2), nn.ReLU()]


def _tail(ngf: int, out_channels: int) -> list[nn.Module]:
    return [ReflectionPad2d(3), ScatterConv2d(ngf, out_channels, 7), nn.Tanh()]


def _encoder_to_decoder(
    in_channels: int, ngf: int, n_downsample: int, n_blocks: int, norm: str, upsample: str
) -> list[nn.Module]:
    """The global generator up to its last features (B, ngf, H, W)."""
    layers = _front(in_channels, ngf, norm)
    for level in range(n_downsample):
        layers += _down(ngf * 2**level, norm)
    layers += [ResnetBlock(ngf * 2**n_downsample, norm) for _ in range(n_blocks)]
    for level in reversed(range(n_downsample)):
        layers += _up(ngf * 2 ** (level + 1), norm, upsample)
    return layers


def _half_size(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def _init_weights(module: nn.Module) -> None:
    """N(0, 0.02) for convolutions, N(1, 0.02) for batch norm."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, INIT_STD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, INIT_STD)
        nn.init.zeros_(module.bias)


class GlobalGenerator(nn.Module):
    """Image to depth: encoder, residual blocks, decoder, tanh.

    Args:
        in_channels, out_channels: of the image and the depth.
        ngf: channels at full size; they double at each of the ``n_downsample`` levels.
        n_blocks: residual blocks at the coarsest level.
        norm: ``instance`` or ``batch``.
        upsample: ``nearest`` (colon2depth) or ``transposed`` (pix2pixHD).

    ``size_multiple``: sides of other sizes come out rounded up to it; ``util.padding`` pads and crops.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        ngf: int = 64,
        n_downsample: int = 4,
        n_blocks: int = 9,
        norm: str = "instance",
        upsample: str = "nearest",
    ) -> None:
        super().__init__()
        self.size_multiple = 2**n_downsample
        self.recompute = False  # True: less memory, more time (``run_layers``)
        features = _encoder_to_decoder(in_channels, ngf, n_downsample, n_blocks, norm, upsample)
        self.model = nn.Sequential(*features, *_tail(ngf, out_channels))
        self.apply(_init_weights)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [-1, 1] to (B, out_channels, H, W) in [-1, 1]."""
        return run_layers(self.model, images, recompute=self.recompute)


class LocalEnhancer(nn.Module):
    """pix2pixHD's coarse-to-fine generator: a global one at reduced size, ``n_local`` enhancers on its last features.

    Enhancer n = 1..n_local works at 2^(n - n_local) of the size with ngf * 2^(n_local - n) channels:

        features_n = tail_n(front_n(image_n) + features_(n-1)),    features_0 = global generator without its last layers

    ``model``, ``model<n>_1`` (front) and ``model<n>_2`` (tail) are the published names. Arguments as for
    ``GlobalGenerator``; ``ngf`` is that of the finest enhancer.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        ngf: int = 32,
        n_downsample: int = 4,
        n_blocks_global: int = 9,
        n_local: int = 1,
        n_blocks_local: int = 3,
        norm: str = "instance",
        upsample: str = "nearest",
    ) -> None:
        super().__init__()
        self.size_multiple = 2 ** (n_downsample + n_local)
        self.n_local = n_local
        self.recompute = False  # as for ``GlobalGenerator``
        width = ngf * 2**n_local
        self.model = nn.Sequential(
            *_encoder_to_decoder(in_channels, width, n_downsample, n_blocks_global, norm, upsample)
        )
        for n in range(1, n_local + 1):
            width = ngf * 2 ** (n_local - n)
            blocks = [ResnetBlock(2 * width, norm) for _ in range(n_blocks_local)]
            last = _tail(ngf, out_channels) if n == n_local else []
            self.add_module(f"model{n}_1", nn.Sequential(*_front(in_channels, width, norm), *_down(width, norm)))
            self.add_module(f"model{n}_2", nn.Sequential(*blocks, *_up(2 * width, norm, upsample), *last))
        self.apply(_init_weights)

    def enhancer_parameters(self) -> list[nn.Parameter]:
        """Those of the finest enhancer, which is trained alone while the coarser part is held."""
        prefix = f"model{self.n_local}_"
        return [parameter for name, parameter in self.named_parameters() if name.startswith(prefix)]

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [-1, 1] to (B, out_channels, H, W) in [-1, 1].

        Raises:
            ValueError: H or W is no multiple of ``size_multiple``; ``util.padding.pad_to_multiple`` makes it one.
        """
        if any(side % self.size_multiple for side in images.shape[-2:]):
            size = tuple(images.shape[-2:])
            raise ValueError(f"sides must be multiples of {self.size_multiple}, got {size}; pad_to_multiple pads them")
        pyramid = [images]  # finest first
        for _ in range(self.n_local):
            pyramid.append(_half_size(pyramid[-1]))
        features = run_layers(self.model, pyramid[-1], recompute=self.recompute)
        for n in range(1, self.n_local + 1):
            front, tail = self.get_submodule(f"model{n}_1"), self.get_submodule(f"model{n}_2")
            fine = run_layers(front, pyramid[self.n_local - n], recompute=self.recompute)
            features = run_layers(tail, fine + features, recompute=self.recompute)
        return features


class MultiscaleDiscriminator(nn.Module):
    """``num_D`` PatchGANs; copy k sees the input average-pooled k times.

    ``scale<i>_layer<j>`` are the published names: i = num_D - 1 is the copy at full size, i = 0 the coarsest.
    """

    def __init__(
        self, in_channels: int = 4, ndf: int = 64, n_layers: int = 3, num_D: int = 2, norm: str = "instance"
    ) -> None:
        super().__init__()
        self.n_layers, self.num_D = n_layers, num_D
        for i in range(num_D):
            for j, layer in enumerate(_patch_layers(in_channels, ndf, n_layers, norm)):
                self.add_module(f"scale{i}_layer{j}", layer)
        self.apply(_init_weights)

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """(B, in_channels, H, W), image channels first, to the feature maps of each scale.

        Returns:
            A list over scales, finest first, of n_layers + 2 maps, the last one being the prediction (B, 1, h, w).
        """
        outputs = []
        for i in reversed(range(self.num_D)):
            maps = [images]
            for j in range(self.n_layers + 2):
                maps.append(self.get_submodule(f"scale{i}_layer{j}")(maps[-1]))
            outputs.append(maps[1:])
            if i > 0:
                images = _half_size(images)
        return outputs


def _patch_layers(in_channels: int, ndf: int, n_layers: int, norm: str) -> list[nn.Sequential]:
    """Convolutions 4x4 with padding 2: n_layers of stride 2, two of stride 1; norm from the second on, but the last."""
    widths = [min(ndf * 2**j, MAX_CHANNELS_D) for j in range(n_layers + 1)]
    first = nn.Conv2d(in_channels, ndf, 4, stride=2, padding=2)
    layers = [nn.Sequential(first, nn.LeakyReLU(LEAK))]
    for j in range(1, n_layers + 1):
        conv = nn.Conv2d(widths[j - 1], widths[j], 4, stride=2 if j < n_layers else 1, padding=2)
        layers.append(nn.Sequential(conv, _norm(norm, widths[j]), nn.LeakyReLU(LEAK)))
    return [*layers, nn.Sequential(nn.Conv2d(widths[-1], 1, 4, padding=2))]
