"""Loading published pix2pixHD-family weights, with a guess at what a file is when it does not fit."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from util.weight_files import load_strictly


def load_published_state(
    network: nn.Module, state: Mapping[str, Tensor], source: Path | str = "the given weights"
) -> None:
    """Load a generator's or discriminator's published weights, all of them or none. ``source`` names them in errors.

    Raises:
        UserError: names the first keys that differ, both shapes, and what the file seems to be.
    """
    load_strictly(network, state, source=source, guess=_guess)


def _guess(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What the file seems to be and the option that would fit it, or "" when nothing comes to mind."""
    for trait, with_trait, without_trait in (
        (_is_discriminator, "this looks like a discriminator", "this looks like a generator"),
        (
            _is_local,
            "this looks like a local enhancer: use --netG local",
            "this looks like a global generator: use --netG global",
        ),
        (
            _is_batch_norm,
            "this looks like batch norm: use --norm batch",
            "this looks like instance norm: use --norm instance",
        ),
        (
            _is_nearest,
            "this looks like the nearest-upsampling decoder: use --upsample nearest",
            "this looks like the transposed decoder: use --upsample transposed",
        ),
    ):
        if trait(state) != trait(wanted):
            return with_trait if trait(state) else without_trait
    for option, count in (("--n_blocks_global", _num_blocks), ("--ngf", _width)):
        if count(state) != count(wanted):
            return f"the file fits {option} {count(state)}, here it is {count(wanted)}"
    return ""


def _is_discriminator(state: Mapping[str, Tensor]) -> bool:
    return any(re.match(r"(scale\d+_)?layer\d+\.", key) for key in state)


def _is_local(state: Mapping[str, Tensor]) -> bool:
    return any(key.startswith("model1_1.") for key in state)


def _is_batch_norm(state: Mapping[str, Tensor]) -> bool:
    return any(key.endswith(".running_mean") for key in state)


def _is_nearest(state: Mapping[str, Tensor]) -> bool:
    return any(re.fullmatch(r"model\w*\.\d+\.2\.weight", key) for key in state)


def _num_blocks(state: Mapping[str, Tensor]) -> int:
    return sum(bool(re.fullmatch(r"model\.\d+\.conv_block\.1\.weight", key)) for key in state)


def _width(state: Mapping[str, Tensor]) -> int:
    """Channels of the first convolution; a local enhancer's is that of its own front, which is its ngf."""
    fronts = [value for key, value in state.items() if re.fullmatch(r"model(\d+_1)?\.1\.weight", key)]
    return min((value.shape[0] for value in fronts), default=0)
