"""Files that trained weights come in: checkpoints of a run or of Lightning, exported ones, bare weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.checkpoint import LATEST, find_checkpoint, generations, load_checkpoint, read_undamaged, weight_files
from util.errors import UserError
from util.exported_weights import SUFFIX, read_exported
from util.lightning_checkpoint import LIGHTNING_SUFFIX, read_lightning

BARE = "_net_"  # between the epoch and the network in the name of a file of bare weights
ANY = "*"  # in place of the network: all of that epoch
MODEL_SUFFIX, MODEL = ".pt", "model"  # of other projects' files: a dict, one entry of which is the network's weights


def is_bare(path: Path) -> bool:
    """Whether the file is called as bare weights are, ``<epoch>_net_<X>.pth``."""
    return BARE in path.stem and path.suffix not in (SUFFIX, LIGHTNING_SUFFIX, MODEL_SUFFIX)


def find_trained(checkpoints_dir: Path, name: str, epoch: str) -> Path:
    """The file of a run's checkpoint, or its bare weights where there is nothing else, as ``read_trained`` takes them.

    Raises:
        FileNotFoundError: no such run or epoch; lists those that there are.
    """
    try:
        return find_checkpoint(checkpoints_dir, name, epoch)
    except FileNotFoundError:
        bare = bare_weights(checkpoints_dir / name, epoch)
        if bare is None:
            raise
        return bare


def bare_weights(folder: Path, epoch: str) -> Path | None:
    """The file of bare weights of an epoch, ``<epoch>_net_*.pth`` if there are several, None without any."""
    together = folder / f"{epoch}{BARE}{ANY}.pth"
    files = weight_files_of(together)
    return together if len(files) > 1 else next(iter(files), None)


def weight_files_of(path: Path) -> list[Path]:
    """The files that ``read_trained`` reads for a path: that one, or all that ``<epoch>_net_*.pth`` stands for."""
    beginning = path.stem.removesuffix(ANY)
    if not (is_bare(path) and path.stem.endswith(BARE + ANY)):
        return [path]
    return [path.parent / name for name in weight_files(path.parent) if name.startswith(beginning)]


def read_trained(path: Path) -> dict[str, Any]:
    """``networks``, ``options`` and ``facts`` of a file of trained weights; no code in it is run.

    Args:
        path: a checkpoint, Lightning's ``*.ckpt``, a ``*.pt`` with the weights of one network under ``model`` (it is
            called so here too), ``*.safetensors``, bare weights (``<epoch>_net_*.pth`` are those of
            all networks), or a run's folder (its latest checkpoint, else its latest bare weights).

    Returns:
        What is in the file; for bare weights and Lightning's, options and facts are empty.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, or of another kind.
    """
    if path.is_dir():
        latest = path / f"{LATEST}.pth"
        path = next(iter(generations(latest)), None) or bare_weights(path, LATEST) or latest
    if path.suffix == SUFFIX:
        return read_exported(path)
    if path.suffix == LIGHTNING_SUFFIX:
        # Its options are another project's: a batch_size or seed among them is none of ours.
        return read_lightning(path) | {"options": {}}
    if path.suffix == MODEL_SUFFIX:
        return {"networks": {MODEL: _read_model(path)}, "options": {}, "facts": {}}
    if is_bare(path):
        files = weight_files_of(path) or [path]
        return {"networks": {_network(file): read_undamaged(file) for file in files}, "options": {}, "facts": {}}
    return load_checkpoint(path)


def _read_model(path: Path) -> Mapping[str, Any]:
    content = read_undamaged(path)
    weights = content.get(MODEL) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping):
        raise UserError(f"{path} has no weights under the key {MODEL!r}, as published checkpoints of this kind do")
    return weights


def _network(bare: Path) -> str:
    return bare.stem[bare.stem.index(BARE) + 1 :]
