"""The pinhole camera: pixels and depth to points, points to pixels, and one frame seen from another's camera.

Camera axes: x right, y down, z forward. Depth is z, not the length of the ray [mm]. ``K`` is (B, 3, 3) [px] without
skew, for pixel centres at integers; each image of a batch may have its own. All is computed in at least float32, and
without matrix products, which automatic mixed precision and TF32 would cut to 8 or 11 bits.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.geometry.flow import inside_image, pixel_grid, warp
from models.geometry.motion import compose, inverse_motion, motion_from_rotation

MIN_Z_MM = 1e-3  # a point nearer than this, or behind, is not seen
ROUNDING_PX = 1e-3  # of K^-1 and K in float32; without it a camera at rest would lose some of its border
UNSEEN_PX = -1e4  # where such a point is put: outside every image, yet finite


def backproject(depth: Tensor, K: Tensor) -> Tensor:
    """Points in camera coordinates, one a pixel.

        X(p) = depth(p) K^-1 (x, y, 1)

    Args:
        depth: [mm], (B, 1, H, W).
        K: (B, 3, 3) [px].

    Returns:
        (B, 3, H, W) [mm]; depth 0 gives the camera's centre.
    """
    _check_batch("depth", depth, 1, "K", K, 3)
    depth = _exact(depth)
    x, y = pixel_grid(*depth.shape[-2:], device=depth.device, dtype=depth.dtype)
    fx, fy, cx, cy = _pinhole(K.to(depth.dtype), depth.ndim - 1)  # (B, 1, 1)
    rays = torch.stack(torch.broadcast_tensors((x - cx) / fx, (y - cy) / fy, torch.ones_like(x)), dim=1)
    return depth * rays


def project(points: Tensor, K: Tensor) -> Tensor:
    """Pixels of points in camera coordinates.

        (x, y) = (fx X / Z + cx, fy Y / Z + cy)

    Points with Z below ``MIN_Z_MM`` are set to ``UNSEEN_PX``, outside every image, and get no gradient. The depth of
    the others is ``points[:, 2:3]``.

    Args:
        points: [mm], (B, 3, H, W) or (B, 3, N).
        K: (B, 3, 3) [px].

    Returns:
        (B, 2, H, W) or (B, 2, N), (x, y) [px].
    """
    _check_batch("points", points, 3, "K", K, 3)
    X, Y, Z = _exact(points).unbind(1)
    fx, fy, cx, cy = _pinhole(K.to(Z.dtype), Z.ndim)
    seen = Z >= MIN_Z_MM
    Z = torch.where(seen, Z, 1.0)  # before the division: masking afterwards would leave nan in the backward pass
    pixels = torch.stack((fx * X / Z + cx, fy * Y / Z + cy), dim=1)
    return torch.where(seen[:, None], pixels, UNSEEN_PX)


def transform(points: Tensor, dst_from_src: Tensor) -> Tensor:
    """Points (B, 3, H, W) or (B, 3, N) [mm] moved by a rigid motion (B, 4, 4):  R X + t."""
    _check_batch("points", points, 3, "dst_from_src", dst_from_src, 4)
    columns = dst_from_src.to(_exact(points).dtype).unbind(2)  # r1, r2, r3, t of  x r1 + y r2 + z r3 + t
    r1, r2, r3, t = (column[:, :3].reshape(-1, 3, *[1] * (points.ndim - 2)) for column in columns)
    x, y, z = _exact(points).split(1, dim=1)
    return x * r1 + y * r2 + z * r3 + t


def relative_pose(world_from_src: Tensor, world_from_tgt: Tensor) -> Tensor:
    """``src_from_tgt`` (..., 4, 4) from two poses (camera to world, [mm]):  world_from_src^-1 world_from_tgt."""
    return compose(inverse_motion(world_from_src), world_from_tgt)


def flow_from_depth(depth_src: Tensor, K: Tensor, tgt_from_src: Tensor) -> Tensor:
    """Flow that the camera's motion gives a rigid scene.

        flow(p) = project(tgt_from_src backproject(depth_src)(p)) - p

    Args:
        depth_src: [mm], of the frame whose pixel grid the flow has, (B, 1, H, W).
        K: of both frames, (B, 3, 3) [px].
        tgt_from_src: points of the source camera to the target camera, (B, 4, 4), translation in mm.

    Returns:
        (B, 2, H, W) [px], source to target; points out of the target camera's sight lead outside the image.
    """
    pixels = project(transform(backproject(depth_src, K), tgt_from_src), K)
    return pixels - pixel_grid(*pixels.shape[-2:], device=pixels.device, dtype=pixels.dtype)


def inverse_warp(
    img_src: Tensor, depth_tgt: Tensor, src_from_tgt: Tensor, K: Tensor, padding: str = "border"
) -> tuple[Tensor, Tensor]:
    """The source frame as the target camera would see it: each target pixel is looked up in the source.

        out(p) = img_src(project(src_from_tgt backproject(depth_tgt)(p)))

    Args:
        img_src: frame that is sampled, (B, C, H, W).
        depth_tgt: of the frame whose pixel grid the result has [mm], (B, 1, H, W), 0 = invalid.
        src_from_tgt: points of the target camera to the source camera, (B, 4, 4), translation in mm.
        K: of both frames, (B, 3, 3) [px].
        padding: as ``warp``.

    Returns:
        The warped frame (B, C, H, W), and bool (B, 1, H, W): True where depth is valid and the point lies before the
        source camera and inside its image. Occlusion is not tested.
    """
    flow = flow_from_depth(depth_tgt, K, src_from_tgt)
    return warp(img_src, flow, padding), inside_image(flow, ROUNDING_PX) & (depth_tgt > 0)


class View(NamedTuple):
    """The source frame and its depth as the target camera sees them, on the target's pixel grid."""

    image: Tensor  # (B, C, H, W)
    depth_projected: Tensor  # what the source's depth map says at the place that a point goes to, (B, 1, H, W)
    depth_computed: Tensor  # how far from the source camera the point is by the target's depth and the motion
    mask: Tensor  # bool: before the source camera and inside its image


def synthesize_view(img_src: Tensor, depth_src: Tensor, depth_tgt: Tensor, src_from_tgt: Tensor, K: Tensor) -> View:
    """``inverse_warp`` of a frame together with its depth; where both depths are right, they agree.

        X = src_from_tgt backproject(depth_tgt)(p)
        image = img_src(project(X)),    depth_projected = depth_src(project(X)),    depth_computed = X_z

    The two depths are compared by the geometry consistency of SC-Depth (Bian et al., IJCV 2021, eq. 4).

    Args:
        img_src: whatever lies on the source's grid, (B, C, H, W).
        depth_src, depth_tgt: of both frames in one unit, > 0, (B, 1, H, W).
        src_from_tgt: points of the target camera to the source camera, (B, 4, 4), translation in that unit.
        K: of both frames, (B, 3, 3) [px].
    """
    points = transform(backproject(depth_tgt, K), src_from_tgt)
    pixels = project(points, K)
    flow = pixels - pixel_grid(*pixels.shape[-2:], device=pixels.device, dtype=pixels.dtype)
    sampled = warp(torch.cat((img_src.to(flow.dtype), depth_src.to(flow.dtype)), dim=1), flow)
    return View(sampled[:, :-1], sampled[:, -1:], points[:, 2:3], inside_image(flow, ROUNDING_PX) & (depth_tgt > 0))


def rotation_warp(img_src: Tensor, rotation: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """The source frame as a camera at the same place sees it that is turned: no depth is needed.

        out(p) = img_src(K R K^-1 p)

    Args:
        img_src: (B, C, H, W).
        rotation: R, points of the turned camera to the source camera, (B, 3, 3).
        K: of both frames, (B, 3, 3) [px].

    Returns:
        As ``inverse_warp``.
    """
    anywhere = img_src.new_ones(img_src.shape[0], 1, *img_src.shape[-2:])
    return inverse_warp(img_src, anywhere, motion_from_rotation(rotation), K)


def _pinhole(K: Tensor, ndim: int) -> tuple[Tensor, ...]:
    """fx, fy, cx, cy, each (B, 1, ...) of ``ndim`` dimensions."""
    shape = (-1, *[1] * (ndim - 1))
    return tuple(K[:, row, column].view(shape) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))


def _exact(x: Tensor) -> Tensor:
    """At least float32: half precision has no fractions of a pixel beyond 1024."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_batch(name: str, x: Tensor, channels: int, matrix_name: str, matrix: Tensor, side: int) -> None:
    if x.ndim < 3 or x.shape[1] != channels:
        raise ValueError(f"{name} must be (B, {channels}, ...), got {tuple(x.shape)}")
    if matrix.shape != (x.shape[0], side, side):
        raise ValueError(f"{matrix_name} must be ({x.shape[0]}, {side}, {side}), got {tuple(matrix.shape)}")
