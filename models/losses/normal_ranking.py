"""Across edges, the surface bends as the pseudo-depth's does (SC-DepthV3)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.geometry.normals import sobel_gradients, surrounded

MIN_DISTANCE, MAX_DISTANCE = 3, 19  # of the points from their anchor [px]
EDGE_SHARE = 0.1  # an edge is at least that strong, beside the strongest of the image
ANCHOR_SHARE = 0.05  # anchors of each kind of edge, as a share of the image's pixels
MIN_EDGE_SHARE = 0.01  # of the pixels: with fewer edges than that, anchors lie anywhere
DEPTH_EDGE = 0.1  # relative change of depth a pixel from which one surface ends before another


class Edges(NamedTuple):
    """Where edges are, and which way is across them."""

    strength: Tensor  # (B, 1, H, W)
    angle: Tensor  # of the steepest change [rad], up to half a turn


def normal_ranking_loss(
    normals: Tensor,
    normals_pseudo: Tensor,
    image: Tensor,
    pseudo: Tensor,
    mask: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Angles between normals on both sides of edges are those of the pseudo-depth.

        L = mean | |n_A . n_B| - |n*_A . n*_B| |

    over pairs of points a, b | c, d on the line across an edge, (a, b), (b, c) and (c, d): a and c lie at random
    distances of 3 to 19 pixels on either side, b and d nearer and farther. Edges are those of the image and of the
    pseudo-depth's normals, without those where one surface ends before another one.

    Source: SC-DepthV3 (Sun et al., TPAMI 2023). Different from its code: the line is across the edge for edges of any
    direction; points are in order, none is taken twice or moved into the image; what is no depth edge does not depend
    on the other images of the batch; an image with few edges gets anchors anywhere.

    Args:
        normals: of the predicted depth, (B, 3, H, W); gets gradient.
        normals_pseudo: n*, of the pseudo-depth.
        image: (B, 3, H, W).
        pseudo: the pseudo-depth > 0, (B, 1, H, W).
        mask: bool (B, 1, H, W), where all of it is known; elsewhere it may be nan.
        generator: draws the points; None is PyTorch's own, which checkpoints restore.

    Returns:
        Scalar; 0 when no pair counts.
    """
    if normals.shape != normals_pseudo.shape or not pseudo.shape == mask.shape == normals[:, :1].shape:
        shapes = [tuple(x.shape) for x in (normals, normals_pseudo, pseudo, mask)]
        raise ValueError(f"normals must be (B, 3, H, W) and pseudo and mask (B, 1, H, W), got {shapes}")
    counts = surrounded(mask)
    with torch.no_grad():
        one_surface = counts & ~_depth_edges(pseudo, mask)
        grey = torch.where(mask, image.mean(dim=1, keepdim=True), 0.0)
        bends = torch.where(mask, normals_pseudo, 0.0)
        points, inside = zip(*(_points(find_edges(x), one_surface, generator) for x in (grey, bends)), strict=True)
        points, inside = torch.cat(points, dim=2), torch.cat(inside, dim=2)  # (B, 4, N)
        counts = inside & _at(counts, points)[:, 0]
        wanted = _bending(torch.where(mask, normals_pseudo, 0.0), points)
    error = (_bending(torch.where(mask, normals, 0.0), points) - wanted).abs()
    pairs = counts[:, :-1] & counts[:, 1:]
    return torch.where(pairs, error, 0.0).sum() / pairs.sum().clamp(min=1)


def find_edges(x: Tensor) -> Edges:
    """Strength and direction of the change of all channels together, from their structure tensor.

        S = sum_c g_c g_c^T,    strength = sqrt(trace S),    angle = 1/2 atan2(2 S_xy, S_xx - S_yy)

    For one channel that is length and direction of the gradient.
    """
    g_x, g_y = sobel_gradients(x)
    xx, yy, xy = (product.sum(dim=1, keepdim=True) for product in (g_x * g_x, g_y * g_y, g_x * g_y))
    return Edges((xx + yy).sqrt(), 0.5 * torch.atan2(2 * xy, xx - yy))


def _depth_edges(pseudo: Tensor, mask: Tensor) -> Tensor:
    """Where depth jumps, and the pixels beside that: bool (B, 1, H, W)."""
    along_x, along_y = sobel_gradients(torch.where(mask, pseudo, 1.0).log())
    jumps = (along_x.square() + along_y.square()).sqrt() > DEPTH_EDGE
    return F.max_pool2d(jumps.float(), 3, stride=1, padding=1) > 0


def _points(edges: Edges, allowed: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Four points across each of many edges: their flat indices (B, 4, N), and whether they lie inside the image."""
    B, _, H, W = allowed.shape
    strength = torch.where(allowed, edges.strength, 0.0).flatten(1)
    strong = (strength >= EDGE_SHARE * strength.amax(dim=1, keepdim=True)) & (strength > 0)
    few = strong.sum(dim=1, keepdim=True) < MIN_EDGE_SHARE * H * W
    num_anchors = max(1, int(ANCHOR_SHARE * H * W))
    draw = torch.rand(6, B, num_anchors, generator=generator, device=allowed.device)
    anchors = _draw_from(torch.where(few, allowed.flatten(1), strong), draw[0])
    angle = torch.where(few, torch.pi * draw[1], edges.angle.flatten(1).gather(1, anchors))
    behind, ahead = _distances(draw[2], draw[3]), _distances(draw[4], draw[5])
    offsets = torch.stack((-behind[1], -behind[0], ahead[0], ahead[1]), dim=1)  # (B, 4, N)
    x = (anchors % W)[:, None] + (offsets * angle.cos()[:, None]).round().long()
    y = (anchors // W)[:, None] + (offsets * angle.sin()[:, None]).round().long()
    inside = (x >= 0) & (x < W) & (y >= 0) & (y < H)
    return y.clamp(0, H - 1) * W + x.clamp(0, W - 1), inside


def _draw_from(candidates: Tensor, draw: Tensor) -> Tensor:
    """Indices of candidates (B, HW), with replacement, by numbers in [0, 1) (B, N); anything where there are none."""
    listed = (~candidates).byte().argsort(dim=1, stable=True)
    last = (candidates.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    return listed.gather(1, torch.minimum((draw * (last + 1)).long(), last))  # the product may be rounded up


def _distances(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two different whole distances, the smaller one first, by two numbers in [0, 1)."""
    count = MAX_DISTANCE - MIN_DISTANCE + 1
    one, other = (first * count).floor(), (second * (count - 1)).floor()
    other = other + (other >= one)
    return torch.minimum(one, other) + MIN_DISTANCE, torch.maximum(one, other) + MIN_DISTANCE


def _bending(normals: Tensor, points: Tensor) -> Tensor:
    """|n_A . n_B| of neighbouring points (B, 4, N): (B, 3, N)."""
    found = _at(normals, points)  # (B, 3, 4, N)
    return (found[:, :, :-1] * found[:, :, 1:]).sum(dim=1).abs()


def _at(maps: Tensor, points: Tensor) -> Tensor:
    """Values of (B, C, H, W) at flat indices (B, 4, N): (B, C, 4, N)."""
    channels = maps.shape[1]
    flat = points.flatten(1)[:, None].expand(-1, channels, -1)
    return maps.flatten(2).gather(2, flat).unflatten(2, points.shape[1:])
