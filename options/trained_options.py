"""Options of programs that use trained networks: what the checkpoint says holds, and a flag that contradicts it is an
error.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import data
import models
from data.transforms import Preprocessing
from options.base_options import add_run_options, check_run_options, declared_by, from_plain, new_parser
from util.checkpoint import networks_of
from util.errors import UserError
from util.exported_weights import SUFFIX
from util.lightning_checkpoint import LIGHTNING_SUFFIX
from util.trained_weights import find_trained, read_trained

INHERITED = (
    *("precision", "dataroot", "dataset", "depth_format", "undistort", "mask_instruments"),
    *("display_max_mm", "seed", "frame_step", "flow", "flow_weights", "sfm_root", "max_gap"),
)
HELP = ("-h", "--help")


class TrainedOptions:
    """Parses the command line of such a program: ``parse(args=None)``; a program adds what it needs beside that.

    Networks and preprocessing are those of the checkpoint, whose options stand in for flags that are not given
    (``INHERITED``). Weights without options need ``--model`` and its flags.
    """

    description = ""

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare what the program reads beside the networks; that of ``Preprocessing`` must be among it."""
        raise NotImplementedError

    def check_options(self, parser: ArgumentParser, opt: Namespace) -> None:
        """End in ``parser.error`` when options contradict each other."""

    def parse(self, args: list[str] | None = None) -> Namespace:
        """The resolved options; ``opt.checkpoint_file`` is the file whose networks are used.

        Args:
            args: the command line without the program's name; None reads ``sys.argv``.

        Raises:
            SystemExit: code 2 after one line on stderr, for an unknown option, a run or checkpoint that is not there or
                cannot be read, or a flag that contradicts the checkpoint.
        """
        args = sys.argv[1:] if args is None else list(args)
        parser = new_parser(self.description)
        add_run_options(parser)
        add_checkpoint_options(parser)
        self.add_options(parser)
        first, _ = parser.parse_known_args([arg for arg in args if arg not in HELP])
        path, saved = self._open_checkpoint(parser, first, asks_for_help=any(arg in HELP for arg in args))
        if first.checkpoint is not None:
            parser.set_defaults(name=name_of(first.checkpoint))
        if saved.get("sfm_root") is not None:  # such a run has no pairs to be tested on
            parser.set_defaults(phase="sfm_test")
        try:
            method = models.find_model(saved.get("model", first.model))
        except ValueError as error:
            parser.error(str(error))
        fixed = {"model"} | declared_by(parser, method.add_options, False)
        fixed |= declared_by(new_parser(""), Preprocessing.add_options, False)
        return self._resolve(parser, args, path, saved, fixed)

    def _resolve(
        self, parser: ArgumentParser, args: list[str], path: Path, saved: dict[str, Any], fixed: set[str]
    ) -> Namespace:
        kept = from_plain(parser, {name: saved[name] for name in (*fixed, *INHERITED) if name in saved})
        self._refuse_contradictions(parser, args, kept, fixed, path)
        parser.set_defaults(**kept)
        opt = parser.parse_args(args)
        opt.is_train, opt.checkpoint_file = False, path
        check_run_options(parser, opt)
        data.check_options(parser, opt)
        self.check_options(parser, opt)
        return opt

    @staticmethod
    def _open_checkpoint(
        parser: ArgumentParser, first: Namespace, *, asks_for_help: bool
    ) -> tuple[Path, dict[str, Any]]:
        """The file and the options in it; bare published weights have none, and help is given without any."""
        try:
            path = find_given(first)
            state = read_trained(path)
            networks_of(state, path, ema=first.use_ema)  # whether there are averages
            return path, state["options"]
        except (UserError, OSError) as error:
            return (Path(), {}) if asks_for_help else parser.error(str(error))

    @staticmethod
    def _refuse_contradictions(
        parser: ArgumentParser, args: list[str], kept: dict[str, Any], fixed: set[str], path: Path
    ) -> None:
        unset = object()
        explicit = parser.parse_args(args, namespace=Namespace(**{action.dest: unset for action in parser._actions}))
        wrong = [
            f"--{name} {getattr(explicit, name)} (the checkpoint has {kept[name]})"
            for name in sorted(fixed & kept.keys())
            if getattr(explicit, name) is not unset and getattr(explicit, name) != kept[name]
        ]
        if wrong:
            parser.error(f"{path} was trained otherwise: {', '.join(wrong)}; leave the flag out")


def add_checkpoint_options(parser: ArgumentParser) -> None:
    """Which networks are used."""
    group = parser.add_argument_group("checkpoint")
    group.add_argument(
        "--model", default="colon2depth", help="method, for weights without options; a checkpoint knows its own"
    )
    group.add_argument("--which_epoch", default="latest", help="checkpoint of the run: latest, best or N")
    group.add_argument(
        "--checkpoint",
        type=Path,
        help="a file instead of --name and --which_epoch: *.pth, exported *.safetensors, published *.ckpt and *.pt; "
        "or the folder of a run instead of --name",
    )
    group.add_argument(
        "--use_ema", action="store_true", help="the averaged weights, of a run that was trained with --ema"
    )


def find_given(opt: Namespace) -> Path:
    """The file that ``--checkpoint``, or ``--name`` and ``--which_epoch``, mean.

    Raises:
        FileNotFoundError: the run has no such checkpoint; lists those that there are.
    """
    if opt.checkpoint is None:
        return find_trained(opt.checkpoints_dir, opt.name, opt.which_epoch)
    if not opt.checkpoint.is_dir():
        return opt.checkpoint
    folder = opt.checkpoint if opt.checkpoint.name else opt.checkpoint.resolve()
    return find_trained(folder.parent, folder.name, opt.which_epoch)


def name_of(checkpoint: Path) -> str:
    """The run that a folder or a checkpoint in it belongs to; a file of another project, or an exported one, is its
    own.
    """
    if checkpoint.suffix in (SUFFIX, LIGHTNING_SUFFIX) and not checkpoint.is_dir():
        return checkpoint.stem
    checkpoint = checkpoint.resolve()
    return checkpoint.name if checkpoint.is_dir() else checkpoint.parent.name
