"""Layers of convolutional networks that keep the weights' names of PyTorch's own ones, but compute better.

``InstanceNorm2d`` and ``Float32Conv2d`` keep in float32 what mixed precision would spoil, ``ReflectionPad2d`` keeps low
precision where autocast would leave it for nothing, ``ScatterConv2d`` suits the processor better, and ``NearestUpConv``
needs fewer multiplications, like ``models.networks.winograd``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MIN_SUBPIXEL_PIXELS = 256  # with fewer, summing the weights costs more than the multiplications that it saves
MIN_CHANNELS_PER_OUTPUT = 32  # with fewer, ``ScatterConv2d`` gains little, and what is given takes more memory
LOW_PRECISION = (torch.bfloat16, torch.float16)

# A nearest neighbour stands twice in the enlarged image, so that of a 3-tap kernel (a, b, c) two taps meet the same
# pixel: (a + b, c) at odd and (a, b + c) at even places. [tap of 3, place (odd, even), tap of 2]
TAPS = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])


class InstanceNorm2d(nn.InstanceNorm2d):
    """(x - mean) / sqrt(var + eps) an image and channel; mean and variance in float32 whatever ``x`` is."""

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            return self._as_group_norm(x)
        return self._as_batch_norm(x) if x.dtype in LOW_PRECISION else super().forward(x)

    def _as_group_norm(self, x: Tensor) -> Tensor:
        """With a channel a group; faster there, with statistics in the type of the weights."""
        channels = x.shape[1]
        weights = _ones_and_zeros(x, channels) if x.dtype in LOW_PRECISION else (None, None)
        # Of another layout the variance would be made of squares, and lose its digits beside a large mean.
        return F.group_norm(x.contiguous(), channels, *weights, self.eps)

    def _as_batch_norm(self, x: Tensor) -> Tensor:
        """Of one image with B * C channels: with float32 weights its statistics are float32 on GPUs too."""
        B, C, H, W = x.shape
        flat = x.reshape(1, B * C, H, W)
        return F.batch_norm(flat, None, None, *_ones_and_zeros(x, B * C), training=True, eps=self.eps).view(B, C, H, W)


def _ones_and_zeros(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Weights of a norm that change nothing, (count,) float32."""
    return x.new_ones(count, dtype=torch.float32), x.new_zeros(count, dtype=torch.float32)


class ReflectionPad2d(nn.ReflectionPad2d):
    """Mirrored border in the precision of ``x``; autocast on the CPU would go through float32 and back."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class Float32Conv2d(nn.Conv2d):
    """Convolution in float32 under autocast: for outputs of which 8 bits are not enough, like depth."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float() if x.dtype in LOW_PRECISION else x)


class ScatterConv2d(Float32Conv2d):
    """Convolution without border whose few outputs are summed up from what each pixel of the input gives to each.

    A direct convolution works on blocks of output channels, most of which is idle when there is one. What the pixels
    give is a 1x1 convolution with an output for each place of the kernel, of which there are many. Used on the CPU.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H + k - 1, W + k - 1) to (B, out_channels, H, W)."""
        outputs, inputs, k = self.weight.shape[:3]
        height, width = x.shape[2:]
        # torch.compile makes single additions of ``fold``.
        direct = x.device.type != "cpu" or torch.compiler.is_compiling()
        if direct or inputs < MIN_CHANNELS_PER_OUTPUT * outputs:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            x = x.float() if x.dtype in LOW_PRECISION else x
            # A pixel gives to the outputs up and left of it, so the kernel is turned around for ``fold``.
            to_places = self.weight.flip(2, 3).permute(0, 2, 3, 1).reshape(outputs * k * k, inputs, 1, 1)
            given = F.conv2d(x, to_places).flatten(2)
            whole = F.fold(given, (height + k - 1, width + k - 1), k)
            return whole[..., k - 1 : height, k - 1 : width] + self.bias[:, None, None]


class NearestUpConv(nn.Sequential):
    """Nearest upsampling x2, mirrored border, 3x3 convolution; the weights are those of its entry ``2``.

    At 256 pixels and more it is computed as what it equals: four 2x2 convolutions, one for each place of an output
    pixel within its input pixel, on the input with repeated border, interleaved by a pixel shuffle. That takes 16
    multiplications an input pixel instead of 36 (Shi et al., CVPR 2016, explain the sub-pixel view).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        upsample = nn.Upsample(scale_factor=2, mode="nearest")
        super().__init__(upsample, ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, 3))
        # A buffer, so that it is on the device already; not in the state dict, whose keys are the published ones.
        self.register_buffer("taps", torch.einsum("kpt,lqs->klpqts", TAPS, TAPS).reshape(9, 4, 4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, 2 H, 2 W)."""
        if x.shape[0] * x.shape[2] * x.shape[3] < MIN_SUBPIXEL_PIXELS:
            return super().forward(x)
        conv = self[2]
        with torch.autocast(x.device.type, enabled=False):
            # What mirroring the enlarged image shows beyond the border is the border pixel again.
            padded = _repeat_border(x)
            weight = subpixel_weight(conv.weight, self.taps)
        return _Interleave.apply(F.conv2d(padded, weight, conv.bias.repeat_interleave(4)))


def _repeat_border(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, H + 2, W + 2)."""
    if not torch.compiler.is_compiling():
        return F.pad(x, (1, 1, 1, 1), mode="replicate")
    # torch.compile fails on the backward pass of that padding on the CPU (PyTorch 2.15).
    rows = torch.cat((x[..., :1, :], x, x[..., -1:, :]), dim=-2)
    return torch.cat((rows[..., :1], rows, rows[..., -1:]), dim=-1)


class _Interleave(torch.autograd.Function):
    """Outputs of the four kernels at all corners of pixels, (B, 4 C, H + 1, W + 1), to the image (B, C, 2 H, 2 W).

    That is a pixel shuffle without its outermost pixels, in one pass each way.
    """

    @staticmethod
    def forward(ctx, corners: Tensor) -> Tensor:  # noqa: ANN001
        B, channels, H, W = corners.shape
        image = corners.new_empty(B, channels // 4, 2 * (H - 1), 2 * (W - 1))
        for place, corner in _places(image, corners):
            place.copy_(corner)
        return image

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # noqa: ANN001
        B, channels, H, W = grad.shape
        corners = grad.new_zeros(B, 4 * channels, H // 2 + 1, W // 2 + 1)
        for place, corner in _places(grad, corners):
            corner.copy_(place)
        return corners


def _places(image: Tensor, corners: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Views of the pixels with odd or even rows and columns, and of what the kernel for them gives."""
    of_kernel = corners.unflatten(1, (-1, 2, 2))  # (B, C, row, column, H + 1, W + 1), odd first
    H, W = corners.shape[2] - 1, corners.shape[3] - 1
    for row in (0, 1):
        for column in (0, 1):
            # An even pixel lies at the corner before its input pixel, an odd one at the corner after it.
            yield (
                image[..., row::2, column::2],
                of_kernel[:, :, 1 - row, 1 - column, row : row + H, column : column + W],
            )


def subpixel_weight(weight: Tensor, taps: Tensor) -> Tensor:
    """3x3 kernels (O, I, 3, 3) to the 2x2 kernels (4 O, I, 2, 2) of the four places of an output pixel.

    Their order is odd before even, in rows and then in columns. ``taps`` is (9, 4, 4): tap of 3x3, place, tap of 2x2.
    """
    out_channels, in_channels = weight.shape[:2]
    kernels = torch.einsum("oik,kpt->opit", weight.reshape(out_channels, in_channels, 9), taps.to(weight.dtype))
    return kernels.reshape(4 * out_channels, in_channels, 2, 2)


def run_layers(layers: nn.Sequential, x: Tensor, *, recompute: bool) -> Tensor:
    """``layers(x)``; with ``recompute`` what a stage computes within is not kept, but computed again going backward.

    A stage ends with a ReLU, a residual block or the last layer.
    """
    if not (recompute and torch.is_grad_enabled()):
        return layers(x)
    for stage in _stages(layers):
        norms = [layer for layer in stage.modules() if isinstance(layer, nn.BatchNorm2d)]
        contexts = {"context_fn": partial(_contexts, norms)} if norms else {}
        x = checkpoint(stage, x, use_reentrant=False, **contexts)
    return x


def _contexts(norms: list[nn.BatchNorm2d]) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Around a stage going forward, and when it is computed again."""
    return nullcontext(), _statistics_stay(norms)


@contextmanager
def _statistics_stay(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    """Running statistics have seen the batch going forward; the second time would count it twice."""
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _stages(layers: nn.Sequential) -> list[nn.Sequential]:
    within = (nn.Conv2d, nn.ConvTranspose2d, nn.ReflectionPad2d, nn.InstanceNorm2d, nn.BatchNorm2d, NearestUpConv)
    stages: list[list[nn.Module]] = [[]]
    for layer in layers:
        stages[-1].append(layer)
        if not isinstance(layer, within):
            stages.append([])
    return [nn.Sequential(*stage) for stage in stages if stage]
