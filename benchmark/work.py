"""How much a step computes, and how fast this machine computes at best."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.geometry.flow_estimators import ESTIMATORS
from util.precision import AUTOCAST_TYPES, choose_precision

SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # of the matrices
TRIES = 5


class Work(NamedTuple):
    """Floating-point operations of convolutions and matrix products, 2 a multiply-add, and calls of optical flow."""

    flops: int
    flow_calls: int


def count_work(function: Callable[[], object]) -> Work:
    """What ``function`` does, forward and backward."""
    with FlopCounterMode(display=False) as counter, counted_flow_calls() as calls:
        function()
    return Work(counter.get_total_flops(), len(calls))


@contextmanager
def counted_flow_calls() -> Iterator[list[str]]:
    """A list that gets the name of an estimator at each of its calls, whoever makes them."""
    calls: list[str] = []
    originals = {kind: kind.__call__ for kind in set(ESTIMATORS.values())}

    def count(original: Callable[..., Any]) -> Callable[..., Any]:
        def counting(estimator: Any, *args: Any) -> Any:
            calls.append(estimator.name)
            return original(estimator, *args)

        return counting

    for kind, original in originals.items():
        kind.__call__ = count(original)
    try:
        yield calls
    finally:
        for kind, original in originals.items():
            kind.__call__ = original


def product_rate(precision: str, device: torch.device) -> float:
    """The fastest product of two square matrices [FLOP/s], the best of a few tries of each size.

    It is what the shares in the tables refer to. The product is made by ``matmul`` and as a 1x1 convolution, since
    these are different libraries: on some CPUs the first one is by far the slower.
    """
    choose_precision(precision, device).set_backends()
    dtype = AUTOCAST_TYPES.get(precision, torch.float32)
    return max(2 * side**3 / _seconds(side, dtype, device) for side in SIDES[device.type])


def product_by_convolution(a: Tensor, b: Tensor) -> Tensor:
    """The product of two square matrices."""
    side = len(a)
    return torch.conv2d(b.view(1, side, side, 1), a.view(side, side, 1, 1)).view(side, side)


def wait_for(device: torch.device) -> None:
    """Until all that was asked of a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Of one product, the shortest."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for product in (torch.matmul, product_by_convolution):
        for _ in range(1 + TRIES):  # the first one is slow
            wait_for(device)
            start = time.perf_counter()
            product(a, b)
            wait_for(device)
            times.append(time.perf_counter() - start)
    return min(times)
