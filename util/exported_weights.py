"""One file for testing elsewhere: ``<name>.safetensors`` with the networks, options and facts of a trained run.

Tensors are called ``<network>.<key>``, e.g. ``net_G.model.1.weight``. The metadata are strings, each of them JSON:
``format``, ``model``, ``options``, ``facts``, ``versions``, ``iteration``, ``ema`` (whether these are the running
averages) and ``checksum``, since the format itself notices no changed byte. Nothing in such a file is ever run.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from util.checkpoint import DamagedFile, load_checkpoint, networks_of
from util.errors import UserError
from util.files import write_bytes

FORMAT = "endodepth weights 1"
SUFFIX = ".safetensors"
FIELDS = ("format", "model", "options", "facts", "versions", "iteration", "ema", "checksum")


def export_weights(checkpoint: Path, out: Path, *, ema: bool = False) -> dict[str, dict[str, Tensor]]:
    """Write what testing needs of a checkpoint into one file, whole or not at all.

    Args:
        checkpoint: the file; its ``inference_networks`` names the networks, without it all of them are taken.
        out: ``*.safetensors``.
        ema: the running averages, where a network has them, instead of the last weights.

    Returns:
        The weights that were written, by network.

    Raises:
        FileNotFoundError: there is no checkpoint.
        UserError: it is damaged or none of ours, has no averages, or ``out`` cannot be written.
    """
    if out.suffix != SUFFIX:
        raise UserError(f"{out}: exported weights are known by their suffix {SUFFIX}; choose such a name")
    state = load_checkpoint(checkpoint)
    held = networks_of(state, checkpoint, ema=ema)
    networks = {name: held[name] for name in state.get("inference_networks") or held}
    tensors = {f"{name}.{key}": _apart(t) for name, weights in networks.items() for key, t in weights.items()}
    fields = {name: state[name] for name in ("model", "options", "facts", "versions", "iteration")}
    _write(out, tensors, {"format": FORMAT, **fields, "ema": ema})
    return networks


def _apart(tensor: Tensor) -> Tensor:
    """A copy: the format takes no two tensors that share memory, as tied weights do, and no order of axes but one."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _write(out: Path, tensors: dict[str, Tensor], fields: dict[str, Any]) -> None:
    metadata = {name: json.dumps(value) for name, value in fields.items()}
    metadata["checksum"] = json.dumps(_checksum(tensors, metadata))
    try:
        write_bytes(out, save(tensors, metadata))
    except OSError as error:
        raise UserError(f"could not write {out} ({error.strerror or error}); is the disk full?") from error


def read_exported(path: Path) -> dict[str, Any]:
    """What ``export_weights`` wrote: ``networks``, ``options``, ``facts``, ... as in a checkpoint, on the CPU.

    ``ema`` has the networks if these are running averages, and is empty if not.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it is damaged, or of another format.
        UserError: it is not one of ours, or of another version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no exported weights at {path}")
    tensors, metadata = _read(path)
    fields = _decode(path, metadata)
    if fields["checksum"] != _checksum(tensors, {key: text for key, text in metadata.items() if key != "checksum"}):
        raise DamagedFile(f"{path} is damaged: its content is not what was exported", "a checksum differs")
    networks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        network, key = name.split(".", 1)
        networks.setdefault(network, {})[key] = tensor
    return fields | {"networks": networks, "ema": networks if fields["ema"] else {}}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except OSError as error:  # the library's do not name the file
        raise UserError(f"{path} cannot be read ({error})") from error
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise DamagedFile(f"{path} is no safetensors file, or is damaged ({error})", "it cannot be read") from error


def _decode(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The metadata as values."""
    missing = [name for name in FIELDS if name not in metadata]
    if missing:
        raise UserError(
            f"{path} was not written by scripts/export_weights.sh: its metadata lack {', '.join(missing)}; "
            "export the run anew"
        )
    try:
        fields = {name: json.loads(metadata[name]) for name in FIELDS}
    except ValueError as error:
        raise DamagedFile(f"{path} is damaged: its metadata cannot be read ({error})", "no JSON") from error
    if fields["format"] != FORMAT:
        raise UserError(f"{path} has the format {fields['format']!r}, this version reads {FORMAT!r}")
    return fields


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """SHA-256 over names, shapes, types and values, and the metadata."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
