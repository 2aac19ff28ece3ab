"""A run's folder and its state: options, checkpoints, and going on where it stopped."""

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from util.checkpoint import (
    LATEST,
    find_checkpoint,
    load_checkpoint,
    load_latest,
    networks_of,
    put_damaged_aside,
    save_checkpoint,
    saved_epochs,
    weight_files,
)
from util.engine import Engine
from util.errors import UserError
from util.files import remove_partial_files, write_text
from util.trained_weights import read_trained

OPTIONS_YAML = "opt.yaml"
POSITION_OPTIONS = ("batch_size", "video_batch_size", "max_dataset_size", "seed")  # what a place in the data depends on
# Nobody has to be told that these changed, since they say nothing about the training itself: which run it is, where it
# begins and ends (--load_pretrain is where it once began), what is kept of it, and what is shown.
UNTOLD_OPTIONS = {
    *("name", "checkpoints_dir", "continue_train", "which_epoch", "overwrite", "load_pretrain", "max_steps"),
    *("keep_last", "save_latest_freq", "save_epoch_freq"),
    *("print_freq", "display_freq", "html", "tf_log", "report"),
}


class RunState:
    """What a checkpoint holds beside the engine: the position, the best score, and facts that testing needs.

    Args:
        folder: ``<checkpoints_dir>/<name>``.
        options: plain options (numbers, strings, lists).
        engine: networks and optimisers.
        streams: has ``state_dict`` and ``load_state_dict``, the positions of the data streams, and
            ``batches_per_pass``, the batches of each, by which a position means an epoch.
        writes: whether this process writes the files; of several that train together, one does.
        keep_last: how many checkpoints ``latest`` stay, in case that the last one is damaged.
    """

    def __init__(
        self,
        folder: Path,
        options: dict[str, Any],
        engine: Engine,
        streams: Any,
        *,
        writes: bool = True,
        keep_last: int = 2,
    ) -> None:
        self.folder, self.options, self.engine, self.streams = folder, options, engine, streams
        self.writes, self.keep_last = writes, keep_last
        self.iteration = 0
        self.best: dict[str, float] = {}  # metric: lowest value so far
        self.facts: dict[str, Any] = {}
        self._saved = False

    def save(self, *epochs: str) -> None:
        """Write checkpoints of these names. Of several processes all must call it together.

        Raises:
            TrainingDiverged: the weights are spoiled, so nothing is overwritten with them.
            UserError: a file cannot be written.
        """
        self.engine.check()
        self.engine.share_statistics()
        engine_state = self.engine.state_dict(tensors=self.writes)
        if not self.writes:
            return
        state = {
            **engine_state,
            "model": self.options["model"],
            "options": self.options,
            "streams": self.streams.state_dict(),
            "batches_per_pass": self.streams.batches_per_pass,
            "iteration": self.iteration,
            "best": self.best,
            "facts": self.facts,
        }
        if not self._saved:  # what a process before this one left must not take the place of an older, whole one
            for phrase in put_damaged_aside(self.folder / f"{LATEST}.pth"):
                self._tell(phrase)
        for epoch in epochs:
            save_checkpoint(self.folder, epoch, state, keep=self.keep_last if epoch == LATEST else 1)
        self._saved = True

    def resume(self, epoch: str) -> None:
        """Go on from a checkpoint of this run; for ``latest`` from the one before it where the last one is damaged.

        Tells on stderr of such a detour, and which options are not those of the checkpoint.

        Raises:
            FileNotFoundError: there is nothing to continue.
            UserError: the checkpoint is damaged, of other networks or streams, or of options that cannot change.
        """
        path, state, trouble = self._open(epoch)
        if state["model"] != self.options["model"]:
            raise UserError(f"{path} is a checkpoint of --model {state['model']}, not of {self.options['model']}")
        self._require_fixed_options(path, state["options"])
        self._require_same_size(path, state.get("batches_per_pass", {}))
        self._require_same_networks(path, list(state["networks"]))
        self.engine.method.load_networks(state["networks"], str(path))  # names what differs, before anything changes
        self.streams.load_state_dict(state["streams"])
        self.engine.load_state_dict(state)
        self.iteration, self.best, self.facts = state["iteration"], state["best"], state["facts"]
        if trouble:
            self._tell(f"{trouble}; going on from {path.name}, iteration {self.iteration}")
        changes = option_changes(state["options"], self.options)
        if changes:
            self._tell(f"options changed since the checkpoint: {', '.join(changes)}")

    def _open(self, epoch: str) -> tuple[Path, dict[str, Any], str]:
        """The file, its content, and what is wrong with those that should have come before it."""
        path = find_checkpoint(self.folder.parent, self.folder.name, epoch)
        return load_latest(self.folder) if epoch == LATEST else (path, load_checkpoint(path), "")

    def _require_fixed_options(self, path: Path, before: dict[str, Any]) -> None:
        """A position is a number of batches, for example, so it means something else for batches of another size."""
        before, now = ({"ema": 0} | options for options in (before, self.options))
        for unknown, names in (
            ("its place in the data", POSITION_OPTIONS),
            ("how to go on with its averages", ("ema",)),
        ):
            names = [name for name in names if name in before and name in now and before[name] != now[name]]
            if names:
                changed = ", ".join(f"--{name} {before[name]} (now {now[name]})" for name in names)
                raise UserError(
                    f"{path} was trained with {changed}, so {unknown} is not known here; keep these "
                    f"options, or begin a new run from its weights by --load_pretrain {path}"
                )

    def _require_same_networks(self, path: Path, before: list[str]) -> None:
        now = list(self.engine.method.networks())
        if set(before) != set(now):
            raise UserError(
                f"{path} has the networks {', '.join(sorted(before))}, these options make {', '.join(sorted(now))}; "
                f"keep the options, or begin a new run from its weights by --load_pretrain {path}"
            )

    def _require_same_size(self, path: Path, before: dict[str, int]) -> None:
        now = self.streams.batches_per_pass
        names = [name for name in before if name in now and before[name] != now[name]]
        if names:
            changed = ", ".join(f"{before[name]} batches in a pass over {name} (now {now[name]})" for name in names)
            raise UserError(
                f"{path} was trained with {changed}, so its place in the data is not known here: the data set has "
                f"changed; put it back, or begin a new run from its weights by --load_pretrain {path}"
            )

    def _tell(self, line: str) -> None:
        if self.writes:
            sys.stderr.write(f"{line}\n")

    def improves(self, metric: str, value: float) -> bool:
        """Whether ``value`` is the lowest so far; remembers it."""
        if value >= self.best.get(metric, float("inf")):
            return False
        self.best[metric] = value
        return True


def option_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between the options of a checkpoint and those of today, e.g. ``niter 10 -> 20``."""
    names = sorted((before.keys() | now.keys()) - UNTOLD_OPTIONS)
    changed = [name for name in names if name not in before or name not in now or before[name] != now[name]]
    return [f"{name} {before.get(name, '(not there)')} -> {now.get(name, '(not there)')}" for name in changed]


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
    # Released weights are bare; in a folder of ours they are but what a run that was killed in its first save had done.
    held = saved_epochs(folder) or ([] if (folder / OPTIONS_YAML).is_file() else weight_files(folder))
    if held and not continue_train and not overwrite:
        raise UserError(
            f"{folder}/ already holds a run ({', '.join(held)}); go on with it by --continue_train, "
            "discard it by --overwrite, or choose another --name"
        )


def open_run_folder(folder: Path, options: dict[str, Any], *, continue_train: bool, overwrite: bool) -> None:
    """Make the folder of a run and write its ``opt.yaml``; an earlier run in it is kept unless told otherwise.

    The run must be locked (``util.run_lock``): what killed processes left half-written in the folder is removed.

    Raises:
        UserError, FileNotFoundError: see ``check_run_folder``.
    """
    check_run_folder(folder, continue_train=continue_train, overwrite=overwrite)
    if overwrite and ((folder / OPTIONS_YAML).is_file() or weight_files(folder)):
        shutil.rmtree(folder)
    remove_partial_files(folder)
    write_text(folder / OPTIONS_YAML, yaml.safe_dump(options, sort_keys=True))


def load_pretrained(method: Any, path: Path, *, ema: bool = False) -> dict[str, Any]:
    """Start from the networks of another run.

    Args:
        method: gets the weights of the networks that both have.
        path: see ``util.trained_weights.read_trained``.
        ema: take the running averages of the weights.

    Returns:
        The facts in the file; empty for bare weights.

    Raises:
        FileNotFoundError, UserError: nothing there, or it does not fit.
    """
    state = read_trained(path)
    method.load_networks(networks_of(state, path, ema=ema), str(path))
    return state["facts"]
