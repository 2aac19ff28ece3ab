"""Pairs of a frame and its neighbour, out of clips with the flow between their frames."""

from typing import NamedTuple

import torch
from torch import Tensor


class NeighbourPairs(NamedTuple):
    """Source and neighbour frames of clips, pairs along the batch, pairs of one clip one after the other."""

    image_src: Tensor  # (P, 3, H, W) in [0, 1]
    image_tgt: Tensor
    depth_src: Tensor  # (P, 1, H, W)
    depth_tgt: Tensor
    flow: Tensor  # source to neighbour [px], (P, 2, H, W)
    mask: Tensor  # bool, (P, 1, H, W)


def neighbour_pairs(video: dict[str, Tensor], depth: Tensor) -> NeighbourPairs:
    """Pairs (t, t-1) and (t, t+1) of triplets, (t, t+1) of clips of two.

    Args:
        video: ``frames`` (B, T, 3, H, W) in [-1, 1], ``flow_fwd``, ``flow_bwd`` (B, T-1, 2, H, W) [px] and masks.
        depth: of the frames, (B, T, 1, H, W).
    """
    frames = to_unit(video["frames"])
    middle = (frames.shape[1] - 1) // 2
    to_next = (middle + 1, video["flow_fwd"][:, middle], video["mask_fwd"][:, middle])
    to_previous = (middle - 1, video["flow_bwd"][:, middle - 1], video["mask_bwd"][:, middle - 1])
    pairs = [to_previous, to_next] if middle > 0 else [to_next]
    return NeighbourPairs(
        image_src=torch.cat([frames[:, middle]] * len(pairs)),
        image_tgt=torch.cat([frames[:, neighbour] for neighbour, _, _ in pairs]),
        depth_src=torch.cat([depth[:, middle]] * len(pairs)),
        depth_tgt=torch.cat([depth[:, neighbour] for neighbour, _, _ in pairs]),
        flow=torch.cat([flow for _, flow, _ in pairs]),
        mask=torch.cat([mask for _, _, mask in pairs]),
    )


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1]."""
    return (images + 1) / 2
