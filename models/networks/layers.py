"""Layers of convolutional networks that keep the weights' names of PyTorch's own ones, but compute better.

``InstanceNorm2d`` and ``Float32Conv2d`` keep in float32 what mixed precision would spoil, ``ReflectionPad2d`` keeps low
precision where autocast would leave it for nothing, and ``NearestUpConv`` needs fewer multiplications.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MIN_SUBPIXEL_PIXELS = 256  # with fewer, summing the weights costs more than the multiplications that it saves
LOW_PRECISION = (torch.bfloat16, torch.float16)

# A nearest neighbour stands twice in the enlarged image, so that of a 3-tap kernel (a, b, c) two taps meet the same
# pixel: (a + b, c) at odd and (a, b + c) at even places. [tap of 3, place (odd, even), tap of 2]
TAPS = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])


class InstanceNorm2d(nn.InstanceNorm2d):
    """(x - mean) / sqrt(var + eps) an image and channel; mean and variance in float32 whatever ``x`` is."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype not in LOW_PRECISION:
            return super().forward(x)
        # Batch norm of one image with B * C channels: given float32 weights it keeps its statistics in float32.
        B, C, H, W = x.shape
        ones, zeros = (x.new_full((B * C,), value, dtype=torch.float32) for value in (1.0, 0.0))
        flat = x.reshape(1, B * C, H, W)
        return F.batch_norm(flat, None, None, ones, zeros, training=True, eps=self.eps).view(B, C, H, W)


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
        places = F.conv2d(padded, weight, conv.bias.repeat_interleave(4))  # (B, 4 out, H + 1, W + 1)
        return F.pixel_shuffle(places, 2)[..., 1:-1, 1:-1]


def _repeat_border(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, H + 2, W + 2)."""
    if not torch.compiler.is_compiling():
        return F.pad(x, (1, 1, 1, 1), mode="replicate")
    # torch.compile fails on the backward pass of that padding on the CPU (PyTorch 2.15).
    rows = torch.cat((x[..., :1, :], x, x[..., -1:, :]), dim=-2)
    return torch.cat((rows[..., :1], rows, rows[..., -1:]), dim=-1)


def subpixel_weight(weight: Tensor, taps: Tensor) -> Tensor:
    """3x3 kernels (O, I, 3, 3) to the 2x2 kernels (4 O, I, 2, 2) of the four places of an output pixel.

    Their order, and odd before even, is such that ``pixel_shuffle`` of the outputs at the (H + 1) x (W + 1) corners of
    the pixels shows the enlarged image with one pixel more around it. ``taps`` is (9, 4, 4): tap of 3x3, place, tap of
    2x2.
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
