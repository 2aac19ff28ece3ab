"""The flow that a depth map implies agrees with the sparse flow of tracked points (SfM-supervised depth)."""

import torch
from torch import Tensor


def sparse_flow_loss(flow: Tensor, sparse_flow: Tensor, weight: Tensor) -> Tensor:
    """Absolute difference of two flows at the pixels of sparse points.

        L = sum_p w (|f_x - s_x| + |f_y - s_y|) / (1 + sum_p w)

    a sample, then the mean over the batch. The denominator counts pixels, not components, and its 1 is published.
    Source: Liu et al., IEEE TMI 39(5), 2020, as in their code.

    Args:
        flow: f, ``models.geometry.depth_warping.relative_flow``, as fractions of width and height, (B, 2, H, W).
        sparse_flow: s, of the points' own projections, in the same unit and direction, (B, 2, H, W).
        weight: w >= 0, bool or float, (B, 1, H, W): 1 at a point whose place in the other frame is known and to which
            ``flow`` leads (``seen``), else 0; there the flows may be nan.

    Returns:
        Scalar, in at least float32; a sample without points counts as 0, with zero gradient.

    Raises:
        ValueError: the shapes do not fit.
    """
    if flow.ndim != 4 or flow.shape[1] != 2 or flow.shape != sparse_flow.shape or weight.shape != flow[:, :1].shape:
        shapes = [tuple(x.shape) for x in (flow, sparse_flow, weight)]
        raise ValueError(f"flow and sparse_flow must be (B, 2, H, W), weight (B, 1, H, W), got {shapes}")
    exact = torch.promote_types(flow.dtype, torch.float32)  # a pixel is less than half precision resolves of the image
    difference = torch.where(weight > 0, flow.to(exact) - sparse_flow.to(exact), 0.0).abs()
    weight = weight.to(exact)
    per_sample = (weight * difference).sum(dim=(1, 2, 3)) / (1 + weight.sum(dim=(1, 2, 3)))
    return per_sample.mean()
