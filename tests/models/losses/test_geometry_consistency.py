"""Depth inconsistency: by hand, symmetric, without a unit."""

import pytest
import torch

from models.losses.geometry_consistency import depth_inconsistency

ALL = torch.ones(1, 1, 1, 3, dtype=torch.bool)


def row(*values):
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_value_by_hand_is_symmetric_and_has_no_unit():
    a, b = row(2.0, 3.0, 5.0), row(2.0, 1.0, 15.0)
    expected = row(0.0, 2 / 4, 10 / 20)
    torch.testing.assert_close(depth_inconsistency(a, b, ALL), expected)
    torch.testing.assert_close(depth_inconsistency(b, a, ALL), expected)
    torch.testing.assert_close(depth_inconsistency(0.1 * a, 0.1 * b, ALL), expected)


def test_masked_pixels_are_0_and_leak_nothing():
    mask = ALL.clone()
    mask[..., 1:] = False
    computed, projected = row(2.0, 0.0, -3.0).requires_grad_(), row(1.0, 0.0, torch.nan).requires_grad_()
    error = depth_inconsistency(computed, projected, mask)
    torch.testing.assert_close(error, row(1 / 3, 0.0, 0.0))
    error.sum().backward()
    assert computed.grad[..., 1:].abs().sum() == 0
    assert projected.grad[..., 1:].abs().sum() == 0


def test_gradients_are_those_of_finite_differences():
    a, b = row(2.0, 3.0, 5.0).requires_grad_(), row(2.5, 1.0, 15.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: depth_inconsistency(a, b, ALL), (a, b))


def test_wrong_shapes_are_an_error():
    with pytest.raises(ValueError, match="must have one shape"):
        depth_inconsistency(row(1.0), row(1.0, 2.0), ALL)
