"""The photometric and geometric terms of pairs of frames, each seen from the other's camera, and their combination.

Source: SC-Depth V1 (Bian et al., IJCV 2021); the minimum over neighbours is Monodepth2's (Godard et al., ICCV 2019).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.geometry.camera import View
from models.losses.geometry_consistency import depth_inconsistency
from models.losses.photometric import brightness_fit, colour_difference, photometric_error

MIN_PIXELS = 100  # a mean over so few pixels says nothing


class PairTerms(NamedTuple):
    """Of pairs on the target's grid, (B, 1, H, W) each; 0 outside ``mask``."""

    photometric: Tensor
    inconsistency: Tensor
    colour: Tensor  # what the best neighbour is chosen by
    in_view: Tensor  # bool: seen by both, and no highlight
    mask: Tensor  # bool: ``in_view``, and the motion explains the frame better than standing still


class PairSwitches(NamedTuple):
    """What of the published method is used."""

    ssim: bool = True
    auto_mask: bool = True  # leave out what looks the same without any motion
    dynamic_mask: bool = True  # weigh by 1 - D_diff: moving and occluded points count less
    brightness_fit: bool = False  # one gain and offset a pair


PUBLISHED = PairSwitches()


def pair_terms(tgt: Tensor, src: Tensor, view: View, seen: Tensor, switches: PairSwitches = PUBLISHED) -> PairTerms:
    """Terms of pairs: how well the neighbour, seen from the target's camera, explains the target.

        C = mean_c |T - S^|,    M = in view [and C < mean_c |T - S|],    P = photometric error [times 1 - D_diff]

    Args:
        tgt, src: T and S, standardised, (B, 3, H, W).
        view: S as T's camera sees it (``models.geometry.camera.synthesize_view``).
        seen: bool (B, 1, H, W), pixels of T, and of S at the place they go to, that may be compared: inside the
            endoscope's view, no highlight. Everything else may be nan.
        switches: see there.

    Returns:
        The weight 1 - D_diff and the masks get no gradient.
    """
    in_view = view.mask & seen & (view.depth_computed > 0) & (view.depth_projected > 0)
    image = view.image
    if switches.brightness_fit:
        gain, offset = brightness_fit(image, tgt, in_view)
        image, src = gain * image + offset, gain * src + offset
    photometric = photometric_error(tgt, image, in_view, ssim=switches.ssim)
    inconsistency = depth_inconsistency(view.depth_computed, view.depth_projected, in_view)
    colour = torch.where(in_view, colour_difference(tgt, image), 0.0)
    mask = in_view & (colour < colour_difference(tgt, src)) if switches.auto_mask else in_view
    if switches.dynamic_mask:
        photometric = photometric * (1 - inconsistency.detach())
    return PairTerms(photometric, inconsistency, colour, in_view, mask)


def best_neighbour(terms: PairTerms, num_neighbours: int) -> PairTerms:
    """Of the neighbours of a frame, a pixel at a time, the one whose colour fits best among those that count.

    Args:
        terms: pairs of the same targets, (N B, 1, H, W), those of the first neighbour first.
        num_neighbours: N.

    Returns:
        (B, 1, H, W) each; a pixel counts if it does so in any pair.
    """
    stacked = PairTerms(*(term.unflatten(0, (num_neighbours, -1)) for term in terms))
    cost = torch.where(stacked.mask, stacked.colour.detach(), torch.inf)
    best = cost.argmin(dim=0, keepdim=True)
    return PairTerms(*(term.gather(0, best)[0] for term in stacked))


def masked_mean(values: Tensor, mask: Tensor, min_pixels: int = MIN_PIXELS) -> Tensor:
    """Mean over the mask in the whole batch; 0 with zero gradient when it has ``min_pixels`` or fewer."""
    count = mask.sum()
    return torch.where(mask, values, 0.0).sum() / count.clamp(min=1) * (count > min_pixels)
