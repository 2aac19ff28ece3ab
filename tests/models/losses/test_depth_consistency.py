"""Depth consistency: each kind by hand and by its equation, units, samples left out, nothing valid."""

import pytest
import torch

from models.losses.depth_consistency import KINDS, depth_consistency_loss

F64 = torch.float64
NORMALIZED = [kind for kind in KINDS if kind != "l1"]


def row(*values):
    return torch.tensor(values, dtype=F64).view(1, 1, 1, -1)


def intrinsics(batch=2):
    """fx != fy, another camera for each sample."""
    K = [[[8.0, 0, 3], [0, 6, 2], [0, 0, 1]], [[10.0, 0, 5], [0, 12, 1.5], [0, 0, 1]]]
    return torch.tensor(K, dtype=F64).repeat(2, 1, 1)[:batch]


def random_maps(batch=2, height=4, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    warped, depth, chance = (torch.rand(batch, 1, height, width, dtype=F64, generator=generator) for _ in range(3))
    return warped + 0.5, depth + 0.5, chance < 0.6


def loss_of(kind, warped, depth, valid, **options):
    return depth_consistency_loss(warped, depth, valid, kind, K=intrinsics(len(depth)), **options)


def by_equation(kind, warped, depth, valid, K):
    """The equations, a pixel at a time, of one sample."""
    above = below = total = count = 0.0
    for y, x in valid[0].nonzero().tolist():
        D, D_, pixel = depth[0, y, x], warped[0, y, x], torch.tensor([x, y, 1.0], dtype=F64)
        ray = torch.linalg.solve(K, pixel)
        above += {
            "l1": abs(D - D_),
            "normalized_distance": 2 * (D * ray - D_ * ray).abs().sum(),
            "normalized_l1": abs(D - D_),
            "normalized_l2": (D - D_) ** 2,
        }[kind]
        below += {
            "l1": 1.0,
            "normalized_distance": D + abs(D_),
            "normalized_l1": 0.5 * (abs(D) + abs(D_)),
            "normalized_l2": 0.5 * (D**2 + D_**2),
        }[kind]
        total, count = total + D, count + 1
    mean = total / (1e-5 + count)
    return above / (below + {"l1": 0.0, "normalized_l2": 1e-5 * mean**2}.get(kind, 1e-5 * mean))


HAND = {  # D = 2, 3 and D' = 1, 5 at pixels (0, 0) and (1, 0), where |K^-1 p|_1 is 3/8 + 2/6 + 1 and 2/8 + 2/6 + 1
    "l1": (1 + 2) / 2,
    "normalized_distance": 2 * (1 * (3 / 8 + 1 / 3 + 1) + 2 * (1 / 4 + 1 / 3 + 1)) / (3 + 8 + 1e-5 * 2.5),
    "normalized_l1": (1 + 2) / (0.5 * (3 + 8) + 1e-5 * 2.5),
    "normalized_l2": (1 + 4) / (0.5 * (4 + 1 + 9 + 25) + 1e-5 * 2.5**2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_value_by_hand(kind):
    depth, warped, valid = row(2.0, 3.0, 7.0), row(1.0, 5.0, 1.0), row(1, 1, 0).bool()
    assert loss_of(kind, warped, depth, valid).item() == pytest.approx(HAND[kind], rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_mean_over_samples_of_its_equation(kind):
    warped, depth, valid = random_maps()
    warped[0, 0, 0, 0], valid[0, 0, 0, 0] = -0.3, True  # a warped map may be negative, and counts by its size
    samples = [by_equation(kind, warped[b], depth[b], valid[b], intrinsics()[b]) for b in range(2)]
    torch.testing.assert_close(loss_of(kind, warped, depth, valid), torch.stack(samples).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_equal_maps_cost_nothing(kind):
    _, depth, valid = random_maps()
    assert loss_of(kind, depth, depth, valid).item() == 0


@pytest.mark.parametrize("kind", NORMALIZED)
def test_normalized_kinds_have_no_unit(kind):
    warped, depth, valid = random_maps()
    expected = loss_of(kind, warped, depth, valid)
    assert expected > 0.01
    torch.testing.assert_close(loss_of(kind, 40 * warped, 40 * depth, valid), expected)


def test_l1_has_the_unit_of_the_depths():
    warped, depth, valid = random_maps()
    torch.testing.assert_close(loss_of("l1", 40 * warped, 40 * depth, valid), 40 * loss_of("l1", warped, depth, valid))


def test_l1_is_a_mean_per_sample_whatever_the_size_of_its_overlap():
    """Errors 1 in one pixel and 3 in four: (1 + 3) / 2, and not 13 / 5; with the published 1 it is 1/2 and 12/5."""
    depth = torch.full((2, 1, 1, 4), 5.0, dtype=F64)
    warped = depth + torch.tensor([1.0, 3.0], dtype=F64).view(2, 1, 1, 1)
    valid = torch.tensor([[True, False, False, False], [True] * 4]).view(2, 1, 1, 4)
    assert loss_of("l1", warped, depth, valid).item() == pytest.approx(2)
    assert loss_of("l1", warped, depth, valid, plus_one=True).item() == pytest.approx((1 / 2 + 12 / 5) / 2)


def test_translation_selects_the_form_with_1_and_weighs_short_ways_more():
    """Lengths 5 and 1: weights 1/5 and 1 of (D - D')^2 / (0.5 (D^2 + D'^2) + 1) = 1 / 3.5 and 4 / 6."""
    depth, warped = row(2.0, 3.0).view(2, 1, 1, 1), row(1.0, 1.0).view(2, 1, 1, 1)
    translation = torch.tensor([[3.0, 0.0, -4.0], [0.0, 1.0, 0.0]], dtype=F64)
    loss = loss_of("normalized_l2", warped, depth, torch.ones_like(depth).bool(), translation=translation)
    assert loss.item() == pytest.approx((1 / 5 * 1 / 3.5 + 4 / 6) / (1 / 5 + 1))


def test_translation_of_0_is_finite():
    warped, depth, valid = random_maps()
    loss = loss_of("normalized_l2", warped.requires_grad_(), depth, valid, translation=torch.zeros(2, 3, dtype=F64))
    loss.backward()
    assert loss > 0.01
    assert warped.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_sample_that_is_not_usable_is_left_out(kind):
    warped, depth, valid = random_maps(batch=3)
    kept = torch.tensor([True, False, True])
    others = [x[kept].clone() for x in (warped, depth, valid)]
    expected = depth_consistency_loss(*others, kind, K=intrinsics(3)[kept])
    warped[1] = torch.nan  # its scale is unknown, so nothing may come from it
    warped.requires_grad_()
    loss = loss_of(kind, warped, depth, valid, usable=kept)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (warped.grad[1] == 0).all()
    assert loss_of(kind, warped, depth, valid, usable=torch.zeros(3)).item() == 0


def test_usable_may_be_a_weight():
    warped, depth, valid = random_maps()
    first, second = (loss_of("l1", warped[b : b + 1], depth[b : b + 1], valid[b : b + 1]) for b in range(2))
    loss = loss_of("l1", warped, depth, valid, usable=torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(loss, (3 * first + second) / 4)


def options_of_each_kind():
    translation = torch.tensor([[3.0, 0.0, -4.0], [0.0, 1.0, 0.0]], dtype=F64)
    return [
        *((kind, {}) for kind in KINDS),
        ("l1", {"plus_one": True}),
        ("normalized_l2", {"translation": translation}),
    ]


@pytest.mark.parametrize(("kind", "options"), options_of_each_kind())
def test_nothing_valid_is_0_with_zero_gradient(kind, options):
    """The published normalised losses are nan there."""
    warped, depth, valid = random_maps()
    maps = [warped.requires_grad_(), depth.requires_grad_()]
    loss = loss_of(kind, *maps, torch.zeros_like(valid), **options)
    assert loss.item() == 0
    loss.backward()
    assert all(torch.equal(x.grad, torch.zeros_like(x)) for x in maps)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_overlap_counts_as_0_in_the_mean(kind):
    warped, depth, valid = random_maps()
    alone = loss_of(kind, warped[:1], depth[:1], valid[:1])
    valid[1] = False
    torch.testing.assert_close(loss_of(kind, warped, depth, valid), alone / 2)


@pytest.mark.parametrize(("kind", "options"), options_of_each_kind())
def test_nan_outside_the_overlap_leaks_nothing(kind, options):
    warped, depth, valid = random_maps()
    spoiled = [torch.where(valid, x, torch.nan).requires_grad_() for x in (warped, depth)]
    loss = loss_of(kind, *spoiled, valid, **options)
    assert torch.equal(loss, loss_of(kind, warped, depth, valid, **options))
    loss.backward()
    for x in spoiled:
        assert x.grad.isfinite().all()
        assert (x.grad[~valid] == 0).all()
        assert (x.grad[valid] != 0).all()


@pytest.mark.parametrize(("kind", "options"), options_of_each_kind())
def test_gradients_are_those_of_finite_differences(kind, options):
    """Up to the mean depth, which has none: its part is about 1e-5 / |V| of the loss."""
    warped, depth, valid = random_maps(height=3)
    inputs = (warped.requires_grad_(), depth.requires_grad_())
    assert torch.autograd.gradcheck(lambda *maps: loss_of(kind, *maps, valid, **options), inputs, atol=1e-5)


def test_mean_depth_in_the_denominator_gets_no_gradient():
    """With equal sums the l2 kind is a / (b + 1e-5 m^2); what is left of its gradient is that of a / b alone."""
    depth, warped = row(1.0, 2.0).requires_grad_(), row(2.0, 1.0)
    loss_of("normalized_l2", warped, depth, torch.ones_like(warped).bool()).backward()
    a, b = 2.0, 0.5 * 10 + 1e-5 * (3 / (2 + 1e-5)) ** 2
    expected = row(-2 / b - a * 1 / b**2, 2 / b - a * 2 / b**2)
    torch.testing.assert_close(depth.grad, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_lifted_to_float32(kind):
    warped, depth, valid = random_maps()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(kind, warped.half(), depth.half(), valid)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, loss_of(kind, warped.half().float(), depth.half().float(), valid))


def test_wrong_input_is_an_error():
    warped, depth, valid = random_maps()
    wrong = [
        ((warped[:1], depth, valid), {}, r"must have one shape \(B, 1, H, W\)"),
        ((warped[:, 0], depth[:, 0], valid[:, 0]), {}, r"must have one shape \(B, 1, H, W\)"),
        ((warped, depth, valid, "l3"), {}, "unknown consistency kind 'l3', known are: l1, normalized_distance"),
        ((warped, depth, valid, "normalized_distance"), {}, "normalized_distance needs K"),
        ((warped, depth, valid, "normalized_distance"), {"K": torch.eye(3)}, r"K must be \(2, 3, 3\), got \(3, 3\)"),
        ((warped, depth, valid), {"usable": torch.ones(2, 1)}, r"usable must be \(2,\), got \(2, 1\)"),
        (
            (warped, depth, valid),
            {"translation": torch.ones(2, 3)},
            "translation belongs to kind normalized_l2, got l1",
        ),
        ((warped, depth, valid, "normalized_l1"), {"plus_one": True}, "plus_one belongs to kind l1"),
    ]
    for arguments, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            depth_consistency_loss(*arguments, **options)
