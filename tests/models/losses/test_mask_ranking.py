"""Mask ranking: the order of depths, pairs from everywhere, no dependence on any scale."""

import math

import pytest
import torch

from models.losses.mask_ranking import _global_pairs, _unreliable_pairs, mask_ranking_loss

DOUBLE = torch.float64
B, H, W = 2, 12, 15
ALL = torch.ones(B, 1, H, W, dtype=torch.bool)


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    depth, pseudo, reliability = (torch.rand(B, 1, H, W, dtype=DOUBLE, generator=generator) + 0.2 for _ in range(3))
    return depth, pseudo, reliability


def loss_of(depth, pseudo, reliability, mask=ALL, seed=0):
    return mask_ranking_loss(depth, pseudo, reliability, mask, torch.Generator().manual_seed(seed))


def test_two_depths_by_hand():
    """Half of the image is twice as far as the other half, so that an ordered pair has a ratio of 2."""
    pseudo = torch.ones(B, 1, H, W, dtype=DOUBLE)
    pseudo[..., W // 2 :] = 3.0
    depth = torch.where(pseudo > 1, 2.0, 1.0).to(DOUBLE)
    flat, wrong = loss_of(torch.ones_like(depth), pseudo, pseudo), loss_of(1 / depth, pseudo, pseudo)
    assert loss_of(depth, pseudo, pseudo) == 0
    assert flat.item() == pytest.approx(math.log(1.15))
    assert wrong.item() == pytest.approx(math.log(1.15) + math.log(2))


def test_the_pseudo_depth_itself_costs_nothing_and_stretching_it_gains_nothing():
    """A softplus rewards every larger ratio, and trained depth that was stretched without end."""
    _, pseudo, reliability = inputs()
    for power in (1, 2, 8):
        assert loss_of(pseudo**power, pseudo, reliability) == 0
    assert loss_of(pseudo**0.5, pseudo, reliability) > 0


def test_no_scale_of_either_depth_changes_anything_and_nothing_overflows():
    depth, pseudo, reliability = inputs()
    loss = loss_of(depth, pseudo, reliability)
    torch.testing.assert_close(loss_of(100 * depth, 7 * pseudo, reliability), loss)
    assert loss_of(depth.float() * 1e30, pseudo.float(), reliability.float()).isfinite()


def test_depths_that_are_nearly_equal_have_no_order():
    depth, _, reliability = inputs()
    depth.requires_grad_()
    loss = loss_of(depth, 1 + 0.14 * torch.rand_like(depth), reliability)
    loss.backward()
    assert loss == 0
    assert not depth.grad.any()


def test_unreliable_pixels_are_the_worst_fifth_of_those_that_count_and_meet_the_others():
    _, _, reliability = inputs()
    mask = torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(3)) > 0.3
    flat, known = reliability.flatten(1), mask.flatten(1)
    a, b, counts = _unreliable_pairs(flat, known, torch.Generator().manual_seed(0))
    for i in range(B):
        number = int(0.2 * known[i].sum())
        worst = set(torch.where(known[i], flat[i], torch.inf).argsort()[:number].tolist())
        assert counts[i].sum() == number
        assert set(a[i][counts[i]].tolist()) == worst
        partners = set(b[i][counts[i]].tolist())
        assert partners.isdisjoint(worst)
        assert all(known[i][index] for index in partners)


def test_pairs_of_any_pixels_lie_anywhere():
    """Uniform pixels are a third of the height apart on average; the published pairs lie side by side."""
    size = 64
    a, b, _ = _global_pairs(torch.ones(4, size * size, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert (a // size - b // size).abs().double().mean().item() == pytest.approx(size / 3, rel=0.1)
    assert (a[0] != a[1]).any()


def test_masked_pixels_leak_nothing():
    depth, pseudo, reliability = inputs()
    mask = torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(3)) > 0.3
    spoiled = [torch.where(mask, x, torch.nan).requires_grad_() for x in (depth, pseudo, reliability)]
    loss = loss_of(*spoiled, mask)
    torch.testing.assert_close(loss, loss_of(depth, pseudo, reliability, mask))
    loss.backward()
    assert spoiled[0].grad.isfinite().all()
    assert not spoiled[0].grad[~mask].any()


@pytest.mark.parametrize("known", [0, 1])
def test_no_pair_gives_zero_with_zero_gradient(known):
    depth, pseudo, reliability = inputs()
    mask = ~ALL
    mask.view(-1)[:known] = True
    depth.requires_grad_()
    loss = loss_of(depth, pseudo, reliability, mask)
    loss.backward()
    assert loss == 0
    assert not depth.grad.any()


def test_gradients_are_those_of_finite_differences():
    depth, pseudo, reliability = inputs()
    assert torch.autograd.gradcheck(lambda d: loss_of(d, pseudo, reliability), (depth.requires_grad_(),))


def test_wrong_shapes_are_an_error():
    depth, pseudo, reliability = inputs()
    with pytest.raises(ValueError, match="must have one shape"):
        loss_of(depth, pseudo[..., 1:], reliability)
