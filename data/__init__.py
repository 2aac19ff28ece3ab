"""Data sets (``data.formats``, one file each); the streams that methods learn from; transforms; preparation tools.

A new layout on disk is a file in ``data/formats``; a new kind of stream is a class on ``BaseDataset`` and an entry in
``STREAMS``.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from data import formats
from data.base_dataset import BaseDataset
from data.clips_dataset import ClipsDataset
from data.pairs_dataset import PairsDataset
from data.phantom import prepare
from data.sfm_pairs_dataset import SfmPairsDataset
from data.streams import StreamMixer, build_mixer
from data.transforms import Preprocessing
from util.errors import UserError

STREAMS: dict[str, Callable[[Namespace], BaseDataset]] = {
    "synthetic": lambda opt: PairsDataset.from_options(opt, opt.phase),
    "video": ClipsDataset.from_options,
    "sfm": SfmPairsDataset.from_options,
}
FIRST_BATCH_SIZE = "batch_size"  # the option of the first stream of a method, which sets the length of an epoch
OTHER_BATCH_SIZES = {"video": "video_batch_size"}  # those of streams that go along with it


def add_options(parser: ArgumentParser, is_train: bool) -> None:
    """What is read, from where, and how much of it."""
    group = parser.add_argument_group("data")
    group.add_argument("--dataroot", type=Path, default=Path("datasets/phantom"), help="folder of the data set")
    formats.add_options(group)
    group.add_argument(
        "--batch_size", "--batchSize", type=int, default=8, help="samples of a batch (of the first stream)"
    )
    group.add_argument("--num_workers", "--nThreads", type=int, default=2, help="processes that load data, a stream")
    group.add_argument("--max_dataset_size", type=int, help="read this many pairs of a split at most")
    if is_train:
        group.add_argument(
            "--video_batch_size", "--videoBatchSize", type=int, default=4, help="clips of a batch, beside pairs"
        )
        group.add_argument("--epoch_size", type=int, help="iterations of an epoch; default: one pass over the data")
        group.add_argument("--serial_batches", action="store_true", help="take samples in order, without shuffling")
        group.add_argument(
            "--on_bad_sample",
            choices=("raise", "skip"),
            default="raise",
            help="a training sample that cannot be read: end and name its file, or take the next one and list the file",
        )
        group.add_argument(
            "--no_check", dest="check", action="store_false", help="train without the quick look at the data before"
        )
        prepare.add_options(parser)
    for kind in (Preprocessing, PairsDataset, ClipsDataset, SfmPairsDataset):
        kind.add_options(parser, is_train)


def check_options(parser: ArgumentParser, opt: Namespace) -> None:
    """Contradictions end here, before any data is touched; a tool may have declared only a part of the options."""
    for name in (
        *("batch_size", "video_batch_size", "epoch_size", "max_dataset_size"),
        *("load_size", "load_height", "fine_size", "frame_step", "zoom"),
    ):
        value = getattr(opt, name, None)
        if value is not None and not value >= 1:
            parser.error(f"--{name} {value}: must be at least 1")
    if opt.load_height is not None and not opt.resize_or_crop.startswith("resize"):
        parser.error(f"--load_height {opt.load_height} belongs to --resize_or_crop resize, here: {opt.resize_or_crop}")
    if getattr(opt, "num_workers", 0) < 0:
        parser.error(f"--num_workers {opt.num_workers}: must not be negative (0: load in the main process)")
    if opt.resize_or_crop == "resize_and_crop" and opt.fine_size > opt.load_size:
        parser.error(f"--fine_size {opt.fine_size} cannot be cut out of frames of --load_size {opt.load_size}")


def create_streams(opt: Namespace, rank: int = 0, world: int = 1) -> StreamMixer:
    """The streams that the method of ``opt`` learns from (``opt.streams``), mixed.

    Args:
        opt: options of the training.
        rank, world: which process this is, of how many that share each batch.

    Raises:
        UserError, FileNotFoundError: a data set is missing or wrong, or a batch cannot be shared; says what to do.
    """
    check_shares(opt, world)
    batch_sizes = {name: getattr(opt, option) for name, option in batch_size_options(opt.streams).items()}
    return build_mixer({name: STREAMS[name](opt) for name in opt.streams}, batch_sizes, opt, rank, world)


def batch_size_options(streams: Sequence[str]) -> dict[str, str]:
    """The option that holds the size of each stream's batches, by stream."""
    return {name: OTHER_BATCH_SIZES[name] if number else FIRST_BATCH_SIZE for number, name in enumerate(streams)}


def check_shares(opt: Namespace, world: int) -> None:
    """Each process, and each part of an accumulated batch, must get as many samples as the others.

    Raises:
        UserError: one does not; names the flags.
    """
    parts = opt.accumulate
    among = " with ".join([f"{world} processes"] * (world > 1) + [f"--accumulate {parts}"] * (parts > 1))
    for flag in batch_size_options(opt.streams).values():
        size = getattr(opt, flag)
        if size % (world * parts):
            raise UserError(f"--{flag} {size} cannot be shared equally ({among}); take a multiple of {world * parts}")
