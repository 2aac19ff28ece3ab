"""Checkpoints on disk: ``<run>/<epoch>.pth`` with all a run needs to go on, ``<epoch>_net_*.pth`` with bare weights.

A checkpoint is a dict of ``format``, ``model`` (the method's name), ``options``, ``networks`` (weights by network),
``optimizers``, ``random``, ``streams`` (positions), ``iteration``, ``best``, ``facts`` (what testing needs) and
``versions``; all of it tensors and plain values, so that it loads with ``weights_only=True``. The bare weights are
plain state dicts, as the published system writes them.
"""

import platform
from pathlib import Path
from typing import Any

import torch
import torchvision

from util.errors import UserError
from util.files import atomic_path
from util.weight_files import read_weights

FORMAT = 1


def save_checkpoint(folder: Path, epoch: str, state: dict[str, Any]) -> None:
    """Write ``<epoch>.pth`` and the bare weights of each network, each whole or not at all.

    Raises:
        UserError: the disk is full or cannot be written; what was there before is untouched.
    """
    _save(folder / f"{epoch}.pth", {"format": FORMAT, "versions": versions(), **state})
    for name, weights in state["networks"].items():
        _save(folder / f"{epoch}_{name}.pth", weights)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint as ``save_checkpoint`` wrote it, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is damaged, or no checkpoint of this project.
    """
    state = read_weights(path)
    if not isinstance(state, dict) or "networks" not in state or "options" not in state:
        raise UserError(f"{path} is no checkpoint of a run (bare weights are the files <epoch>_net_G.pth)")
    if state.get("format") != FORMAT:
        raise UserError(f"{path} has the checkpoint format {state.get('format')}, this version reads {FORMAT}")
    return state


def find_checkpoint(checkpoints_dir: Path, name: str, epoch: str) -> Path:
    """The file of a run's checkpoint.

    Raises:
        FileNotFoundError: no such run or epoch; lists those that there are.
    """
    path = checkpoints_dir / name / f"{epoch}.pth"
    if path.is_file():
        return path
    runs = sorted(folder.name for folder in checkpoints_dir.glob("*/") if weight_files(folder))
    if name not in runs:
        raise FileNotFoundError(f"no run {name!r} in {checkpoints_dir}/; runs there: {', '.join(runs) or 'none'}")
    held = saved_epochs(path.parent) or weight_files(path.parent)
    raise FileNotFoundError(f"run {name!r} has no checkpoint {epoch!r}; it has: {', '.join(held)}")


def saved_epochs(folder: Path) -> list[str]:
    """Names of the checkpoints in a run's folder: numbers, ``best``, ``latest``."""
    stems = {Path(name).stem for name in weight_files(folder) if "_net_" not in name}
    return sorted(stems, key=lambda stem: (not stem.isdigit(), int(stem) if stem.isdigit() else 0, stem))


def weight_files(folder: Path) -> list[str]:
    """Names of the files of weights in a run's folder, checkpoints and bare ones; half-written ones are hidden."""
    return sorted(path.name for path in folder.glob("*.pth") if not path.name.startswith("."))


def versions() -> dict[str, str]:
    """What a result depends on beside the code."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": torchvision.__version__,
    }


def _save(path: Path, state: dict[str, Any]) -> None:
    try:
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
    except (OSError, RuntimeError) as error:  # torch's zip writer raises RuntimeError when the disk is full
        reason = str(error).splitlines()[0]
        raise UserError(
            f"could not write {path} ({reason}); is the disk full? What was saved before is intact"
        ) from error
