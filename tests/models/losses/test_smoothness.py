"""Edge-aware smoothness: by hand, whatever the scale, and only where depth counts."""

import math

import pytest
import torch

from models.losses.smoothness import edge_aware_smoothness

DOUBLE = torch.float64
B, H, W = 2, 5, 6
ALL = torch.ones(B, 1, H, W, dtype=torch.bool)


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    depth = torch.rand(B, 1, H, W, dtype=DOUBLE, generator=generator) + 0.5
    return depth, torch.randn(B, 3, H, W, dtype=DOUBLE, generator=generator)


def test_value_by_hand():
    # Mean depth 2, so the slope of 2 a column becomes 1; the image steps by 0.6 in one of three channels at column 1.
    depth = torch.tensor([[1.0, 3.0], [1.0, 3.0]]).view(1, 1, 2, 2)
    image = torch.zeros(1, 3, 2, 2)
    image[:, 0, :, 1] = 0.6
    mask = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert edge_aware_smoothness(depth, image, mask).item() == pytest.approx(math.exp(-0.2))


def test_flat_depth_costs_nothing_and_a_factor_changes_nothing():
    depth, image = inputs()
    assert edge_aware_smoothness(torch.full_like(depth, 3.0), image, ALL) == 0
    torch.testing.assert_close(edge_aware_smoothness(9 * depth, image, ALL), edge_aware_smoothness(depth, image, ALL))


def test_masked_pixels_leak_nothing():
    depth, image = inputs()
    mask = ALL.clone()
    mask[:, :, 1:3, 2:4] = False
    spoiled = torch.where(mask, depth, torch.nan).requires_grad_()
    loss = edge_aware_smoothness(spoiled, torch.where(mask, image, torch.nan), mask)
    other = torch.where(mask, depth, 100.0)
    torch.testing.assert_close(loss, edge_aware_smoothness(other, torch.where(mask, image, 7.0), mask))
    loss.backward()
    assert spoiled.grad.isfinite().all()
    assert not spoiled.grad[~mask].any()


def test_nothing_valid_gives_zero_with_zero_gradient():
    depth, image = inputs()
    depth.requires_grad_()
    loss = edge_aware_smoothness(depth, image, ~ALL)
    loss.backward()
    assert loss == 0
    assert not depth.grad.any()


def test_gradients_are_those_of_finite_differences():
    depth, image = inputs()
    mask = torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(1)) > 0.2
    assert torch.autograd.gradcheck(lambda d: edge_aware_smoothness(d, image, mask), (depth.requires_grad_(),))


def test_wrong_shapes_are_an_error():
    depth, image = inputs()
    with pytest.raises(ValueError, match="must be"):
        edge_aware_smoothness(depth, image[..., :-1], ALL)
