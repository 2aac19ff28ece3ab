"""Networks that see an image and give a positive depth, by name: what a method with ``--net`` chooses from.

Depth is in an arbitrary unit, different from network to network; a method that needs a scale finds it afterwards.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.networks import fc_densenet_weights, sc_depth_weights
from models.networks.fc_densenet import FCDenseNet
from models.networks.pix2pixhd import GlobalGenerator
from models.networks.sc_depth import DepthNet
from models.networks.unet import UNet
from util.padding import crop, pad_to_multiple
from util.weight_files import load_strictly

# The image as SC-Depth's networks see it, (rgb in [0, 1] - 0.45) / 0.225. As ``standardise`` of its losses, which
# networks do not import; a test holds them together.
IMAGE_MEAN, IMAGE_STD = 0.45, 0.225
MIN_DEPTH = 1e-3  # added to the generator's depth, in shares of its full scale: a saturated tanh is -1 exactly

INNER = "network."  # what keys of a ``PositiveDepth`` begin with, before those of the network within
FAMILIES = {"fcdensenet57": "bottleneck.layers.", "unet": "down.0.0.", "global": "model.1.", "resnet": "levels.0."}


def _unchanged(x: Tensor) -> Tensor:
    return x


def standardised(images: Tensor) -> Tensor:
    """[-1, 1] to about -2 to 2.4."""
    return (images * 0.5 + (0.5 - IMAGE_MEAN)) / IMAGE_STD


def depth_from_tanh(x: Tensor) -> Tensor:
    """depth = (x + 1) / 2 + 0.001, so that 1 is full scale, as for colon2depth: its weights begin with its depth."""
    return (x + 1) / 2 + MIN_DEPTH


class PositiveDepth(nn.Module):
    """Depth of images of any size by a network for images of some sizes, whose output may have any sign.

        depth = crop(to_depth(network(prepare(pad(images)))))

    Args:
        network: (B, 3, H, W) to (B, 1, H, W) where H and W are multiples of its ``size_multiple``.
        to_depth: of its output.
        prepare: from [-1, 1] to the range that it wants.

    ``recompute`` is there when the network has it, and is the network's.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        to_depth: Callable[[Tensor], Tensor] = _unchanged,
        prepare: Callable[[Tensor], Tensor] = _unchanged,
    ) -> None:
        super().__init__()
        self.network, self.to_depth, self.prepare = network, to_depth, prepare

    @property
    def size_multiple(self) -> int:
        """Sides that are multiples of it, and twice as long at least, are not padded [px]."""
        return self.network.size_multiple

    @property
    def recompute(self) -> bool:
        return self.network.recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        self.network.recompute = value

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], any size, to depth (B, 1, H, W), float32 under autocast too.

        What is padded mirrors the image, so that batch norm's statistics stay those of images.
        """
        # Twice: at the coarsest level there are 2 x 2 pixels, of which even one image gives batch norm a variance and
        # instance norm something to norm, and borders can be mirrored.
        padded, place = pad_to_multiple(images, self.size_multiple, minimum=2 * self.size_multiple)
        return crop(self.to_depth(self.network(self.prepare(padded))), place)


# ``ngf`` is the width of the generator; the others have but one. |x| as published for the two of Liu et al.: it can be
# exactly 0 (an untrained U-Net is where all its last filters are off), which losses must guard before a logarithm.
DEPTH_NETWORKS: dict[str, Callable[..., PositiveDepth]] = {
    "fcdensenet57": lambda ngf: PositiveDepth(FCDenseNet(), to_depth=torch.abs),
    "unet": lambda ngf: PositiveDepth(UNet(), to_depth=torch.abs),
    "global": lambda ngf: PositiveDepth(GlobalGenerator(ngf=ngf), to_depth=depth_from_tanh),
    "resnet": lambda ngf: PositiveDepth(DepthNet(), prepare=standardised),
}


def build_depth_network(name: str, *, ngf: int = 64) -> PositiveDepth:
    """A network of ``DEPTH_NETWORKS`` with random weights.

    Args:
        name: which one.
        ngf: channels of the generator ``global`` at full size.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in DEPTH_NETWORKS:
        raise ValueError(f"there is no depth network {name!r}, known are: {', '.join(DEPTH_NETWORKS)}")
    return DEPTH_NETWORKS[name](ngf=ngf)


# Weights


def load_depth_state(
    network: PositiveDepth, state: Mapping[str, Tensor], source: Path | str = "the given weights"
) -> None:
    """Load weights, all of them or none; those of the network within fit too. ``source`` names them in errors.

    So weights of colon2depth's generator, of SC-Depth's depth network (published names too) and of the published
    FC-DenseNet (its whole checkpoint too) are ones to begin with.

    Raises:
        UserError: names the first keys that differ, both shapes, and what the file seems to be.
    """
    if isinstance(state, Mapping):  # what else it may be is told by ``load_strictly``
        state = _our_names(state)
    load_strictly(network.network, state, source=source, guess=_guess)


def _our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the names of the network within; the published names of one family are no names of another."""
    state = fc_densenet_weights.ours_from_published(state)
    state = {key.removeprefix(INNER): value for key, value in state.items()}
    return sc_depth_weights.ours_from_published({"depth_net": state})["net_depth"]


def _guess(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What the weights seem to be, or the option that would fit them, or "" when nothing comes to mind."""
    came, expected = _family(state), _family(wanted)
    if came != expected:
        return f"this looks like --net {came}" if came else ""
    key = "model.1.bias"  # of the generator's first convolution
    if came == "global" and key in state and state[key].shape != wanted[key].shape:
        return f"the file fits --ngf {len(state[key])}, here it is {len(wanted[key])}"
    return ""


def _family(state: Mapping[str, Tensor]) -> str:
    names = (name for name, start in FAMILIES.items() if any(key.startswith(start) for key in state))
    return next(names, "")
