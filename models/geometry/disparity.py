"""Disparity is 1 / depth [1/mm]; both are 0 where invalid."""

import torch
from torch import Tensor


def disparity_from_depth(depth_mm: Tensor) -> Tensor:
    """1 / depth [1/mm] of any shape; 0 where depth is not above 0, with zero gradient."""
    return _reciprocal(depth_mm)


def depth_from_disparity(disparity: Tensor) -> Tensor:
    """1 / disparity [mm] of any shape; 0 where disparity is not above 0, with zero gradient."""
    return _reciprocal(disparity)


def _reciprocal(x: Tensor) -> Tensor:
    positive = x > 0
    return torch.where(positive, 1 / torch.where(positive, x, 1.0), 0.0)
