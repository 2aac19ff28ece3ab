"""Sparse flow loss: by hand, its denominator, what has no weight."""

import pytest
import torch

from models.losses.sparse_flow import sparse_flow_loss

F64 = torch.float64


def random_flows(batch=2, height=4, width=6, seed=0):
    """Two flows and the weights of a third of the pixels."""
    generator = torch.Generator().manual_seed(seed)
    flow, sparse = (torch.randn(batch, 2, height, width, dtype=F64, generator=generator) for _ in range(2))
    return flow, sparse, torch.rand(batch, 1, height, width, generator=generator) < 1 / 3


def test_value_by_hand_counts_pixels_and_not_components():
    """Points with |0.3| + |-0.1| and |0| + |0.2|, and one that has no weight: 0.6 / (1 + 2)."""
    flow = torch.tensor([[[0.4, 0.1, 9.0]], [[0.0, 0.5, 9.0]]], dtype=F64)[None]
    sparse = torch.tensor([[[0.1, 0.1, 0.0]], [[0.1, 0.3, 0.0]]], dtype=F64)[None]
    weight = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    assert sparse_flow_loss(flow, sparse, weight).item() == pytest.approx(0.6 / 3)
    assert sparse_flow_loss(sparse, flow, weight.double()).item() == pytest.approx(0.6 / 3)


def test_loss_is_the_loop_over_points():
    flow, sparse, points = random_flows()
    weight = points * torch.rand(points.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    expected = 0.0
    for b in range(2):
        total = count = 0.0
        for _, y, x in points[b].nonzero().tolist():
            w = weight[b, 0, y, x].item()
            total += w * sum(abs(flow[b, a, y, x].item() - sparse[b, a, y, x].item()) for a in range(2))
            count += w
        expected += total / (1 + count) / 2
    assert sparse_flow_loss(flow, sparse, weight).item() == pytest.approx(expected)


def test_equal_flows_cost_nothing():
    flow, _, points = random_flows()
    assert sparse_flow_loss(flow, torch.where(points, flow, 0.0), points).item() == 0


def test_nan_without_weight_leaks_nothing():
    flow, sparse, points = random_flows()
    expected = sparse_flow_loss(flow, sparse, points)
    spoiled = torch.where(points, flow, torch.nan).requires_grad_()
    loss = sparse_flow_loss(spoiled, torch.where(points, sparse, torch.nan), points)
    assert torch.equal(loss, expected)
    loss.backward()
    assert (spoiled.grad[~points.expand_as(flow)] == 0).all()
    assert (spoiled.grad[points.expand_as(flow)] != 0).all()


def test_sample_without_points_counts_as_0_in_the_mean():
    flow, sparse, points = random_flows()
    alone = sparse_flow_loss(flow[:1], sparse[:1], points[:1])
    points[1] = False
    loss = sparse_flow_loss(flow.requires_grad_(), sparse, points)
    torch.testing.assert_close(loss, alone / 2)
    loss.backward()
    assert (flow.grad[1] == 0).all()


def test_batch_is_the_mean_of_its_samples():
    inputs = random_flows(batch=3)
    singles = [sparse_flow_loss(*(x[b : b + 1] for x in inputs)) for b in range(3)]
    torch.testing.assert_close(sparse_flow_loss(*inputs), torch.stack(singles).mean())


def test_gradients_are_those_of_finite_differences():
    flow, sparse, points = random_flows()
    assert torch.autograd.gradcheck(lambda flow: sparse_flow_loss(flow, sparse, points), flow.requires_grad_())


def test_half_precision_is_lifted_to_float32():
    flow, sparse, points = random_flows()
    loss = sparse_flow_loss(flow.half(), sparse.half(), points)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, sparse_flow_loss(flow.half().float(), sparse.half().float(), points))


def test_wrong_shapes_are_an_error():
    flow, sparse, points = random_flows()
    for wrong in ((flow[:1], sparse, points), (flow, sparse, points.expand(2, 2, 4, 6)), (flow[:, :1],) * 3):
        with pytest.raises(ValueError, match=r"must be \(B, 2, H, W\), weight \(B, 1, H, W\)"):
            sparse_flow_loss(*wrong)
