"""Scale-invariant loss of a dense map against sparse depth, weighted (SfM-supervised depth)."""

import torch
from torch import Tensor

SECOND_TERMS = ("minus", "plus")
EPSILON = 1e-8  # in the logarithm of the prediction; published


def scale_invariant_loss(
    pred: Tensor, sparse: Tensor, weight: Tensor, *, second_term: str = "minus", threshold: float = 0.0
) -> Tensor:
    """Weighted variance of the log difference, which a factor on the prediction does not change.

        d = ln(pred + 1e-8) - ln(sparse)
        L = sum w d^2 / sum w  -  (sum w d)^2 / (sum w)^2

    a sample, then the mean over the batch. It is meant for the raw prediction, not for the scaled map. Source: Liu et
    al., CARE workshop at MICCAI 2018, eq. 3.

    Args:
        pred: depth of any scale, > 0, (B, 1, H, W); gets gradient.
        sparse: depth of the points, 0 where there is none, (B, 1, H, W).
        weight: w >= 0, the soft mask, 0 where there is no point, (B, 1, H, W); there the others may be nan.
        second_term: ``plus`` adds the second term, as the published code does. That is not scale invariant: it pulls
            the prediction to the arbitrary scale of the clip.
        threshold: where ``sparse`` is less, d is 0 while the weight stays in the sums, as published; 0 drops no point.

    Returns:
        Scalar, in at least float32; a sample without points counts as 0, with zero gradient.

    Raises:
        ValueError: the shapes differ, or ``second_term`` is unknown.
    """
    if not pred.shape == sparse.shape == weight.shape:
        shapes = [tuple(x.shape) for x in (pred, sparse, weight)]
        raise ValueError(f"pred, sparse and weight must have one shape, got {shapes}")
    if second_term not in SECOND_TERMS:
        raise ValueError(f"unknown second_term {second_term!r}, known are: {', '.join(SECOND_TERMS)}")

    exact = torch.promote_types(pred.dtype, torch.float32)  # half precision has no 1e-8
    pred, sparse, weight = (x.flatten(1).to(exact) for x in (pred, sparse, weight))  # (B, N)
    counts = (weight > 0) & (sparse > 0) & (sparse >= threshold)
    # Before the logarithm: masked afterwards, its gradient would be 0 * inf.
    log_pred = (torch.where(counts, pred, 1.0) + EPSILON).log()
    difference = torch.where(counts, log_pred - torch.where(counts, sparse, 1.0).log(), 0.0)

    total = weight.sum(dim=1, keepdim=True)
    share = weight / torch.where(total > 0, total, 1.0)
    mean = (share * difference).sum(dim=1, keepdim=True)
    if second_term == "minus":  # about the mean: the same, but no difference of two large numbers
        return (share * (difference - mean).square()).sum(dim=1).mean()
    return ((share * difference.square()).sum(dim=1) + mean[:, 0].square()).mean()
