"""Normal matching: by hand, and pixels without pseudo-depth teach nothing."""

import pytest
import torch

from models.losses.normal_matching import normal_matching_loss

DOUBLE = torch.float64


def normals(seed):
    return torch.randn(2, 3, 4, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


ALL = torch.ones(2, 1, 4, 5, dtype=torch.bool)


def test_value_by_hand():
    wanted = torch.tensor([0.0, 0.0, 1.0], dtype=DOUBLE).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    found = torch.tensor([0.6, 0.0, 0.8], dtype=DOUBLE).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    assert normal_matching_loss(found, wanted, ALL[:1, :, :1, :2]).item() == pytest.approx((0.6 + 0.2) / 3)
    assert normal_matching_loss(wanted, wanted, ALL[:1, :, :1, :2]) == 0


def test_masked_pixels_leak_nothing():
    mask = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)) > 0.4
    spoiled = torch.where(mask, normals(1), torch.nan).requires_grad_()
    loss = normal_matching_loss(spoiled, torch.where(mask, normals(2), torch.nan), mask)
    expected = (normals(1) - normals(2)).abs()[mask.expand(-1, 3, -1, -1)].mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert not spoiled.grad[~mask.expand(-1, 3, -1, -1)].any()


def test_nothing_valid_gives_zero_with_zero_gradient():
    found = normals(1).requires_grad_()
    loss = normal_matching_loss(found, normals(2), ~ALL)
    loss.backward()
    assert loss == 0
    assert not found.grad.any()


def test_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(lambda n: normal_matching_loss(n, normals(2), ALL), (normals(1).requires_grad_(),))


def test_wrong_shapes_are_an_error():
    with pytest.raises(ValueError, match="must have one shape"):
        normal_matching_loss(normals(1), normals(2)[..., :-1], ALL)
