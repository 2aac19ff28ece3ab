"""Files that trained weights come in: checkpoints of a run or of Lightning, exported ones, bare weights."""

from pathlib import Path
from typing import Any

from util.checkpoint import LATEST, generations, load_checkpoint, read_undamaged
from util.exported_weights import SUFFIX, read_exported
from util.lightning_checkpoint import LIGHTNING_SUFFIX, read_lightning


def is_bare(path: Path) -> bool:
    """Whether the file is called as bare weights are, ``<epoch>_net_<X>.pth``."""
    return "_net_" in path.stem and path.suffix not in (SUFFIX, LIGHTNING_SUFFIX)


def read_trained(path: Path) -> dict[str, Any]:
    """``networks``, ``options`` and ``facts`` of a file of trained weights; no code in it is run.

    Args:
        path: a checkpoint, Lightning's ``*.ckpt``, ``*.safetensors``, bare weights, or a run's folder (its latest
            checkpoint).

    Returns:
        What is in the file; for bare weights and Lightning's, options and facts are empty.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, or of another kind.
    """
    if path.is_dir():
        latest = path / f"{LATEST}.pth"
        path = next(iter(generations(latest)), latest)
    if path.suffix == SUFFIX:
        return read_exported(path)
    if path.suffix == LIGHTNING_SUFFIX:
        # Its options are another project's: a batch_size or seed among them is none of ours.
        return read_lightning(path) | {"options": {}}
    if is_bare(path):
        name = path.stem[path.stem.index("net_") :]
        return {"networks": {name: read_undamaged(path)}, "options": {}, "facts": {}}
    return load_checkpoint(path)
