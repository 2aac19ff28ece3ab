"""3x3 convolutions with fewer multiplications.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016).

The output is cut into 2x2 tiles. What such a tile needs, 4x4 pixels d of the input, and the kernel g are transformed,

    V = B^T d B,    U = G g G^T        (both 4x4)

so that the tile is A^T (U * V) A: 16 multiplications for a tile, an input and an output channel, where there were 36.
Over all tiles they are 16 matrix products. Going backward, such products give the gradients of V and U, at the same
saving. The transforms add, subtract and halve, so the result is that of the convolution to rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# One-dimensional transforms of kernels and outputs, F(2, 3) of the paper; that of the input is ``_patch_lines``.
G = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
A_T = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]])

# With fewer, the transforms cost more than the multiplications that they save, forward and backward (2 CPU cores).
MIN_CHANNELS = 256
MIN_TILES = 64


class WinogradConv2d(nn.Conv2d):
    """3x3 convolution without border: ``nn.Conv2d`` in its parameters, its keys and, to rounding, its result.

    Winograd's algorithm computes it on the CPU in full precision, where the library convolves directly, if there is
    enough to save. In low precision the transforms would cost accuracy, and on GPUs cuDNN chooses by itself.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H + 2, W + 2) to (B, out_channels, H, W)."""
        height, width = x.shape[2] - 2, x.shape[3] - 2
        if not self._pays(x, tiles=len(x) * (height // 2) * (width // 2)):
            return super().forward(x)
        even = F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
        return _Winograd.apply(even, self.weight)[..., :height, :width] + self.bias[:, None, None]

    def _pays(self, x: Tensor, tiles: int) -> bool:
        """torch.compile is better off with a convolution, which it knows."""
        full = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
        if x.device.type != "cpu" or not full or torch.compiler.is_compiling():
            return False
        return tiles >= MIN_TILES and min(self.weight.shape[:2]) >= MIN_CHANNELS


class _Winograd(torch.autograd.Function):
    """(B, I, H + 2, W + 2) with even sides and kernels (O, I, 3, 3) to (B, O, H, W).

    It keeps what a convolution keeps: U and V are larger than kernel and input, and quickly made again.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN001
        ctx.save_for_backward(x, weight)
        B, _, H, W = x.shape
        outputs = len(weight)
        products = torch.bmm(_transform_kernels(weight), _transform_patches(x))
        tiles = (_both_ways(A_T, x) @ products.flatten(1)).view(2, 2, outputs, B, H // 2 - 1, W // 2 - 1)
        return tiles.permute(3, 2, 4, 0, 5, 1).reshape(B, outputs, H - 2, W - 2)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # noqa: ANN001
        x, weight = ctx.saved_tensors
        B, outputs, H, W = grad.shape
        tiles = grad.reshape(B, outputs, H // 2, 2, W // 2, 2).permute(3, 5, 1, 0, 2, 4)
        grad_products = (_both_ways(A_T, x).T @ tiles.reshape(4, -1)).view(16, outputs, -1)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_patches = torch.bmm(_transform_kernels(weight).transpose(1, 2), grad_products)
            patches = grad_patches.view(4, 4, -1, B, H // 2, W // 2)
            grad_x = _spread_lines(_spread_lines(patches, dim=3), dim=3).transpose(0, 1)
        if ctx.needs_input_grad[1]:
            grad_kernels = torch.bmm(grad_products, _transform_patches(x).transpose(1, 2))
            grad_weight = (_both_ways(G, x).T @ grad_kernels.flatten(1)).T.reshape(weight.shape)
        return grad_x, grad_weight


def _transform_kernels(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) to U: (16, O, I)."""
    return (_both_ways(G, weight) @ weight.flatten(2).flatten(0, 1).T).view(16, *weight.shape[:2])


def _transform_patches(x: Tensor) -> Tensor:
    """(B, I, H + 2, W + 2) to V: (16, I, B * H / 2 * W / 2)."""
    columns = _patch_lines(x.transpose(0, 1), dim=3)
    return _patch_lines(columns, dim=3).flatten(3).flatten(0, 1)


def _patch_lines(x: Tensor, dim: int) -> Tensor:
    """B^T along ``dim`` (n + 2 of x, n / 2 of the result), for patches that begin at every second place; (4, ...)."""
    a, b, c, d = (_every_second(x, dim, first) for first in range(4))
    return torch.stack((a - c, b + c, c - b, b - d))


def _spread_lines(patches: Tensor, dim: int) -> Tensor:
    """The adjoint of ``_patch_lines``: (4, ...) to sums over the patches that a place is in."""
    shape = list(patches.shape[1:])
    shape[dim] = 2 * shape[dim] + 2
    x = patches.new_zeros(shape)
    a, b, c, d = (_every_second(x, dim, first) for first in range(4))
    a.copy_(patches[0])
    b.copy_(patches[1]).sub_(patches[2]).add_(patches[3])
    c.sub_(patches[0]).add_(patches[1]).add_(patches[2])
    d.sub_(patches[3])
    return x


def _every_second(x: Tensor, dim: int, first: int) -> Tensor:
    """A view of the places first, first + 2, ... that begin a patch, or are the same one of each patch."""
    return x[(slice(None),) * dim + (slice(first, x.shape[dim] - 3 + first, 2),)]


def _both_ways(transform: Tensor, like: Tensor) -> Tensor:
    """A transform of lines as one of flattened squares, in the type of ``like``."""
    return torch.kron(transform, transform).to(like)
