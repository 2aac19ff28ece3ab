"""Options of ``train.py``."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import yaml

import data
import models
from options.base_options import (
    add_base_options,
    add_run_options,
    check_base_options,
    check_run_options,
    new_parser,
)

PRESETS = Path(__file__).parent / "presets"
FREQUENCIES = ("print_freq", "display_freq", "save_latest_freq", "save_epoch_freq", "eval_epoch_freq")


class TrainOptions:
    """Parses the command line of ``train.py``: ``TrainOptions().parse(args=None)``."""

    def parse(self, args: list[str] | None = None) -> Namespace:
        """The resolved options of a training run.

        Two passes: the first finds the preset and the method, the second parses with the groups of that method.

        Args:
            args: the command line without the program's name; None reads ``sys.argv``.

        Raises:
            SystemExit: code 2 after one line on stderr, for an unknown option, key or preset, or a contradiction.
        """
        args = sys.argv[1:] if args is None else list(args)
        parser = new_parser("Train a depth network.")
        self._add_selectors(parser)
        preset = self._selected_preset(args)
        method = self._selected_method(args, preset)
        add_run_options(parser)
        add_base_options(parser)
        add_training_options(parser)
        add_engine_options(parser)
        data.add_options(parser, is_train=True)
        method.add_options(parser, is_train=True)
        self._check_preset_keys(parser, args, preset)
        # The YAML parser gives numbers back as text, and each option's type reads them.
        opt = parser.parse_args(args, config_file_contents=yaml.safe_dump(preset))
        check_run_options(parser, opt)
        check_base_options(parser, opt)
        check_training_options(parser, opt)
        data.check_options(parser, opt)
        method.check_options(parser, opt)
        opt.is_train, opt.streams = True, list(method.streams_for(opt))
        opt.video_parts = list(method.video_parts(opt)) if "video" in opt.streams else []
        if opt.zoom > 1 and "flow" in opt.video_parts:
            parser.error(
                f"--zoom {opt.zoom}: optical flow is made for the frames as they are; --model {opt.model} reads it"
            )
        return opt

    @staticmethod
    def _add_selectors(parser: ArgumentParser) -> None:
        group = parser.add_argument_group("what to run")
        group.add_argument(
            "--preset", choices=preset_names(), help="options/presets/<preset>.yaml; the command line wins"
        )
        group.add_argument("--model", default="colon2depth", help=f"method: {', '.join(models.model_names())}")

    def _selected_preset(self, args: list[str]) -> dict[str, object]:
        name = self._first_pass(args).preset
        return yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8")) if name else {}

    def _selected_method(self, args: list[str], preset: dict[str, object]) -> type:
        selectors = self._first_pass(args)
        explicit = any(arg == "--model" or arg.startswith("--model=") for arg in args)
        name = selectors.model if explicit else str(preset.get("model", selectors.model))
        try:
            return models.find_model(name)
        except ValueError as error:
            return new_parser("Train a depth network.").error(str(error))

    def _first_pass(self, args: list[str]) -> Namespace:
        parser = new_parser("Train a depth network.", add_help=False)
        self._add_selectors(parser)
        return parser.parse_known_args(args)[0]

    @staticmethod
    def _check_preset_keys(parser: ArgumentParser, args: list[str], preset: dict[str, object]) -> None:
        known = {flag.lstrip("-") for action in parser._actions for flag in action.option_strings}
        unknown = sorted(set(preset) - known)
        if unknown:
            parser.error(f"the preset has unknown keys: {', '.join(unknown)}")


def preset_names() -> list[str]:
    """Names of the presets that come with the project."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def add_training_options(parser: ArgumentParser) -> None:
    """Schedule, saving and display, with the flag names of the pix2pixHD family."""
    group = parser.add_argument_group("training")
    group.add_argument("--niter", type=int, default=0, help="epochs at the base learning rate")
    group.add_argument("--niter_decay", type=int, default=80, help="epochs over which the rate falls linearly to 0")
    group.add_argument("--lr", type=float, default=5e-5, help="base learning rate")
    group.add_argument(
        "--lr_policy",
        choices=("linear", "cyclic"),
        default="linear",
        help="linear: --niter epochs, then down; cyclic: from --lr_low up to --lr and back, again and again",
    )
    group.add_argument("--lr_low", type=float, default=1e-4, help="where a cycle of --lr_policy cyclic begins")
    group.add_argument("--lr_half_cycle", type=int, default=1000, help="iterations from --lr_low up to --lr")
    group.add_argument("--beta1", type=float, default=0.5, help="first momentum of Adam")
    group.add_argument("--max_steps", type=int, help="end the run after this many iterations, wherever it is")
    group.add_argument("--continue_train", action="store_true", help="go on with the run of this name where it stopped")
    group.add_argument("--overwrite", action="store_true", help="start anew in the folder of an earlier run")
    group.add_argument(
        "--load_pretrain", type=Path, help="start from the networks of this checkpoint (file or run folder)"
    )
    group.add_argument(
        "--which_epoch", default="latest", help="checkpoint to continue or start from: latest, best or N"
    )
    group = parser.add_argument_group("saving and display")
    group.add_argument("--print_freq", type=int, default=100, help="iterations between logged losses")
    group.add_argument("--display_freq", type=int, default=500, help="iterations between logged pictures")
    group.add_argument("--save_latest_freq", type=int, default=1000, help="iterations between saves of latest")
    group.add_argument(
        "--keep_last", type=int, default=2, help="how many of the last saves of latest are kept: latest, latest_1, ..."
    )
    group.add_argument("--save_epoch_freq", type=int, default=10, help="epochs between checkpoints that are kept")
    group.add_argument("--eval_epoch_freq", type=int, default=5, help="epochs between scores on the eval split")
    group.add_argument(
        "--tf_log", action="store_true", help="accepted for pix2pixHD's commands; tensorboard is always on"
    )
    group.add_argument("--no_html", dest="html", action="store_false", help="no web page of training pictures")
    group.add_argument(
        "--no_report", dest="report", action="store_false", help="no scores on the test split at the end"
    )


def add_engine_options(parser: ArgumentParser) -> None:
    """How the machine is used. All but --ema, --clip_norm and --precision leave what is learned as it is."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--accumulate",
        type=int,
        default=1,
        help="work on a batch in this many parts: less memory, the same result but for batch norm",
    )
    group.add_argument(
        "--checkpoint_activations", action="store_true", help="compute activations twice: less memory, slower"
    )
    group.add_argument("--compile", action="store_true", help="torch.compile the networks")
    group.add_argument("--channels_last", action="store_true", help="memory layout that suits some GPUs")
    group.add_argument(
        "--ema", type=float, default=0.0, help="decay of running averages of the weights, e.g. 0.999; 0: none"
    )
    group.add_argument("--clip_norm", type=float, default=0.0, help="largest norm of the gradients; 0: any")
    group.add_argument(
        "--skip_nonfinite",
        type=int,
        default=0,
        help="leave out updates that are not finite, in up to this many iterations in a row; 0: the first ends the run",
    )


def check_training_options(parser: ArgumentParser, opt: Namespace) -> None:
    """Contradictions end here, before any data is touched."""
    if opt.niter < 0 or opt.niter_decay < 0 or opt.niter + opt.niter_decay == 0:
        parser.error(
            f"--niter {opt.niter} and --niter_decay {opt.niter_decay}: at least one epoch is needed, none below 0"
        )
    if not opt.lr > 0:
        parser.error(f"--lr {opt.lr}: must be positive")
    if opt.lr_policy == "cyclic" and not 0 <= opt.lr_low <= opt.lr:
        parser.error(f"--lr_low {opt.lr_low}: must lie between 0 and --lr {opt.lr}")
    if opt.max_steps is not None and opt.max_steps < 1:
        parser.error(f"--max_steps {opt.max_steps}: must be at least 1")
    for name in (*FREQUENCIES, "keep_last", "accumulate", "lr_half_cycle"):
        if getattr(opt, name) < 1:
            parser.error(f"--{name} {getattr(opt, name)}: must be at least 1")
    for name in ("clip_norm", "skip_nonfinite"):
        if not getattr(opt, name) >= 0:
            parser.error(f"--{name} {getattr(opt, name)}: must not be negative")
    if not 0 <= opt.ema < 1:
        parser.error(f"--ema {opt.ema}: the decay must lie in [0, 1)")
    if opt.continue_train and opt.overwrite:
        parser.error("--continue_train goes on with a run, --overwrite discards it: give one of them")
    if opt.continue_train and opt.load_pretrain:
        parser.error("--continue_train has weights already, --load_pretrain brings others: give one of them")
