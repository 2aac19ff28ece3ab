"""Losses on the outputs of a multi-scale discriminator (pix2pixHD, Wang et al., CVPR 2018)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FeatureMaps = Sequence[Sequence[Tensor]]  # over scales, then over layers; the last one is the prediction

MODES = {"lsgan": F.mse_loss, "vanilla": F.binary_cross_entropy_with_logits}
REAL, FAKE = 1.0, 0.0


class GANLoss:
    """How far a discriminator's predictions are from "real" or from "fake".

        L = sum over scales of mean over pixels of l(D_k, y),    y = 1 real, 0 fake

    l is (D - y)^2 for ``lsgan`` (Mao et al., ICCV 2017), and for ``vanilla`` binary cross-entropy on logits.

    Raises:
        ValueError: the mode is unknown.
    """

    def __init__(self, mode: str = "lsgan") -> None:
        if mode not in MODES:
            raise ValueError(f"unknown GAN mode {mode!r}, known are: {', '.join(MODES)}")
        self.criterion = MODES[mode]

    def __call__(self, predictions: FeatureMaps, target_is_real: bool) -> Tensor:
        """Scalar; ``predictions`` is what the discriminator returned, of whose maps the last of each scale counts."""
        _check_scales(predictions, "predictions")
        y = REAL if target_is_real else FAKE
        judged = [_exact(maps[-1]) for maps in predictions]
        return sum(self.criterion(scale, torch.full_like(scale, y)) for scale in judged)


def feature_matching_loss(
    fake: FeatureMaps, real: FeatureMaps, n_layers: int, num_D: int, weight: float = 10.0
) -> Tensor:
    """Distance between what a discriminator sees in the fake and in the real image, its predictions left out.

        L = sum_k sum_j  4 / (n_layers + 1) * 1 / num_D * weight * mean |fake_kj - real_kj|

    Source: pix2pixHD, eq. 4 with the weights of its code.

    Args:
        fake: the discriminator's output for the generated image; gets gradient.
        real: the same for the true image; detached.
        n_layers, num_D: of the discriminator.
        weight: lambda_feat.

    Raises:
        ValueError: the number of scales or of maps is not that of such a discriminator.
    """
    for name, maps in (("fake", fake), ("real", real)):
        _check_scales(maps, name)
        if [len(scale) for scale in maps] != [n_layers + 2] * num_D:
            counts = [len(scale) for scale in maps]
            raise ValueError(f"{name} must have {num_D} scales of {n_layers + 2} maps, got {counts} maps")
    factor = 4.0 / (n_layers + 1) / num_D * weight
    pairs = [pair for scales in zip(fake, real, strict=True) for pair in list(zip(*scales, strict=True))[:-1]]
    return factor * sum(F.l1_loss(_exact(of_fake), _exact(of_real.detach())) for of_fake, of_real in pairs)


def _exact(x: Tensor) -> Tensor:
    """At least float32: a mean of small differences in half precision would be all rounding."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_scales(predictions: FeatureMaps, name: str) -> None:
    # A tensor in place of a list would be indexed along its batch, without an error.
    if isinstance(predictions, Tensor) or not predictions or any(isinstance(maps, Tensor) for maps in predictions):
        raise ValueError(f"{name} must be a list over scales of lists of feature maps, as the discriminator returns")
