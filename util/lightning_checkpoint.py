"""Checkpoints of PyTorch Lightning, ``*.ckpt``, read without it: weights by network, and the options of the run.

Such a file is a dict of ``state_dict``, whose keys begin with the network's name, ``hyper_parameters``, and what
Lightning needs to go on. Options come as ``argparse.Namespace``, the one class beside tensors and plain values that is
let in: it is made by setting names to values that were let in before, and runs nothing.
"""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.serialization import safe_globals

from util.checkpoint import read_undamaged
from util.errors import UserError

LIGHTNING_SUFFIX = ".ckpt"
PLAIN = (bool, int, float, str)


def read_lightning(path: Path) -> dict[str, Any]:
    """The weights and options of a Lightning checkpoint, on the CPU; no code in it is run.

    Returns:
        ``networks``: weights by what their keys have before the first dot, the key being what is behind it;
        ``options``: those of ``hyper_parameters["hparams"]`` that are numbers, strings or bools, in the names of the
        project that wrote them, empty where it has none; ``facts``: empty.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: its content is not what was written.
        UserError: it is no checkpoint of Lightning, or holds other Python objects.
    """
    with safe_globals([Namespace]):
        content = read_undamaged(path)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(_is_weight(key, value) for key, value in state.items()):
        raise UserError(f"{path} is no checkpoint of PyTorch Lightning: it has no state_dict of tensors by name")
    return {"networks": _by_network(state), "options": _options(content), "facts": {}}


def _is_weight(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _by_network(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    networks: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        network, _, rest = key.partition(".")
        networks.setdefault(network, {})[rest] = tensor
    return networks


def _options(content: Mapping[str, Any]) -> dict[str, Any]:
    hyper_parameters = content.get("hyper_parameters")
    options = hyper_parameters.get("hparams") if isinstance(hyper_parameters, Mapping) else None
    held = vars(options) if isinstance(options, Namespace) else {}
    return {name: value for name, value in held.items() if isinstance(name, str) and isinstance(value, PLAIN)}
