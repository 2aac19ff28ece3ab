"""Options of ``test.py``: what the checkpoint says, and what a test may choose."""

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

import data
import models
from data.transforms import Preprocessing
from options.base_options import add_base_options, check_base_options, declared_by, from_plain, new_parser
from util.checkpoint import find_checkpoint, networks_of
from util.errors import UserError
from util.exported_weights import SUFFIX
from util.metrics import ALIGNMENTS
from util.trained_weights import read_trained

INHERITED = (
    *("precision", "dataroot", "dataset", "depth_format", "undistort", "mask_instruments"),
    *("display_max_mm", "seed", "frame_step", "flow", "flow_weights"),
)
NAMED_CROPS = ("none", "kitti", "nyu")


class TestOptions:
    """Parses the command line of ``test.py``: ``TestOptions().parse(args=None)``.

    Networks and preprocessing are those of the checkpoint. A flag that says otherwise is an error. Results of an
    exported file are kept under its own name, unless ``--name`` gives another.
    """

    __test__ = False  # its name looks like a test to pytest

    def parse(self, args: list[str] | None = None) -> Namespace:
        """The resolved options of a test; ``opt.checkpoint_file`` is the file that is tested.

        Args:
            args: the command line without the program's name; None reads ``sys.argv``.

        Raises:
            SystemExit: code 2 after one line on stderr, for an unknown option, a run or checkpoint that is not there or
                cannot be read, or a flag that contradicts the checkpoint.
        """
        args = sys.argv[1:] if args is None else list(args)
        parser = new_parser("Test a trained depth network: depth maps, scores and a gallery.")
        add_base_options(parser)
        add_testing_options(parser)
        first, _ = parser.parse_known_args([arg for arg in args if arg not in ("-h", "--help")])
        path, saved = self._open_checkpoint(parser, first)
        if path.suffix == SUFFIX:
            parser.set_defaults(name=path.stem)
        try:
            method = models.find_model(saved.get("model", first.model))
        except ValueError as error:
            parser.error(str(error))
        fixed = {"model"} | declared_by(parser, method.add_options, False)
        fixed |= declared_by(new_parser(""), Preprocessing.add_options, False)
        data.add_options(parser, is_train=False)
        return self._resolve(parser, args, path, saved, fixed)

    def _resolve(
        self, parser: ArgumentParser, args: list[str], path: Path, saved: dict[str, Any], fixed: set[str]
    ) -> Namespace:
        kept = from_plain(parser, {name: saved[name] for name in (*fixed, *INHERITED) if name in saved})
        self._refuse_contradictions(parser, args, kept, fixed, path)
        parser.set_defaults(**kept)
        opt = parser.parse_args(args)
        opt.is_train, opt.checkpoint_file = False, path
        check_base_options(parser, opt)
        check_testing_options(parser, opt)
        data.check_options(parser, opt)
        return opt

    @classmethod
    def _open_checkpoint(cls, parser: ArgumentParser, first: Namespace) -> tuple[Path, dict[str, Any]]:
        """The file to test and the options in it; bare published weights have none."""
        try:
            path = first.checkpoint or cls._find_in_run(first.checkpoints_dir, first.name, first.which_epoch)
            state = read_trained(path)
            networks_of(state, path, ema=first.use_ema)  # whether there are averages to test
            return path, state["options"]
        except (UserError, OSError) as error:
            return parser.error(str(error))

    @staticmethod
    def _find_in_run(checkpoints_dir: Path, name: str, epoch: str) -> Path:
        bare = checkpoints_dir / name / f"{epoch}_net_G.pth"
        try:
            return find_checkpoint(checkpoints_dir, name, epoch)
        except FileNotFoundError:
            if bare.is_file():
                return bare
            raise

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


def add_testing_options(parser: ArgumentParser) -> None:
    """What is tested, and what is written."""
    group = parser.add_argument_group("testing")
    group.add_argument(
        "--model", default="colon2depth", help="method, for weights without options; a checkpoint knows its own"
    )
    group.add_argument("--which_epoch", default="latest", help="checkpoint of the run: latest, best or N")
    group.add_argument(
        "--checkpoint", type=Path, help="a file instead of --name and --which_epoch: *.pth, exported *.safetensors"
    )
    group.add_argument(
        "--use_ema", action="store_true", help="the averaged weights, of a run that was trained with --ema"
    )
    group.add_argument("--input", type=Path, help="folder of frames, one frame or a video; default: the split --phase")
    group.add_argument("--truth", type=Path, help="folder of depth maps of the --input frames, if not beside them")
    group.add_argument("--results_dir", type=Path, default=Path("results"), help="where results are written")
    group.add_argument("--how_many", type=int, help="test this many frames at most")
    group.add_argument(
        "--temporal",
        action="store_true",
        help="the frames follow each other: score consistency over time, and the camera's path where poses are known",
    )
    group = parser.add_argument_group("output")
    group.add_argument("--save_npy", action="store_true", help="also write depth as float32 .npy")
    group.add_argument("--save_ply", action="store_true", help="also write point clouds (needs intrinsics or --fov)")
    group.add_argument("--intrinsics", type=Path, help="intrinsics.json of the frames; default: the one beside them")
    group.add_argument("--fov", type=float, help="horizontal field of view of a pinhole camera [degrees]")
    group.add_argument("--fps", type=float, default=25.0, help="frame rate of depth videos of frame folders")
    group = parser.add_argument_group("scores")
    group.add_argument(
        "--protocol", choices=("simcol3d",), help="also score by a challenge's own protocol, as one trajectory"
    )
    group.add_argument(
        "--align",
        choices=ALIGNMENTS,
        help="alignment of pictures and of the gallery's scores; default: none, or median where depth has no mm",
    )
    group.add_argument("--min_eval_mm", type=float, help="true depth counts beyond this; predictions are clamped to it")
    group.add_argument("--max_eval_mm", type=float, help="true depth counts before this; predictions are clamped to it")
    group.add_argument(
        "--eval_crop",
        type=parse_crop,
        default="none",
        metavar="none|kitti|nyu|TOP,BOTTOM,LEFT,RIGHT",
        help="part of the truth that counts [px], rows TOP to BOTTOM - 1 and columns LEFT to RIGHT - 1",
    )
    group.add_argument(
        "--seg_mask",
        type=Path,
        help="folder of label pictures, called as the frames, with dynamic_colors.txt (a row R G B for each class that "
        "moves): also score what is static and what is dynamic apart",
    )


def check_testing_options(parser: ArgumentParser, opt: Namespace) -> None:
    """Contradictions end here, before any frame is read."""
    if opt.input is not None and not opt.input.exists():
        parser.error(f"--input {opt.input}: there is no such file or folder")
    if opt.truth is not None and opt.input is None:
        parser.error("--truth gives the depth of --input frames; without --input the split --phase has its own")
    if opt.save_ply and opt.fov is not None and opt.intrinsics is not None:
        parser.error("--intrinsics and --fov both describe the camera: give one of them")
    if opt.how_many is not None and opt.how_many < 1:
        parser.error(f"--how_many {opt.how_many}: must be at least 1")
    check_score_options(parser, opt)


def check_score_options(parser: ArgumentParser, opt: Namespace) -> None:
    """What contradicts itself among the options of scores."""
    if opt.align == "none" and not models.find_model(opt.model).metric:
        parser.error(f"--align none: the depth of {opt.model} has no mm before an alignment; median or scale_shift")
    low = 0.0 if opt.min_eval_mm is None else opt.min_eval_mm
    high = math.inf if opt.max_eval_mm is None else opt.max_eval_mm
    if not 0 <= low < high:
        parser.error(f"--min_eval_mm {low} and --max_eval_mm {high}: need 0 <= minimum < maximum")
    if opt.seg_mask is not None and not opt.seg_mask.is_dir():
        parser.error(f"--seg_mask {opt.seg_mask}: there is no such folder")


def parse_crop(text: str) -> str | tuple[int, int, int, int]:
    """``none``, ``kitti``, ``nyu`` or ``TOP,BOTTOM,LEFT,RIGHT`` of the command line.

    Raises:
        ArgumentTypeError: it is none of them, or an empty crop.
    """
    if text in NAMED_CROPS:
        return text
    try:
        top, bottom, left, right = map(int, text.split(","))
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is neither {', '.join(NAMED_CROPS)} nor TOP,BOTTOM,LEFT,RIGHT [px]"
        ) from None
    if not (0 <= top < bottom and 0 <= left < right):
        raise ArgumentTypeError(f"{text!r} is empty; rows are TOP to BOTTOM - 1, columns LEFT to RIGHT - 1, from 0")
    return top, bottom, left, right
