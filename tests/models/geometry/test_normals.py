"""Normals: planes have theirs up to the border, a factor changes nothing."""

import math

import pytest
import torch

from models.geometry.normals import normals_from_depth, sobel_gradients, surrounded

DOUBLE = torch.float64
B, H, W = 2, 7, 9
K = torch.tensor([[[8.0, 0, 3], [0, 6, 2], [0, 0, 1]], [[10.0, 0, 5], [0, 12, 3], [0, 0, 1]]], dtype=DOUBLE)


def plane(normal, distance=30.0):
    """Depth of the plane n . X = distance, as each of the two cameras sees it: (B, 1, H, W)."""
    y, x = torch.meshgrid(torch.arange(H, dtype=DOUBLE), torch.arange(W, dtype=DOUBLE), indexing="ij")
    rays = torch.stack([torch.stack(((x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], torch.ones_like(x))) for k in K])
    return distance / (rays * torch.tensor(normal, dtype=DOUBLE).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.6, 0.0, 0.8), (0.0, -0.6, 0.8), (0.1, 0.2, math.sqrt(0.95))])
def test_a_plane_has_its_normal_up_to_the_border(normal):
    expected = torch.tensor(normal, dtype=DOUBLE).view(1, 3, 1, 1).expand(B, 3, H, W)
    torch.testing.assert_close(normals_from_depth(plane(normal), K), expected)


def test_a_factor_on_the_depth_changes_nothing_but_an_offset_does():
    depth = torch.rand(B, 1, H, W, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) + 1
    normals = normals_from_depth(depth, K)
    torch.testing.assert_close(normals_from_depth(7 * depth, K), normals)
    assert (normals_from_depth(depth + 0.5, K) - normals).abs().mean() > 0.01


@pytest.mark.parametrize("distance", [1e-4, 30.0, 1e4])
def test_no_depth_is_too_small_or_large_in_float32(distance):
    camera = K.float() * torch.tensor([100.0, 100, 1]).view(1, 3, 1)  # as many pixels as large frames have
    normals = normals_from_depth(torch.full((B, 1, H, W), distance), camera)
    assert (normals[:, 2] > 0.999).all()


def test_gradients_are_those_of_a_slope_and_a_pixel_wide():
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    along_x, along_y = sobel_gradients((3 * x - 2 * y)[None, None])
    assert torch.allclose(along_x[..., 1:-1], torch.tensor(3.0))
    assert torch.allclose(along_y[..., 1:-1, :], torch.tensor(-2.0))


def test_normals_are_differentiable():
    depth = (torch.rand(1, 1, 4, 5, dtype=DOUBLE) + 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: normals_from_depth(d, K[:1]), (depth,))


def test_normals_are_exact_under_autocast():
    depth = plane((0.6, 0.0, 0.8)).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(normals_from_depth(depth, K.float()), normals_from_depth(depth, K.float()))
        assert normals_from_depth(depth, K.float())[:, 0].sub(0.6).abs().max() < 1e-4


def test_surrounded_pixels_have_all_their_neighbours():
    mask = torch.ones(1, 1, 5, 6, dtype=torch.bool)
    mask[..., 0, 0] = False
    expected = mask.clone()
    expected[..., :2, :2] = False
    assert torch.equal(surrounded(mask), expected)
