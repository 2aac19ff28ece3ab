"""Options of ``test.py``: what is tested, what is written, and how it is scored."""

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

import data
import models
from options.base_options import add_base_options, check_base_options
from options.trained_options import TrainedOptions
from util.metrics import ALIGNMENTS

NAMED_CROPS = ("none", "kitti", "nyu")


class TestOptions(TrainedOptions):
    """Parses the command line of ``test.py``: ``TestOptions().parse(args=None)``.

    Results are kept under the name of the run; those of a file without one under the file's, unless ``--name`` says
    otherwise.
    """

    __test__ = False  # its name looks like a test to pytest
    description = "Test a trained depth network: depth maps, scores and a gallery."

    def add_options(self, parser: ArgumentParser) -> None:
        add_base_options(parser)
        add_testing_options(parser)
        data.add_options(parser, is_train=False)

    def check_options(self, parser: ArgumentParser, opt: Namespace) -> None:
        check_base_options(parser, opt)
        check_testing_options(parser, opt)


def add_testing_options(parser: ArgumentParser) -> None:
    """What is tested, and what is written."""
    group = parser.add_argument_group("testing")
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
        "--protocol",
        choices=("simcol3d", "registration"),
        help="also score by a challenge's own protocol, as one trajectory; or register clouds of frames to --surface",
    )
    group.add_argument(
        "--surface",
        help="mesh or points [mm] in the world of the poses: PLY, OBJ or STL; {clip} stands for the clip's name",
    )
    group.add_argument(
        "--surface_start", type=Path, help="JSON with the similarity from the world of the poses to the surface"
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
    if opt.intrinsics is not None and not opt.intrinsics.is_file():
        parser.error(f"--intrinsics {opt.intrinsics}: there is no such file")
    if opt.fov is not None and not 0 < opt.fov < 180:
        parser.error(f"--fov {opt.fov}: a pinhole camera's field of view lies between 0 and 180 degrees")
    if not 0 < opt.fps < math.inf:
        parser.error(f"--fps {opt.fps}: must be positive")
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
    if (opt.protocol == "registration") != (opt.surface is not None):
        parser.error("--protocol registration and --surface belong together: clouds are registered to a surface")
    if opt.surface_start is not None and opt.surface is None:
        parser.error(f"--surface_start {opt.surface_start} is where a registration to --surface starts; give that too")
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
