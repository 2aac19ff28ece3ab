"""The order of depth between unreliable pixels and reliable ones is that of the pseudo-depth (SC-DepthV3)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

UNRELIABLE_SHARE = 0.2  # of the pixels of an image
GLOBAL_SHARE = 0.1  # pairs of any two pixels, as a share of the image's pixels
MIN_RATIO = 1.15  # of two pseudo-depths, from which their order is sure


def mask_ranking_loss(
    depth: Tensor, pseudo: Tensor, reliability: Tensor, mask: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Ordinal loss between depths of pairs of pixels.

        L = mean max(0, ln 1.15 - t (ln D_A - ln D_B)),    t = 1 if Z_A / Z_B > 1.15, -1 if Z_B / Z_A > 1.15

    over the pairs with such an order. Pairs are each of the least reliable fifth of an image's pixels with one of the
    others, and a tenth as many pairs of any two pixels, drawn independently, so that they lie anywhere. Source:
    SC-DepthV3 (Sun et al., TPAMI 2023), whose log(1 + exp(-t (D_A - D_B))) depends on the arbitrary scale of the depth
    and overflows. A softplus of logarithms does neither, but is never at its lowest: it rewards ever larger ratios and
    stretches depth without end. Here a pair costs nothing once its order is as sure as the pseudo-depth's.

    Args:
        depth: D > 0, (B, 1, H, W); gets gradient.
        pseudo: Z, larger is farther, (B, 1, H, W).
        reliability: (B, 1, H, W), 1 where neighbouring frames agree on the depth.
        mask: bool (B, 1, H, W), where Z is known and a neighbour sees the pixel; all else takes part in no pair.
        generator: draws the pairs; None is PyTorch's own, which checkpoints restore.

    Returns:
        Scalar; 0 when no pair has an order.
    """
    if not depth.shape == pseudo.shape == reliability.shape == mask.shape:
        shapes = [tuple(x.shape) for x in (depth, pseudo, reliability, mask)]
        raise ValueError(f"depth, pseudo, reliability and mask must have one shape, got {shapes}")
    mask = mask.flatten(1)
    log_depth = torch.where(mask, depth.flatten(1), 1.0).log()
    log_pseudo = torch.where(mask, pseudo.flatten(1), 1.0).log()
    total, count = 0.0, 0
    for a, b, counts in (_unreliable_pairs(reliability.flatten(1), mask, generator), _global_pairs(mask, generator)):
        difference = log_pseudo.gather(1, a) - log_pseudo.gather(1, b)
        order = difference.sign() * (difference.abs() > math.log(MIN_RATIO)) * counts
        cost = F.relu(math.log(MIN_RATIO) - order * (log_depth.gather(1, a) - log_depth.gather(1, b)))
        total, count = total + (cost * order.abs()).sum(), count + order.abs().sum()
    return total / count.clamp(min=1)


def _unreliable_pairs(
    reliability: Tensor, mask: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Each of the least reliable pixels with one of the others: indices A and B (B, N), and whether the pair counts."""
    num_pixels = mask.shape[1]
    order = torch.where(mask, reliability.detach(), torch.inf).argsort(dim=1)  # those that do not count come last
    known = mask.sum(dim=1, keepdim=True)
    unreliable = (UNRELIABLE_SHARE * known).long()
    slots = int(UNRELIABLE_SHARE * num_pixels)
    drawn = torch.rand(len(mask), slots, generator=generator, device=mask.device)
    partner = unreliable + (drawn * (known - unreliable)).long()
    partner = torch.minimum(partner, (known - 1).clamp(min=0))  # the product may be rounded up
    counts = torch.arange(slots, device=mask.device) < unreliable
    return order[:, :slots], order.gather(1, partner), counts


def _global_pairs(mask: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of any two pixels."""
    num_pixels = mask.shape[1]
    shape = (2, len(mask), int(GLOBAL_SHARE * num_pixels))
    a, b = torch.randint(num_pixels, shape, generator=generator, device=mask.device)
    return a, b, mask.gather(1, a) & mask.gather(1, b)
