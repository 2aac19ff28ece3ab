"""Perceptual loss on VGG19 features, as pix2pixHD weighs them."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from util.weight_files import load_strictly, read_or_download

LAYER_WEIGHTS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}  # relu1_1 ... relu5_1, by index in vgg19.features
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ADVICE = "give a local file of torchvision's vgg19 weights with --vgg_weights FILE, or leave --vgg_loss out"


class PerceptualLoss(nn.Module):
    """Distance of two pictures in the features of a frozen VGG19 trained on ImageNet.

        L = sum_l w_l mean |phi_l(fake) - phi_l(real)|,    l = relu1_1 ... relu5_1,  w = 1/32, 1/16, 1/8, 1/4, 1

    Source: pix2pixHD (CVPR 2018); unlike its code, pictures are normalised as VGG19 saw them in training.

    Args:
        weights: file of torchvision's ``vgg19`` weights; without it they are downloaded.

    Raises:
        UserError: the weights do not fit, or the download failed.
        FileNotFoundError: there is no file ``weights``.
    """

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.features = make_layers(cfgs["E"], batch_norm=False)[: max(LAYER_WEIGHTS) + 1]
        state = read_or_download(weights, VGG19_Weights.IMAGENET1K_V1, ADVICE)
        wanted = self.features.state_dict()
        features = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
        used = {key: value for key, value in features.items() if key in wanted}
        load_strictly(self.features, used, source=weights or VGG19_Weights.IMAGENET1K_V1.url)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Scalar from two (B, 1, H, W) or (B, 3, H, W) in [-1, 1]; one channel is repeated. ``real`` is detached.

        Raises:
            ValueError: the shapes differ or have another number of channels.
        """
        if fake.shape != real.shape or fake.shape[1] not in (1, 3):
            shapes = tuple(fake.shape), tuple(real.shape)
            raise ValueError(f"fake and real must both be (B, 1, H, W) or (B, 3, H, W), got {shapes}")
        x, y = self._normalise(fake), self._normalise(real.detach())
        loss = x.new_zeros(())
        for index, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if index in LAYER_WEIGHTS:
                loss = loss + LAYER_WEIGHTS[index] * F.l1_loss(x, y)
        return loss

    def _normalise(self, images: Tensor) -> Tensor:
        """[-1, 1] to what VGG19 expects, (B, 3, H, W)."""
        return ((images + 1) / 2 - self.mean) / self.std  # one channel becomes three by broadcasting
