"""Disparity and depth are each other's reciprocal, 0 is invalid in both."""

import torch

from models.geometry.disparity import depth_from_disparity, disparity_from_depth


def test_disparity_is_one_over_depth_in_mm():
    assert disparity_from_depth(torch.tensor([4.0, 50.0])).tolist() == [0.25, torch.tensor(0.02).item()]


def test_near_has_the_larger_disparity():
    near, far = disparity_from_depth(torch.tensor([5.0, 100.0]))
    assert near > far


def test_there_and_back_is_the_identity_and_zero_stays_zero():
    depth_mm = torch.tensor([0.0, 0.5, 3.0, 200.0])
    assert torch.allclose(depth_from_disparity(disparity_from_depth(depth_mm)), depth_mm)


def test_invalid_values_give_zero_and_finite_gradient():
    depth_mm = torch.tensor([0.0, -1.0, 2.0], requires_grad=True)
    disparity = disparity_from_depth(depth_mm)
    disparity.sum().backward()
    assert disparity.tolist() == [0, 0, 0.5]
    assert depth_mm.grad.tolist() == [0, 0, -0.25]
