"""Padding images to sizes a network can halve, and cropping its output back."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Padding(NamedTuple):
    """Where the image lies in the padded one [px]."""

    top: int
    left: int
    height: int
    width: int


def pad_to_multiple(images: Tensor, multiple: int, minimum: int = 0) -> tuple[Tensor, Padding]:
    """Pad both sides evenly until height and width are multiples of ``multiple`` and at least ``minimum``.

    The border mirrors the image; where the pad is not smaller than the image, its edge is repeated instead.

    Args:
        images: (B, C, H, W).
        multiple: [px].
        minimum: smallest side of the result [px], rounded up to the multiple.

    Returns:
        The padded images, which are the given ones when nothing was to do, and the place for ``crop``.
    """
    height, width = images.shape[-2:]
    extra_y, extra_x = (_round_up(max(side, minimum), multiple) - side for side in (height, width))
    place = Padding(extra_y // 2, extra_x // 2, height, width)
    if extra_y == extra_x == 0:
        return images, place
    pads = (place.left, extra_x - place.left, place.top, extra_y - place.top)
    mirrors = max(pads[:2]) < width and max(pads[2:]) < height
    return F.pad(images, pads, mode="reflect" if mirrors else "replicate"), place


def crop(images: Tensor, place: Padding) -> Tensor:
    """Cut (..., H, W) out of what ``pad_to_multiple`` made, or out of a network's output of that size."""
    return images[..., place.top : place.top + place.height, place.left : place.left + place.width]


def _round_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
