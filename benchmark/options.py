"""Options of ``python -m util.benchmark``."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path

import torch

from benchmark.cases import ACCUMULATE, EXTRAS, KINDS
from benchmark.machine import default_precisions
from options.base_options import new_parser, resolve_gpu_ids
from util.precision import PRECISIONS

WHAT = (*KINDS, "loader", "films")
NETWORK_OPTIONS = ("ngf", "ndf", "n_downsample_global", "n_blocks_global")


def parse_options(args: list[str]) -> Namespace:
    """Resolved options; ``device`` is among them.

    Raises:
        SystemExit: code 2 after one line on stderr.
    """
    parser = new_parser("Measure what training, inference and loading cost on this machine.")
    parser.prog = "python -m util.benchmark"
    _add_what(parser)
    _add_networks(parser)
    _add_output(parser)
    opt = parser.parse_args(args)
    gpu_ids = resolve_gpu_ids(parser, opt.gpu_ids)
    if len(gpu_ids) > 1:
        parser.error(f"--gpu_ids {opt.gpu_ids}: the benchmark is of one GPU")
    opt.device = torch.device("cuda", gpu_ids[0]) if gpu_ids else torch.device("cpu")
    opt.precisions = opt.precisions or default_precisions(opt.device)
    _check(parser, opt)
    return opt


def network_flags(opt: Namespace) -> tuple[str, ...]:
    """Flags of ``train.py`` that make the networks."""
    return ("--model=colon2depth", "--gpu_ids=-1", *(f"--{name}={getattr(opt, name)}" for name in NETWORK_OPTIONS))


def names_of(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """A type for names with commas, e.g. ``train,video``."""

    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ArgumentTypeError(f"unknown {', '.join(unknown)}; known are: {', '.join(known)}")
        return list(dict.fromkeys(names))

    return parse


def numbers(text: str) -> list[int]:
    """A type for positive numbers with commas, e.g. ``256,512``."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"{text!r} are no numbers with commas") from None
    if min(values) < 1:
        raise ArgumentTypeError(f"{text}: all must be at least 1")
    return list(dict.fromkeys(values))


def _add_what(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("what is measured")
    group.add_argument("--what", type=names_of(WHAT), default=",".join(WHAT), help="which of these, with commas")
    group.add_argument(
        "--baseline", choices=("published", "none"), default="published", help="what the figures are compared with"
    )
    group.add_argument("--sizes", type=numbers, default="256,512", help="sides of the pictures [px]")
    group.add_argument("--batch", type=int, default=1, help="pairs or clips of a training step")
    group.add_argument("--infer_batches", type=numbers, default="1", help="pictures that are predicted at once")
    group.add_argument(
        "--precisions",
        type=names_of(tuple(name for name in PRECISIONS if name != "auto")),
        help="numbers that networks compute in; default: fp32 and what the device has (tf32 and bf16; bf16 on the CPU)",
    )
    group.add_argument(
        "--extras",
        type=names_of(EXTRAS),
        default="",
        help="options of training that are measured too: " + ",".join(EXTRAS),
    )
    group.add_argument("--repeats", type=int, default=5, help="how often each case has its turn")
    group.add_argument("--warmup", type=int, default=1, help="turns before that do not count")
    group.add_argument("--gpu_ids", default="0", help="which GPU; -1 is the CPU")
    group.add_argument(
        "--no_memory", dest="memory", action="store_false", help="no peak memory, for which each case is run once more"
    )


def _add_networks(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("networks")
    group.add_argument("--ngf", type=int, default=64, help="generator's channels at full size")
    group.add_argument("--ndf", type=int, default=64, help="channels of a discriminator's first layer")
    group.add_argument("--n_downsample_global", type=int, default=4, help="halvings in the generator")
    group.add_argument("--n_blocks_global", type=int, default=9, help="residual blocks of the generator")


def _add_output(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, default=Path("benchmark.json"), help="file for all figures")
    group.add_argument(
        "--page", type=Path, help="Markdown page whose tables are filled in, where it has '<!-- table: cpu-train -->'"
    )


def _check(parser: ArgumentParser, opt: Namespace) -> None:
    """Contradictions end here, before anything is measured."""
    for name in ("batch", "repeats", *NETWORK_OPTIONS):
        if getattr(opt, name) < 1:
            parser.error(f"--{name} {getattr(opt, name)}: must be at least 1")
    if opt.warmup < 0:
        parser.error(f"--warmup {opt.warmup}: must not be negative")
    if not opt.what:
        parser.error(f"--what: nothing is left to measure; known are: {', '.join(WHAT)}")
    _check_sizes(parser, opt)
    if opt.device.type == "cpu" and "tf32" in opt.precisions:
        parser.error("--precisions tf32: only NVIDIA GPUs have it")
    if opt.baseline == "published":
        if "fp32" not in opt.precisions:
            parser.error("--baseline published computes in fp32, so --precisions must have it; or say --baseline none")
        opt.precisions.sort(key=lambda name: name != "fp32")
    if "accumulate" in opt.extras and opt.batch % ACCUMULATE:
        parser.error(
            f"--extras accumulate works in {ACCUMULATE} parts, so --batch {opt.batch} must be a multiple of it"
        )
    if not opt.out.parent.is_dir():
        parser.error(f"--out {opt.out}: there is no folder {opt.out.parent}")


def _check_sizes(parser: ArgumentParser, opt: Namespace) -> None:
    """As the published generator takes them: it neither pads nor crops."""
    multiple = 2**opt.n_downsample_global
    for size in opt.sizes:
        if size % multiple or size < 2 * multiple:
            parser.error(
                f"--sizes {size}: must be a multiple of {multiple}, at least {2 * multiple}, for this generator"
            )
