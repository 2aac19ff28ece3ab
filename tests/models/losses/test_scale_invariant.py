"""Scale-invariant loss: by hand, the published variants, what has no weight or no point."""

import math

import pytest
import torch

from models.losses.scale_invariant import SECOND_TERMS, scale_invariant_loss

F64 = torch.float64


def row(*values):
    return torch.tensor(values, dtype=F64).view(1, 1, 1, -1)


def random_maps(batch=2, height=5, width=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pred, sparse, weight, chance = (
        torch.rand(batch, 1, height, width, dtype=F64, generator=generator) for _ in range(4)
    )
    points = chance < 0.5
    return pred + 0.5, (sparse + 0.5) * points, (weight + 0.1) * points


def equation_3(pred, sparse, weight, sign):
    """Term by term, a point at a time."""
    total = 0.0
    for b in range(len(pred)):
        sum_w = sum_wd = sum_wdd = 0.0
        for _, y, x in weight[b].nonzero().tolist():
            w, d = weight[b, 0, y, x].item(), math.log(pred[b, 0, y, x]) - math.log(sparse[b, 0, y, x])
            sum_w, sum_wd, sum_wdd = sum_w + w, sum_wd + w * d, sum_wdd + w * d * d
        total += sum_wdd / sum_w + sign * sum_wd**2 / sum_w**2
    return total / len(pred)


def test_value_by_hand():
    """d = 0, 1, -1 with weights 1, 2, 1: mean 1/4, mean square 3/4; minus gives 11/16, plus 13/16."""
    pred, sparse, weight = row(2.0, math.e, 1.0, 5.0), row(2.0, 1.0, math.e, 0.0), row(1.0, 2.0, 1.0, 0.0)
    assert scale_invariant_loss(pred, sparse, weight).item() == pytest.approx(11 / 16)
    assert scale_invariant_loss(pred, sparse, weight, second_term="plus").item() == pytest.approx(13 / 16)


@pytest.mark.parametrize(("second_term", "sign"), [("minus", -1), ("plus", 1)])
def test_loss_is_the_equation(second_term, sign):
    maps = random_maps()
    loss = scale_invariant_loss(*maps, second_term=second_term)
    assert loss.item() == pytest.approx(equation_3(*maps, sign), rel=1e-6)  # which has no 1e-8


def test_factor_on_the_prediction_is_free_with_minus_and_dear_with_plus():
    """Right up to the factor 2.5: plus is the mean square and the squared mean, (ln 2.5)^2 each, 1.68 together."""
    _, sparse, weight = random_maps()
    pred = torch.where(weight > 0, 2.5 * sparse, 1.0)
    assert scale_invariant_loss(pred, sparse, weight).item() == pytest.approx(0, abs=1e-12)
    plus = scale_invariant_loss(pred, sparse, weight, second_term="plus")
    assert plus.item() == pytest.approx(2 * math.log(2.5) ** 2, rel=1e-6)


def test_no_factor_changes_the_loss_or_makes_it_negative_in_float32():
    pred, sparse, weight = (x.float() for x in random_maps())
    expected = scale_invariant_loss(pred, sparse, weight)
    assert expected > 0.05
    for factor in (1e-3, 0.3, 40.0, 1e5):
        torch.testing.assert_close(scale_invariant_loss(factor * pred, sparse, weight), expected, rtol=1e-4, atol=0)
        right = torch.where(weight > 0, factor * sparse, 1.0)
        assert 0 <= scale_invariant_loss(right, sparse, weight) < 1e-9


def test_gradient_is_orthogonal_to_the_prediction():
    pred, sparse, weight = random_maps()
    scale_invariant_loss(pred.requires_grad_(), sparse, weight).backward()
    assert pred.grad.abs().sum() > 0.1
    assert (pred.grad * pred).sum().item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("second_term", SECOND_TERMS)
def test_factor_on_all_weights_changes_nothing(second_term):
    pred, sparse, weight = random_maps()
    expected = scale_invariant_loss(pred, sparse, weight, second_term=second_term)
    for factor in (1e-4, 30.0):
        loss = scale_invariant_loss(pred, sparse, factor * weight, second_term=second_term)
        torch.testing.assert_close(loss, expected)


def test_depth_below_the_threshold_counts_as_right_and_keeps_its_weight():
    """d = 1 and 2, the second dropped to 0: mean 1/2, mean square 1/2, so 1/4 instead of 5/2 - 9/4."""
    pred, sparse, weight = row(math.e, 0.4 * math.e**2), row(1.0, 0.4), row(1.0, 1.0)
    assert scale_invariant_loss(pred, sparse, weight).item() == pytest.approx(1 / 4)
    sums = {"minus": 1 / 2 - 1 / 4, "plus": 1 / 2 + 1 / 4}
    for second_term, expected in sums.items():
        loss = scale_invariant_loss(pred, sparse, weight, second_term=second_term, threshold=0.5)
        assert loss.item() == pytest.approx(expected)
    assert scale_invariant_loss(pred, sparse, weight, second_term="plus").item() == pytest.approx(5 / 2 + 9 / 4)


@pytest.mark.parametrize("second_term", SECOND_TERMS)
def test_sample_without_points_counts_as_0_in_the_mean(second_term):
    pred, sparse, weight = random_maps()
    alone = scale_invariant_loss(pred[:1], sparse[:1], weight[:1], second_term=second_term)
    weight[1] = 0
    loss = scale_invariant_loss(pred.requires_grad_(), sparse, weight, second_term=second_term)
    torch.testing.assert_close(loss, alone / 2)
    loss.backward()
    assert torch.equal(pred.grad[1], torch.zeros_like(pred[1]))
    assert (pred.grad[0] != 0).any()
    nothing = scale_invariant_loss(pred, sparse, 0 * weight, second_term=second_term)
    assert nothing.item() == 0


@pytest.mark.parametrize("second_term", SECOND_TERMS)
def test_what_has_no_weight_may_be_nan_or_0(second_term):
    pred, sparse, weight = random_maps()
    expected = scale_invariant_loss(pred, sparse, weight, second_term=second_term)
    for hole in (torch.nan, 0.0, -1.0):
        spoiled = torch.where(weight > 0, pred, hole).requires_grad_()
        loss = scale_invariant_loss(
            spoiled, torch.where(weight > 0, sparse, torch.nan), weight, second_term=second_term
        )
        assert torch.equal(loss, expected)
        loss.backward()
        assert spoiled.grad.isfinite().all()
        assert (spoiled.grad[weight == 0] == 0).all()


def test_prediction_of_0_is_finite():
    pred = torch.zeros(1, 1, 1, 2, requires_grad=True)
    loss = scale_invariant_loss(pred, torch.tensor([1.0, 2.0]).view_as(pred), torch.ones_like(pred))
    loss.backward()
    assert loss.isfinite()
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize("second_term", SECOND_TERMS)
def test_batch_is_the_mean_of_its_samples(second_term):
    maps = random_maps(batch=3)
    singles = [scale_invariant_loss(*(x[b : b + 1] for x in maps), second_term=second_term) for b in range(3)]
    loss = scale_invariant_loss(*maps, second_term=second_term)
    torch.testing.assert_close(loss, torch.stack(singles).mean())


@pytest.mark.parametrize("second_term", SECOND_TERMS)
def test_gradients_are_those_of_finite_differences(second_term):
    pred, sparse, weight = random_maps(height=3, width=4)
    assert torch.autograd.gradcheck(
        lambda pred: scale_invariant_loss(pred, sparse, weight, second_term=second_term), pred.requires_grad_()
    )


def test_half_precision_is_lifted_to_float32():
    pred, sparse, weight = (x.half() for x in random_maps())
    loss = scale_invariant_loss(pred, sparse, weight)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, scale_invariant_loss(pred.float(), sparse.float(), weight.float()))


def test_wrong_shapes_and_terms_are_errors():
    pred, sparse, weight = random_maps()
    with pytest.raises(ValueError, match="must have one shape"):
        scale_invariant_loss(pred, sparse, weight[:1])
    with pytest.raises(ValueError, match="unknown second_term 'times', known are: minus, plus"):
        scale_invariant_loss(pred, sparse, weight, second_term="times")
