"""Brightness of colour images."""

from torch import Tensor

LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, for red, green, blue as coded in the image


def luminance(images: Tensor) -> Tensor:
    """(..., 3, H, W) in [0, 1] to (..., 1, H, W) in [0, 1]; gamma is left as it is."""
    if images.ndim < 3 or images.shape[-3] != 3:
        raise ValueError(f"images must be (..., 3, H, W), got {tuple(images.shape)}")
    red, green, blue = images.split(1, dim=-3)
    return LUMA_WEIGHTS[0] * red + LUMA_WEIGHTS[1] * green + LUMA_WEIGHTS[2] * blue
