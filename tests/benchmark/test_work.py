"""Counting operations and calls, and the rate that they are compared with."""

import pytest
import torch
from torch import nn

import benchmark.work
from benchmark.work import count_work, counted_flow_calls, product_by_convolution, product_rate
from models.geometry.flow import create_flow_estimator
from models.geometry.flow_estimators import DisEstimator

CPU = torch.device("cpu")
CONVOLUTION = (
    2 * (3 * 8 * 9) * (8 * 8)
)  # a multiply-add for each weight and each pixel of a 10 x 10 image without border


def test_convolution_by_hand():
    conv, image = nn.Conv2d(3, 8, 3), torch.rand(1, 3, 10, 10)
    assert count_work(lambda: conv(image)) == (CONVOLUTION, 0)


def test_backward_pass_counts_weights_and_input_where_they_need_gradients():
    conv, image = nn.Conv2d(3, 8, 3), torch.rand(1, 3, 10, 10)
    assert count_work(lambda: conv(image).sum().backward()).flops == 2 * CONVOLUTION
    image.requires_grad_(True)
    assert count_work(lambda: conv(image).sum().backward()).flops == 3 * CONVOLUTION
    conv.requires_grad_(False)
    assert count_work(lambda: conv(image).sum().backward()).flops == 2 * CONVOLUTION


def test_flow_calls_are_counted_whoever_makes_them_and_only_within():
    frames, original = torch.rand(1, 3, 40, 40), DisEstimator.__call__
    estimator = create_flow_estimator("dis")
    with counted_flow_calls() as calls:
        flow = estimator(frames, frames)
        create_flow_estimator("dis")(frames, frames)
    assert calls == ["dis", "dis"]
    assert flow.shape == (1, 2, 40, 40)
    assert DisEstimator.__call__ is original


def test_both_ways_make_the_same_product():
    a, b = torch.randn(2, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(product_by_convolution(a, b), a @ b)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rate_is_of_the_fastest_size(precision, monkeypatch):
    monkeypatch.setitem(benchmark.work.SIDES, "cpu", (8, 128))
    rates = {}
    for sides in ((8,), (128,), (8, 128)):
        monkeypatch.setitem(benchmark.work.SIDES, "cpu", sides)
        rates[sides] = product_rate(precision, CPU)
    assert rates[(8,)] < rates[(8, 128)]  # of 8 x 8 most is the call
    assert 1e8 < rates[(128,)] < 1e15
