"""Makes pseudo-depth of clips with a trained depth network; ``python -m data.pseudo_depth`` starts it.

Beside the frames' depth, ``pseudo_depth.json`` says what it was made by, so that a second call does what is left, and
never mixes the depth of two networks.
"""

import hashlib
import json
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import models
from data.clips import Clip
from data.formats import open_clips
from data.pseudo_depth import (
    PSEUDO_DEPTH_JSON,
    default_folder,
    frame_stem,
    write_pseudo_depth,
    write_pseudo_depth_json,
)
from data.transforms import Preprocessing
from evaluation.predictor import Predictor, trained_predictor
from evaluation.scores import PREDICT_BATCH, batches
from options.base_options import declared_by, new_parser, to_plain
from options.trained_options import TrainedOptions
from util.allocator import keep_freed_memory
from util.errors import UserError, run_cli
from util.files import remove_partial_files
from util.interrupt import stopping_loses_nothing
from util.progress import progress_bar
from util.trained_weights import weight_files_of

DIFFERENCES = {  # what ``made_by`` says, and what it means when that differs
    "model": "another method",
    "weights": "averaged weights and others",
    "sha256": "other weights",
    "options": "other options",
}
CHUNK_BYTES = 2**20
ABANDONED_S = 3600.0  # a half-written frame that nobody has written to for so long is of a killed process [s]


class PseudoDepthOptions(TrainedOptions):
    """Parses the command line: ``PseudoDepthOptions().parse(args=None)``."""

    description = "Make pseudo-depth of clips, which SC-Depth V3 learns from, with a trained depth network."

    def add_options(self, parser: ArgumentParser) -> None:
        group = parser.add_argument_group("pseudo-depth")
        group.add_argument("--video_root", type=Path, help="folder of the clips")
        group.add_argument(
            "--out", type=Path, help="where it is written; default: pseudo_depth/<clips' folder> beside the clips"
        )
        group.add_argument(
            "--overwrite", action="store_true", help="make it anew where there is some, which this program has made"
        )
        Preprocessing.add_options(parser, False)

    def check_options(self, parser: ArgumentParser, opt: Namespace) -> None:
        if opt.video_root is None:
            parser.error("--video_root is missing: the folder of the clips, e.g. datasets/phantom/video_train")


def main() -> None:
    opt = PseudoDepthOptions().parse()
    keep_freed_memory()
    clips = open_clips(opt.video_root)
    for clip in clips:
        refuse_doubled_names(clip)
    folder = opt.out or default_folder(opt.video_root)
    predictor, _ = trained_predictor(opt)  # weights that do not fit must not cost the pseudo-depth of before
    open_folder(folder, made_by(opt), str(opt.checkpoint_file), overwrite=opt.overwrite)
    with stopping_loses_nothing("what is made is kept, the same command goes on"):
        made = make_pseudo_depth(predictor, clips, folder)
    elsewhere = f" --pseudo_depth {opt.out}" if opt.out else ""
    sys.stdout.write(
        f"{folder}: {sum(map(len, clips))} frames of {len(clips)} clips, {made} of them made now\n"
        f"learn from it by: python train.py --model sc_depth --sc_version 3 --video_root {opt.video_root}{elsewhere}\n"
    )


def make_pseudo_depth(predictor: Predictor, clips: Sequence[Clip], folder: Path) -> int:
    """Predict the frames that are not there yet, or are newer than their pseudo-depth; how many these were.

    Raises:
        UserError, OSError: a frame cannot be read, the depth is 0 everywhere, or the disk is full.
    """
    left = [(clip, index) for clip in clips for index in frames_left(clip, folder)]
    total = sum(map(len, clips))
    with progress_bar(total, "pseudo-depth", "frames", initial=total - len(left)) as bar:
        for frames in batches(left, PREDICT_BATCH):
            depths = predictor([clip.read(index, 1)[0] for clip, index in frames])
            for (clip, index), depth in zip(frames, depths, strict=True):
                if not (depth > 0).any():
                    raise UserError(f"the depth of {clip.place}, frame {index}, is 0 everywhere: it says nothing")
                write_pseudo_depth(file_of(clip, index, folder), depth)
            bar.update(len(frames))
    return len(left)


def frames_left(clip: Clip, folder: Path) -> list[int]:
    """The frames of a clip without pseudo-depth, or whose file was written after it."""
    changed = [stat.st_mtime for _, stat in clip.stats()]
    files = [file_of(clip, index, folder) for index in range(len(clip))]
    return [
        index
        for index, file in enumerate(files)
        if not file.is_file() or file.stat().st_mtime < changed[0 if clip.side_by_side else index]
    ]


def file_of(clip: Clip, index: int, folder: Path) -> Path:
    """Where the pseudo-depth of a frame is written."""
    return folder / clip.name / f"{frame_stem(clip, index)}.png"


def refuse_doubled_names(clip: Clip) -> None:
    """
    Raises:
        UserError: two frames of the clip would have one file of pseudo-depth.
    """
    stems = Counter(frame_stem(clip, index) for index in range(len(clip)))
    doubled = [stem for stem, count in stems.items() if count > 1]
    if doubled:
        raise UserError(
            f"the clip {clip.place} has more than one frame called {doubled[0]}, whatever their suffix; pseudo-depth "
            "is kept by that name: rename them"
        )


# Whose pseudo-depth it is


def made_by(opt: Namespace) -> dict[str, Any]:
    """What decides the depth of a frame: the content of the files of weights, and the options of method and size."""
    method = models.find_model(opt.model)
    names = declared_by(new_parser(""), Preprocessing.add_options, False)
    names |= declared_by(new_parser(""), method.add_options, False)
    options = {name: value for name, value in to_plain(opt).items() if name in names}
    weights = "averaged" if opt.use_ema else "last"
    return {"model": opt.model, "weights": weights, "sha256": checksum(opt.checkpoint_file), "options": options}


def checksum(weights: Path) -> str:
    """SHA-256 of a file of weights, or of the several that its name stands for."""
    digest = hashlib.sha256()
    for path in weight_files_of(weights):
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def open_folder(folder: Path, maker: dict[str, Any], checkpoint: str, *, overwrite: bool) -> None:
    """Let the folder be one for the pseudo-depth of this maker.

    Args:
        folder: is made if it is not there.
        maker: see ``made_by``.
        checkpoint: what it is called, for users.
        overwrite: remove what an earlier call has made.

    Raises:
        UserError: it holds pseudo-depth of another maker, or of another program.
    """
    told = read_maker(folder)
    held = sorted(path for path in folder.glob("*") if path.is_dir()) if folder.is_dir() else []
    if held and not told:
        raise UserError(
            f"{folder} holds {held[0].name}/ and was not made by this program; give another --out, or move it away"
        )
    differences = [what for key, what in DIFFERENCES.items() if told.get(key) != maker[key]]
    if held and differences and not overwrite:
        raise UserError(
            f"{folder} was made by {told['checkpoint']}, not by {checkpoint} ({', '.join(differences)}); --overwrite "
            "makes it anew, --out FOLDER keeps both"
        )
    if held and overwrite:
        for path in held:  # the json goes last: what is left of a folder that is half removed is told of truly
            shutil.rmtree(path)
    if folder.is_dir():
        remove_partial_files(folder, ABANDONED_S)
    write_pseudo_depth_json(folder, checkpoint=checkpoint, **maker)


def read_maker(folder: Path) -> dict[str, Any]:
    """What ``open_folder`` has written about a folder; empty if it was not made by this program."""
    try:
        told = json.loads((folder / PSEUDO_DEPTH_JSON).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return told if isinstance(told, dict) and {"checkpoint", "sha256"} <= told.keys() else {}


if __name__ == "__main__":
    run_cli(main)
