"""Weights from outside: reading a file safely, torchvision's downloads, and loading that names what does not fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from util.errors import UserError

NUM_NAMED = 3  # keys of a kind that an error lists


def read_weights(path: Path) -> dict[str, Any]:
    """Load a file of weights to the CPU; no code in it is run.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no file of weights, or holds Python objects beside tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file makes the unpickler raise depends on the byte: IndexError, ...
        if isinstance(error, OSError) and error.filename:  # it cannot be opened; OSErrors of the unpickler name no file
            raise
        # PyTorch's own message advises to load unsafely; ours must not.
        raise UserError(
            f"{path} is no PyTorch file of weights, is damaged, or holds Python objects, which are never loaded; "
            "save its state dict alone"
        ) from error


def read_or_download(path: Path | None, published: WeightsEnum, advice: str) -> dict[str, Any]:
    """Weights of ``path``, or torchvision's ``published`` ones (kept in its cache) when there is no path.

    Raises:
        UserError: the download failed; the message ends with ``advice``.
    """
    if path is not None:
        return read_weights(path)
    try:
        return published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"download of {published.url} failed ({error}); {advice}") from error


def load_strictly(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: Path | str = "the given weights",
    guess: Callable[[Mapping, Mapping], str] | None = None,
) -> None:
    """Load ``state`` if its keys and shapes are the network's, else say what differs and leave the network as it is.

    The prefix ``module.``, left by parallel wrappers, is dropped.

    Args:
        network: takes the weights.
        state: tensors by name.
        source: where they come from, for the error.
        guess: gets the network's state and the given one, returns what the file seems to be, or "".

    Raises:
        UserError: names the first missing, unexpected and differently shaped keys, and the guess.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"{source}: expected tensors by name, got {type(state).__name__}")
    strangers = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        named = ", ".join(str(key) for key in strangers[:NUM_NAMED])
        raise UserError(f"{source}: expected tensors by name, but {named} hold no tensor; is it a whole checkpoint?")
    state = {key.removeprefix("module."): value for key, value in state.items()}
    wanted = network.state_dict()
    differences = _differences(wanted, state)
    if differences:
        hints = [guess(wanted, state)] if guess else []
        reasons = "; ".join(reason for reason in differences + hints if reason)
        raise UserError(f"{source}: do not fit {type(network).__name__}: {reasons}")
    network.load_state_dict(state, strict=True)


def _differences(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """One phrase for each kind of difference, empty when there is none."""
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    shapes = [(key, tuple(state[key].shape), tuple(wanted[key].shape)) for key in wanted if key in state]
    reshaped = [f"{key} is {came} in the file, {expected} here" for key, came, expected in shapes if came != expected]
    kinds = {"missing from the file": missing, "unknown here": unexpected, "of another shape": reshaped}
    return [f"{len(keys)} {kind}: {', '.join(keys[:NUM_NAMED])}" for kind, keys in kinds.items() if keys]


def rename_prefixes(state: Mapping[str, Any], prefixes: Mapping[str, str]) -> dict[str, Any]:
    """The entries under other names: what a key begins with is replaced, by the first of ``prefixes`` that fits.

    Keys that begin with none of them stay. Of a weight that is there by both names one would hide the other; it keeps
    the name that is not wanted, to be refused when it is loaded.
    """
    renamed = {}
    for key, value in state.items():
        name = next((new + key.removeprefix(old) for old, new in prefixes.items() if key.startswith(old)), key)
        renamed[key if name in state else name] = value
    return renamed
