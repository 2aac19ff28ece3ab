"""Published SC-Depth weights: their names in ours, and loading with a guess at what a file is when it does not fit."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from models.networks.resnet_encoder import NUM_LAYERS, count_layers
from models.networks.sc_depth import WIDTHS
from util.weight_files import load_strictly, rename_prefixes

# Published network, and ours.
NETWORKS = {"depth_net": "net_depth", "pose_net": "net_pose", "rectify_net": "net_rectify"}

# How published keys begin, and ours; what follows is the same. upconvs0 and 1 count the levels from the coarsest.
PREFIXES = {
    "encoder.encoder.": "encoder.",
    **{f"decoder.upconvs0.{level}.conv.conv.": f"levels.{level}.reduce.1." for level in range(len(WIDTHS))},
    **{f"decoder.upconvs1.{level}.conv.conv.": f"levels.{level}.fuse.1." for level in range(len(WIDTHS))},
    "decoder.dispconvs.0.conv.": "head.1.",
    "decoder.conv_squeeze.": "head.0.",
    "decoder.convs_pose.0.": "head.2.",
    "decoder.convs_pose.1.": "head.4.",
    "decoder.convs_pose.2.": "head.6.",
}

# What the published networks hold, but never use: the encoder's classifier, and the heads of the coarser scales.
UNUSED = {f"{network}.encoder.encoder.fc.{kind}" for network in NETWORKS for kind in ("weight", "bias")}
UNUSED |= {f"depth_net.decoder.dispconvs.{scale}.conv.{kind}" for scale in (1, 2, 3) for kind in ("weight", "bias")}

NUM_ANGLES = 3  # outputs of the rectify network


def ours_from_published(networks: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Published weights by network and key, in our names of both.

    What is never used is left out. A network or key that is none of the published ones keeps its name: what is ours
    already stays as it is, and what is not known is refused when it is loaded.
    """
    return {NETWORKS.get(name, name): _ours(name, state) for name, state in networks.items()}


def _ours(network: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    used = {key: value for key, value in state.items() if f"{network}.{key}" not in UNUSED}
    return rename_prefixes(used, PREFIXES)


def load_sc_depth_state(
    network: nn.Module, state: Mapping[str, Tensor], source: Path | str = "the given weights"
) -> None:
    """Load the weights of a ``DepthNet`` or ``PoseNet``, all of them or none. ``source`` names them in errors.

    Raises:
        UserError: names the first keys that differ, both shapes, and what the file seems to be.
    """
    load_strictly(network, state, source=source, guess=_guess)


def _guess(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What the weights seem to be, or the option that would fit them, or "" when nothing comes to mind."""
    kind = _kind(state)
    if kind != _kind(wanted):
        return f"this looks like a {kind} network" if kind else ""
    came, expected = _num_layers(state), _num_layers(wanted)
    if kind == "depth" and came in NUM_LAYERS and came != expected:  # the others always have 18
        return f"the file fits --resnet_layers {came}, here it is {expected}"
    return ""


def _kind(state: Mapping[str, Tensor]) -> str:
    if any(key.startswith("levels.") for key in state):
        return "depth"
    if "head.6.bias" in state:
        return "rectify" if state["head.6.bias"].shape == (NUM_ANGLES,) else "pose"
    return ""


def _num_layers(state: Mapping[str, Tensor]) -> int:
    return count_layers({key.removeprefix("encoder.") for key in state if key.startswith("encoder.")})
