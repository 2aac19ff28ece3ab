"""A run's folder and its state: options, checkpoints, and going on where it stopped."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from util.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint, saved_epochs, weight_files
from util.engine import Engine
from util.errors import UserError
from util.files import write_text
from util.weight_files import read_weights

OPTIONS_YAML = "opt.yaml"
POSITION_OPTIONS = ("batch_size", "video_batch_size", "max_dataset_size", "seed")  # what a place in the data depends on


class RunState:
    """What a checkpoint holds beside the engine: the position, the best score, and facts that testing needs.

    Args:
        folder: ``<checkpoints_dir>/<name>``.
        options: plain options (numbers, strings, lists).
        engine: networks and optimisers.
        streams: has ``state_dict`` and ``load_state_dict``; the positions of the data streams.
    """

    def __init__(self, folder: Path, options: dict[str, Any], engine: Engine, streams: Any) -> None:
        self.folder, self.options, self.engine, self.streams = folder, options, engine, streams
        self.iteration = 0
        self.best: dict[str, float] = {}  # metric: lowest value so far
        self.facts: dict[str, Any] = {}

    def save(self, *epochs: str) -> None:
        """Write checkpoints of these names.

        Raises:
            TrainingDiverged: the weights are spoiled, so nothing is overwritten with them.
            UserError: a file cannot be written.
        """
        self.engine.check()
        state = {
            **self.engine.state_dict(),
            "model": self.options["model"],
            "options": self.options,
            "streams": self.streams.state_dict(),
            "iteration": self.iteration,
            "best": self.best,
            "facts": self.facts,
        }
        for epoch in epochs:
            save_checkpoint(self.folder, epoch, state)

    def resume(self, epoch: str) -> None:
        """Go on from a checkpoint of this run.

        Raises:
            FileNotFoundError: there is nothing to continue.
            UserError: the checkpoint is damaged or of other networks or streams.
        """
        path = find_checkpoint(self.folder.parent, self.folder.name, epoch)
        state = load_checkpoint(path)
        if state["model"] != self.options["model"]:
            raise UserError(f"{path} is a checkpoint of --model {state['model']}, not of {self.options['model']}")
        self._require_same_batches(path, state["options"])
        self.engine.method.load_networks(state["networks"], str(path))  # names what differs, before anything changes
        self.streams.load_state_dict(state["streams"])
        self.engine.load_state_dict(state)
        self.iteration, self.best, self.facts = state["iteration"], state["best"], state["facts"]

    def _require_same_batches(self, path: Path, before: dict[str, Any]) -> None:
        """A position is a number of batches, so it means something else for other ones."""
        changed = [
            f"--{name} {before[name]} (now {self.options[name]})"
            for name in POSITION_OPTIONS
            if name in before and name in self.options and before[name] != self.options[name]
        ]
        if changed:
            raise UserError(
                f"{path} was trained with {', '.join(changed)}, so its place in the data is not known here; keep "
                f"these options, or begin a new run from its weights by --load_pretrain {path}"
            )

    def improves(self, metric: str, value: float) -> bool:
        """Whether ``value`` is the lowest so far; remembers it."""
        if value >= self.best.get(metric, float("inf")):
            return False
        self.best[metric] = value
        return True


def check_run_folder(folder: Path, *, continue_train: bool, overwrite: bool) -> None:
    """Whether a run may begin, or go on, in this folder; to be asked before any work is done, and changes nothing.

    Raises:
        UserError: the folder holds weights, and neither ``continue_train`` nor ``overwrite`` is given.
        FileNotFoundError: ``continue_train``, but there is nothing to continue.
    """
    if continue_train and not saved_epochs(folder):
        raise FileNotFoundError(
            f"--continue_train: there is no checkpoint in {folder}/ to continue; leave the flag out to begin"
        )
    held = saved_epochs(folder) or weight_files(folder)  # released weights are bare
    if held and not continue_train and not overwrite:
        raise UserError(
            f"{folder}/ already holds a run ({', '.join(held)}); go on with it by --continue_train, "
            "discard it by --overwrite, or choose another --name"
        )


def open_run_folder(folder: Path, options: dict[str, Any], *, continue_train: bool, overwrite: bool) -> None:
    """Make the folder of a run and write its ``opt.yaml``; an earlier run in it is kept unless told otherwise.

    Raises:
        UserError, FileNotFoundError: see ``check_run_folder``.
    """
    check_run_folder(folder, continue_train=continue_train, overwrite=overwrite)
    if overwrite and ((folder / OPTIONS_YAML).is_file() or weight_files(folder)):
        shutil.rmtree(folder)
    write_text(folder / OPTIONS_YAML, yaml.safe_dump(options, sort_keys=True))


def load_pretrained(method: Any, path: Path) -> dict[str, Any]:
    """Start from the networks of another run.

    Args:
        method: gets the weights of the networks that both have.
        path: a checkpoint file, bare weights ``*_net_<X>.pth``, or a run's folder (its latest checkpoint).

    Returns:
        The facts in the checkpoint; empty for bare weights.

    Raises:
        FileNotFoundError, UserError: nothing there, or it does not fit.
    """
    path = path / "latest.pth" if path.is_dir() else path
    if "_net_" in path.stem:
        name = path.stem[path.stem.index("net_") :]
        method.load_networks({name: read_weights(path)}, str(path))
        return {}
    state = load_checkpoint(path)
    method.load_networks(state["networks"], str(path))
    return state["facts"]
