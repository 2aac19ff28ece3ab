"""Depth scaling layer: the factor by hand, its gradient, what it makes of empty and wrong input."""

import pytest
import torch

from models.geometry.depth_scaling import MODES, scale_to_sparse
from models.geometry.depth_warping import relative_flow, warp_depth
from models.losses.depth_consistency import depth_consistency_loss

F64 = torch.float64


def row(*values):
    return torch.tensor(values, dtype=F64).view(1, 1, 1, -1)


def random_maps(batch=2, height=5, width=7, seed=0):
    """A prediction, sparse depths about 2.5 times as large at a third of the pixels, and their weights."""
    generator = torch.Generator().manual_seed(seed)
    depth, noise, chance, weight = (
        torch.rand(batch, 1, height, width, dtype=F64, generator=generator) for _ in range(4)
    )
    depth, points = depth + 0.2, chance < 1 / 3
    return depth, 2.5 * depth * (0.9 + 0.2 * noise) * points, (0.1 + 0.9 * weight) * points


def test_mean_of_ratios_by_hand_leaves_out_what_is_much_nearer_than_the_rest():
    """Mean sparse depth (1 + 5 + 6 + 4) / 4 = 4, so 1 is out; ratios 5, 2, 4: mean 11/3, variance 14/9."""
    depth, sparse = row(2.0, 1.0, 3.0, 1.0, 7.0), row(1.0, 5.0, 6.0, 4.0, 0.0)
    scaled = scale_to_sparse(depth, sparse, (sparse > 0).double())
    torch.testing.assert_close(scaled.scale, torch.tensor([11 / 3], dtype=F64))
    torch.testing.assert_close(scaled.depth, 11 / 3 * depth)
    torch.testing.assert_close(scaled.spread, torch.tensor([(14 / 9) ** 0.5 / (11 / 3)], dtype=F64))
    assert scaled.usable.tolist() == [True]


def test_outlier_share_of_0_keeps_all_points():
    depth, sparse = row(2.0, 1.0, 3.0, 1.0, 7.0), row(1.0, 5.0, 6.0, 4.0, 0.0)
    scaled = scale_to_sparse(depth, sparse, (sparse > 0).double(), outlier_share=0.0)
    torch.testing.assert_close(scaled.scale, torch.tensor([(0.5 + 5 + 2 + 4) / 4], dtype=F64))


def test_ratio_of_sums_by_hand_takes_all_points():
    """16 / 7; the spread is that of 5, 2 and 4 about their own mean, as in the other mode."""
    depth, sparse = row(2.0, 1.0, 3.0, 1.0, 7.0), row(1.0, 5.0, 6.0, 4.0, 0.0)
    scaled = scale_to_sparse(depth, sparse, (sparse > 0).double(), "ratio_of_sums")
    torch.testing.assert_close(scaled.scale, torch.tensor([16 / 7], dtype=F64))
    torch.testing.assert_close(scaled.spread, torch.tensor([(14 / 9) ** 0.5 / (16 / 7)], dtype=F64))


@pytest.mark.parametrize("mode", MODES)
def test_right_prediction_up_to_a_factor_gets_the_factor_and_no_spread(mode):
    depth, sparse, weight = random_maps()
    scaled = scale_to_sparse(depth, 2.5 * depth * (sparse > 0), weight, mode)
    torch.testing.assert_close(scaled.scale, torch.full((2,), 2.5, dtype=F64))
    torch.testing.assert_close(scaled.spread, torch.zeros(2, dtype=F64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_how_much_weight_a_point_has_does_not_matter(mode):
    depth, sparse, weight = random_maps()
    expected = scale_to_sparse(depth, sparse, weight, mode)
    assert torch.equal(scale_to_sparse(depth, sparse, 0.01 * weight, mode).scale, expected.scale)


@pytest.mark.parametrize("mode", MODES)
def test_raw_scale_changes_nothing_that_is_computed_from_the_scaled_map(mode):
    depth, sparse, weight = random_maps(height=8, width=9)
    K = torch.tensor([[9.0, 0, 4], [0, 7, 3], [0, 0, 1]], dtype=F64).expand(2, 3, 3)
    motion = torch.eye(4, dtype=F64).repeat(2, 1, 1)
    motion[:, :3, 3] = torch.tensor([0.1, -0.05, 0.2])
    mask = torch.ones_like(depth, dtype=torch.bool)

    def results(factor):
        scaled = scale_to_sparse(factor * depth, sparse, weight, mode)
        warped = warp_depth(scaled.depth.flip(-1), scaled.depth, motion, K, mask)
        flow = relative_flow(scaled.depth, motion, K, mask).flow
        loss = depth_consistency_loss(warped.depth, scaled.depth, warped.valid)
        assert loss > 1e-3
        return scaled.depth, scaled.spread, warped.depth, flow, loss

    for one, other in zip(results(1.0), results(7.3), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)  # the published 1e-8 is not scaled along


@pytest.mark.parametrize("mode", MODES)
def test_gradient_is_orthogonal_to_the_raw_map(mode):
    depth, sparse, weight = random_maps()
    depth.requires_grad_()
    probe = torch.rand(depth.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    (scale_to_sparse(depth, sparse, weight, mode).depth * probe).sum().backward()
    along = (depth.grad * depth.detach()).sum(dim=(1, 2, 3))
    assert depth.grad.abs().sum(dim=(1, 2, 3)).min() > 1
    torch.testing.assert_close(along, torch.zeros(2, dtype=F64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_finite_differences(mode):
    depth, sparse, weight = random_maps(height=3, width=4)
    assert torch.autograd.gradcheck(
        lambda depth: scale_to_sparse(depth, sparse, weight, mode)[:2], depth.requires_grad_()
    )


def test_spread_is_a_diagnostic_without_gradient():
    depth, sparse, weight = random_maps()
    scaled = scale_to_sparse(depth.requires_grad_(), sparse, weight)
    assert (scaled.spread > 0.01).all()
    assert not scaled.spread.requires_grad


@pytest.mark.parametrize("mode", MODES)
def test_map_without_points_keeps_its_scale_and_is_not_usable(mode):
    depth, sparse, weight = random_maps()
    weight[1] = 0
    scaled = scale_to_sparse(depth.requires_grad_(), sparse, weight, mode)
    assert scaled.usable.tolist() == [True, False]
    assert scaled.scale[1] == 1
    assert scaled.spread[1] == 0
    assert torch.equal(scaled.depth[1], depth[1])
    scaled.depth.sum().backward()
    assert torch.equal(depth.grad[1], torch.ones_like(depth[1]))


@pytest.mark.parametrize("mode", MODES)
def test_nan_without_weight_leaks_nothing(mode):
    depth, sparse, weight = random_maps()
    expected = scale_to_sparse(depth, sparse, weight, mode)
    spoiled = depth.clone().requires_grad_()
    scaled = scale_to_sparse(spoiled, torch.where(weight > 0, sparse, torch.nan), weight, mode)
    assert torch.equal(scaled.depth, expected.depth)
    scaled.depth.sum().backward()
    assert spoiled.grad.isfinite().all()
    holes = torch.where(weight > 0, depth, torch.nan)
    torch.testing.assert_close(scale_to_sparse(holes, sparse, weight, mode).scale, expected.scale)


@pytest.mark.parametrize("mode", MODES)
def test_batch_equals_its_samples_one_by_one(mode):
    maps = random_maps(batch=3)
    together = scale_to_sparse(*maps, mode)
    for b in range(3):
        for one, all_of_them in zip(scale_to_sparse(*(x[b : b + 1] for x in maps), mode), together, strict=True):
            torch.testing.assert_close(all_of_them[b : b + 1], one)


@pytest.mark.parametrize("mode", MODES)
def test_half_precision_is_lifted_to_float32(mode):
    depth, sparse, weight = (x.half() for x in random_maps())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scaled = scale_to_sparse(depth, sparse, weight, mode)
    expected = scale_to_sparse(depth.float(), sparse.float(), weight.float(), mode)
    assert scaled.depth.dtype == scaled.scale.dtype == scaled.spread.dtype == torch.float32
    torch.testing.assert_close(scaled.depth, expected.depth)


def test_wrong_shapes_modes_and_shares_are_errors():
    depth, sparse, weight = random_maps()
    with pytest.raises(ValueError, match=r"one shape \(B, 1, H, W\)"):
        scale_to_sparse(depth, sparse[:1], weight)
    with pytest.raises(ValueError, match=r"one shape \(B, 1, H, W\)"):
        scale_to_sparse(depth[:, 0], sparse[:, 0], weight[:, 0])
    with pytest.raises(ValueError, match="unknown scaling mode 'median', known are: mean_ratio, ratio_of_sums"):
        scale_to_sparse(depth, sparse, weight, "median")
    with pytest.raises(ValueError, match=r"outlier_share must lie in \[0, 1\), got 1.0"):
        scale_to_sparse(depth, sparse, weight, outlier_share=1.0)
