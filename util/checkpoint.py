"""Checkpoints on disk: ``<run>/<epoch>.pth`` with all a run needs to go on, ``<epoch>_net_*.pth`` with bare weights.

A checkpoint is a dict of ``format``, ``model`` (the method's name), ``options``, ``networks`` (weights by network),
``ema`` (running averages of some, maybe of none), ``updaters`` (optimisers, loss scales), ``random`` (a process each),
``streams`` (positions), ``batches_per_pass``, ``iteration``, ``best``, ``facts`` (what testing needs) and ``versions``;
all of it tensors and plain values, so that it loads with ``weights_only=True``. The bare weights are plain state dicts,
as the published system writes them. The checkpoints of the same name before it are ``<epoch>_1.pth``, ``<epoch>_2.pth``
and so on.
"""

import platform
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from util.errors import UserError
from util.files import atomic_path, sync
from util.weight_files import read_weights

FORMAT = 2
LATEST = "latest"


class DamagedFile(UserError):
    """The content of a file is not what was once written to it; ``reason`` says by what that is known."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


# Writing


def save_checkpoint(folder: Path, epoch: str, state: dict[str, Any], keep: int = 1) -> None:
    """Write the bare weights of each network and ``<epoch>.pth``, each whole or not at all.

    The checkpoint comes last, so that who finds it finds the weights that belong to it.

    Args:
        folder: the run's.
        epoch: name of the checkpoint.
        state: see the module.
        keep: checkpoints of this name that stay, the new one included; older ones are removed.

    Raises:
        UserError: the disk is full or cannot be written; what was there before is untouched.
    """
    path = folder / f"{epoch}.pth"
    for name, weights in state["networks"].items():
        _save(folder / f"{epoch}_{name}.pth", weights)
    _save(path, {"format": FORMAT, "versions": versions(), **state}, keep)
    for old in generations(path)[keep:]:
        old.unlink(missing_ok=True)


def _save(path: Path, state: dict[str, Any], keep: int = 1) -> None:
    try:
        with atomic_path(path) as temporary:
            with temporary.open("wb") as file:  # given a path, PyTorch swallows what the system says of a full disk
                torch.save(state, file)
            if keep > 1:
                sync(temporary)  # on the disk before anything gives way to it
                _rotate(path, keep)
    except (OSError, RuntimeError) as error:  # the latter from PyTorch's zip writer
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        advice = "check its rights." if isinstance(error, PermissionError) else "is the disk full?"
        raise UserError(f"could not write {path} ({reason}); {advice} What was saved before is intact") from error


def _rotate(path: Path, keep: int) -> None:
    """Let ``latest.pth`` be ``latest_1.pth`` too, after ``latest_1.pth`` became ``latest_2.pth``, and so on."""
    if not path.is_file():
        return
    for age in range(keep - 1, 1, -1):
        younger = _aged(path, age - 1)
        if younger.is_file():
            younger.replace(_aged(path, age))
    try:
        with atomic_path(_aged(path, 1)) as temporary:
            temporary.hardlink_to(path)  # so that there is a file called latest.pth at every instant
    except OSError:  # this file system has no hard links; until the new file is there, latest_1.pth is the latest
        path.replace(_aged(path, 1))


def put_damaged_aside(path: Path) -> list[str]:
    """Rename the damaged ones among ``latest.pth``, ``latest_1.pth``, ... to ``latest.damaged`` and so on.

    Returns:
        One phrase for each, which says so.
    """
    damaged = [file for file in generations(path) if not _is_whole(file)]
    for file in damaged:
        file.replace(file.with_suffix(".damaged"))
    return [f"{file.name} is damaged and was put aside as {file.stem}.damaged" for file in damaged]


# Reading


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint as ``save_checkpoint`` wrote it, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: its content is not what was written.
        UserError: it is no checkpoint of this project, of another version, or holds Python objects.
    """
    state = read_undamaged(path)
    if not isinstance(state, dict) or "networks" not in state or "options" not in state:
        raise UserError(f"{path} is no checkpoint of a run (bare weights are the files <epoch>_net_G.pth)")
    if state.get("format") != FORMAT:
        raise UserError(
            f"{path} has the checkpoint format {state.get('format')}, this version reads {FORMAT}; the bare weights "
            "beside it (*_net_G.pth) can be read by every version"
        )
    return state


def load_latest(folder: Path) -> tuple[Path, dict[str, Any], str]:
    """The newest whole checkpoint among ``latest.pth``, ``latest_1.pth``, ...

    Returns:
        Its file, its content, and what is wrong with the newer ones ("" when there is nothing).

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: all are damaged.
        UserError: see ``load_checkpoint``.
    """
    path, damaged = folder / f"{LATEST}.pth", {}
    for file in generations(path):
        try:
            state = load_checkpoint(file)
        except DamagedFile as error:
            damaged[file] = error
            continue
        missing = [] if path in (file, *damaged) else [f"{path.name} is missing"]
        return file, state, "; ".join(missing + [f"{f.name} is damaged ({e.reason})" for f, e in damaged.items()])
    if not damaged:
        raise FileNotFoundError(f"there is no checkpoint {path}")
    first, *others = damaged.values()
    raise DamagedFile(f"{first}{'; no older one is whole either' if others else ''}", first.reason)


def read_undamaged(path: Path) -> dict[str, Any]:
    """As ``read_weights``, but also compares the content with the checksums in the file, which PyTorch never does.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: a checksum differs, or the file ends early.
        UserError: it is no file of weights, or holds Python objects beside tensors and plain values.
    """
    archive = zipfile.is_zipfile(path)
    if archive and not _is_whole(path):
        raise DamagedFile(
            f"{path} is damaged: its content does not have the checksum that was written with it", "a checksum differs"
        )
    try:
        return read_weights(path)
    except UserError as error:
        if archive:  # as it was written
            raise
        raise DamagedFile(str(error), "it is cut off, or was never a checkpoint") from error


def _is_whole(path: Path) -> bool:
    """Whether a zip file, which PyTorch's files are, has the content that its checksums (CRC-32) were taken of."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception as error:  # what damage makes of it depends on the byte: BadZipFile, NotImplementedError, ...
        if isinstance(error, OSError) and error.filename:  # it cannot be opened
            raise
        return False


def networks_of(state: dict[str, Any], path: Path, *, ema: bool = False) -> dict[str, dict[str, Tensor]]:
    """Weights by network; with ``ema`` the running averages of those networks that have them.

    Raises:
        UserError: there are no averages; names the file.
    """
    if not ema:
        return state["networks"]
    if not state.get("ema"):
        raise UserError(f"{path} holds no averaged weights, which a training with --ema keeps; leave --use_ema out")
    return state["networks"] | state["ema"]


# What there is


def find_checkpoint(checkpoints_dir: Path, name: str, epoch: str) -> Path:
    """The file of a run's checkpoint; for ``latest`` the one before it when ``latest.pth`` itself is missing.

    Raises:
        FileNotFoundError: no such run or epoch; lists those that there are.
    """
    path = checkpoints_dir / name / f"{epoch}.pth"
    if path.is_file():
        return path
    if epoch == LATEST and generations(path):
        return generations(path)[0]
    folders = (folder for folder in checkpoints_dir.glob("*/") if not folder.name.startswith("."))
    runs = sorted(folder.name for folder in folders if weight_files(folder))
    if name not in runs:
        raise FileNotFoundError(f"no run {name!r} in {checkpoints_dir}/; runs there: {', '.join(runs) or 'none'}")
    held = saved_epochs(path.parent) or weight_files(path.parent)
    raise FileNotFoundError(f"run {name!r} has no checkpoint {epoch!r}; it has: {', '.join(held)}")


def generations(path: Path) -> list[Path]:
    """Those of ``latest.pth``, ``latest_1.pth``, ``latest_2.pth``, ... that are there, newest first."""
    ages = [re.fullmatch(rf"{re.escape(path.stem)}_(\d+)\.pth", name) for name in weight_files(path.parent)]
    older = [_aged(path, age) for age in sorted(int(match[1]) for match in ages if match)]
    return [path, *older] if path.is_file() else older


def _aged(path: Path, age: int) -> Path:
    """The name of the checkpoint that is ``age`` saves older."""
    return path.with_name(f"{path.stem}_{age}{path.suffix}")


def saved_epochs(folder: Path) -> list[str]:
    """Names of the checkpoints in a run's folder: numbers, ``best``, ``latest``, ``latest_1``."""
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
