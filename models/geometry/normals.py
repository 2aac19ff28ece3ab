"""Surface normals from a depth map."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.geometry.camera import backproject

TINY = 1e-8  # depth, in any unit
SOBEL_SUM = 8.0  # what a slope of 1 a pixel gives


def normals_from_depth(depth: Tensor, K: Tensor) -> Tensor:
    """Unit normals in camera coordinates, pointing away from the camera.

        n = (dX/dx x dX/dy) / |...|,    X(p) = depth(p) K^-1 (x, y, 1)

    with Sobel gradients over a border that repeats the outermost pixels; a plane has its exact normal up to the border,
    since all differences lie in it. A plane that faces the camera has (0, 0, 1). A factor on the depth changes nothing.
    Source: SC-DepthV3 (Sun et al., TPAMI 2023).

    Args:
        depth: > 0, (B, 1, H, W).
        K: (B, 3, 3) [px].

    Returns:
        (B, 3, H, W), at least float32; 0 where the points around do not span a plane.
    """
    # The steps from pixel to pixel, in units of what they are on a wall: small depths must not vanish in a square.
    unit = depth.detach().clamp(min=TINY) / K[:, 0, 0, None, None, None]
    along_x, along_y = (gradient / unit for gradient in sobel_gradients(backproject(depth, K)))
    return F.normalize(torch.linalg.cross(along_x, along_y, dim=1), dim=1, eps=1e-12)


def sobel_gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Change a pixel along x and along y of (B, C, H, W), by Sobel's kernels over 8; the outermost pixels are repeated.

    Sums and not convolutions, which mixed precision would cut to 8 bits.
    """
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    along_x, along_y = padded[..., :, 2:] - padded[..., :, :-2], padded[..., 2:, :] - padded[..., :-2, :]
    smooth_x = along_x[..., :-2, :] + 2 * along_x[..., 1:-1, :] + along_x[..., 2:, :]
    smooth_y = along_y[..., :, :-2] + 2 * along_y[..., :, 1:-1] + along_y[..., :, 2:]
    return smooth_x / SOBEL_SUM, smooth_y / SOBEL_SUM


def surrounded(mask: Tensor) -> Tensor:
    """Where a pixel and its neighbours inside the image are all in the mask, bool (B, 1, H, W)."""
    return F.max_pool2d((~mask).float(), 3, stride=1, padding=1) == 0
