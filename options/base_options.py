"""Options that training and testing share, and the machinery that turns groups into one parser."""

import sys
from argparse import SUPPRESS, Action, ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from pathlib import Path
from typing import Any, NoReturn

import torch
from configargparse import ArgumentParser as PresetParser
from configargparse import YAMLConfigFileParser

from util.errors import USER_ERROR_CODE
from util.precision import PRECISIONS


class Refuse(Action):
    """An option of the pix2pixHD family that has no meaning for depth: using it is an error that says why."""

    def __init__(self, *args: Any, why: str = "", **kwargs: Any) -> None:
        super().__init__(*args, nargs=0, default=SUPPRESS, help=SUPPRESS, **kwargs)
        self.why = why

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option: str | None = None) -> None:
        parser.error(f"{option}: {self.why}")


class OptionParser(PresetParser):
    """Reads presets and the command line; an error is one line, not the list of all options."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR_CODE, f"error: {message} (--help lists the options)\n")


def new_parser(description: str, add_help: bool = True) -> ArgumentParser:
    """A parser that takes presets (YAML) and refuses abbreviated flags, whose meaning would change with new options."""
    return OptionParser(
        description=description,
        add_help=add_help,
        config_file_parser_class=YAMLConfigFileParser,
        formatter_class=ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )


def add_run_options(parser: ArgumentParser) -> None:
    """Where a run lives and what it runs on."""
    group = parser.add_argument_group("run")
    group.add_argument("--name", default="colon2depth_512p", help="name of the run: its folder under --checkpoints_dir")
    group.add_argument("--checkpoints_dir", type=Path, default=Path("checkpoints"), help="where runs are kept")
    group.add_argument("--gpu_ids", default="0", help="GPUs, e.g. 0 or 0,1,2 (DataParallel over them); -1 is the CPU")
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="what networks compute in; auto: bf16 on GPUs that have it (Ampere and later), else tf32; the CPU: fp32",
    )


def check_run_options(parser: ArgumentParser, opt: Namespace) -> None:
    """Refuse names that are paths, and resolve ``--gpu_ids`` to a list (empty = CPU)."""
    if opt.name in ("", "..") or Path(opt.name).name != opt.name:
        parser.error(f"--name {opt.name!r} must be one folder name, not a path")
    opt.gpu_ids = resolve_gpu_ids(parser, opt.gpu_ids)


def add_base_options(parser: ArgumentParser) -> None:
    """What training and testing share beside ``add_run_options``."""
    group = parser.add_argument_group("seed and pictures")
    group.add_argument("--seed", type=int, default=0, help="seed of weights, order and augmentation")
    group.add_argument(
        "--display_max_mm", type=float, default=100.0, help="depth of the darkest colour in pictures [mm]"
    )
    group.add_argument(
        "--label_nc", type=int, default=0, help="pix2pixHD's label channels; depth is learned from RGB: 0"
    )
    group.add_argument(
        "--no_instance", action="store_true", help="accepted for pix2pixHD's commands; there are no instance maps"
    )
    for flag in ("--instance_feat", "--label_feat"):
        group.add_argument(
            flag, action=Refuse, why="instance and label maps are pix2pixHD's; depth is learned from RGB frames"
        )


def check_base_options(parser: ArgumentParser, opt: Namespace) -> None:
    """Refuse what contradicts the task."""
    if opt.label_nc != 0:
        parser.error(
            f"--label_nc {opt.label_nc}: label maps are pix2pixHD's; depth is learned from RGB, use --label_nc 0"
        )
    if opt.seed < 0:
        parser.error(f"--seed {opt.seed}: must not be negative")
    if opt.display_max_mm <= 0:
        parser.error(f"--display_max_mm {opt.display_max_mm}: must be positive")


def resolve_gpu_ids(parser: ArgumentParser, text: str) -> list[int]:
    """``"0,1"`` -> ``[0, 1]``; ``"-1"`` -> ``[]`` (CPU). Without CUDA it is the CPU, and one line says so."""
    try:
        gpu_ids = [int(part) for part in str(text).split(",")]
    except ValueError:
        parser.error(f"--gpu_ids {text!r}: expected numbers with commas, e.g. 0,1, or -1 for the CPU")
    if gpu_ids == [-1]:
        return []
    if min(gpu_ids) < 0 or len(set(gpu_ids)) != len(gpu_ids):
        parser.error(f"--gpu_ids {text}: every GPU once, and no negative number beside -1 alone")
    if not torch.cuda.is_available():
        sys.stderr.write("CUDA is not available: running on the CPU (--gpu_ids -1 says so without this line)\n")
        return []
    if max(gpu_ids) >= torch.cuda.device_count():
        parser.error(f"--gpu_ids {text}: this machine has GPUs 0 to {torch.cuda.device_count() - 1}")
    return gpu_ids


def declared_by(parser: ArgumentParser, add_options: Any, *args: Any) -> set[str]:
    """Call ``add_options(parser, *args)`` and return the names of the options it declared."""
    before = {action.dest for action in parser._actions}
    add_options(parser, *args)
    return {action.dest for action in parser._actions} - before


def to_plain(opt: Namespace) -> dict[str, Any]:
    """Options as a dict of numbers, strings and lists, for YAML and for checkpoints loaded with ``weights_only``."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in sorted(vars(opt).items())}


def from_plain(parser: ArgumentParser, plain: dict[str, Any]) -> dict[str, Any]:
    """The opposite of ``to_plain`` for the options that ``parser`` knows; others are left out."""
    actions = {action.dest: action for action in parser._actions}
    known = {name: value for name, value in plain.items() if name in actions}
    return {
        name: Path(value) if actions[name].type is Path and value is not None else value
        for name, value in known.items()
    }
