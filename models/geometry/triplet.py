"""A frame of a video with the frames around it, and the pairs that they make."""

from typing import NamedTuple

import torch
from torch import Tensor

from models.geometry.camera import rotation_warp
from models.geometry.motion import rotation_from_angles

ALL_OF_A_PIXEL = 0.999  # of a sampled mask


class Triplet(NamedTuple):
    """Target frames and their neighbours, two as a rule; masks say where a frame may be compared."""

    tgt: Tensor  # (B, 3, H, W)
    refs: Tensor  # (R, B, 3, H, W)
    seen_tgt: Tensor  # bool (B, 1, H, W)
    seen_refs: Tensor  # bool (R, B, 1, H, W)
    K: Tensor  # (B, 3, 3) [px]

    @classmethod
    def of_clips(cls, frames: Tensor, seen: Tensor, K: Tensor) -> "Triplet":
        """The middle frame of each clip (B, T, 3, H, W), with masks (B, T, 1, H, W), and the others around it."""
        middle = (frames.shape[1] - 1) // 2
        others = [t for t in range(frames.shape[1]) if t != middle]
        refs, seen_refs = (torch.stack([x[:, t] for t in others]) for x in (frames, seen))
        return cls(frames[:, middle], refs, seen[:, middle], seen_refs, K)

    def turned(self, angles: Tensor) -> "Triplet":
        """The neighbours as cameras at their places see them that are turned by ``angles`` (R B, 3) [rad]."""
        refs, seen = turn(self.refs.flatten(0, 1), self.seen_refs.flatten(0, 1), angles, self.K_of_refs())
        shape = self.refs.shape[:2]
        return self._replace(refs=refs.unflatten(0, shape), seen_refs=seen.unflatten(0, shape))

    def K_of_refs(self) -> Tensor:
        """(R B, 3, 3)."""
        return self.K.repeat(len(self.refs), 1, 1)


def both_ways(tgt: Tensor, refs: Tensor) -> tuple[Tensor, Tensor]:
    """What belongs to targets (B, ...) and neighbours (R, B, ...), as the targets and sources of all 2 R B pairs.

    First each target with its neighbours as sources, the first neighbour of all of them first, then the way back.
    """
    tgt = tgt.expand_as(refs)
    return torch.cat((tgt, refs)).flatten(0, 1), torch.cat((refs, tgt)).flatten(0, 1)


def turn(images: Tensor, seen: Tensor, angles: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) and their masks as cameras at the same places see them that are turned by ``angles``."""
    both = torch.cat((images, seen.to(images.dtype)), dim=1)
    turned, inside = rotation_warp(both, rotation_from_angles(angles), K)
    return turned[:, :-1], inside & (turned[:, -1:] > ALL_OF_A_PIXEL)
