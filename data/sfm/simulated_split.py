"""Whole splits of clips with made-up SfM, written beside the clips."""

import shutil
from pathlib import Path

from data.clip_truth import ClipTruth
from data.clips import Clip
from data.formats import open_clips
from data.sfm.published_writer import write_published
from data.sfm.simulate import Simulation, simulate_sfm
from util.new_folder import new_folder
from util.progress import progress_bar

VIDEO, SFM = "video_", "sfm_"  # what names of splits begin with


def splits_with_truth(dataroot: Path) -> list[str]:
    """Splits of clips whose depth is known."""
    names = sorted(path.name for path in dataroot.glob(f"{VIDEO}*"))
    return [name for name in names if (dataroot / "truth" / name).is_dir()]


def sfm_split(dataroot: Path, split: str) -> Path:
    """Where the made-up SfM of a split belongs: that of ``video_train`` is in ``sfm_train``."""
    return dataroot / split.replace(VIDEO, SFM, 1)


def write_split(dataroot: Path, split: str, out: Path, how: Simulation) -> int:
    """The clips of ``dataroot/split`` with made-up SfM, into the new folder ``out``; returns how many.

    Raises:
        UserError: ``out`` has content, or a clip has no camera, poses or points.
        MadeMeanwhile: another process has made ``out`` first.
    """
    clips = open_clips(dataroot / split)
    with new_folder(out) as folder, progress_bar(len(clips), f"SfM of {split}", "clips") as bar:
        for clip in clips:
            _write_clip(folder / clip.name, clip, ClipTruth(dataroot, split, clip), how)
            bar.update(1)
    return len(clips)


def _write_clip(folder: Path, clip: Clip, truth: ClipTruth, how: Simulation) -> None:
    made = simulate_sfm(clip, truth, how)
    folder.mkdir(parents=True)
    for number, file in zip(made.numbers, clip.files, strict=True):
        name = file.stem if file.stem.isdigit() else f"{number:08d}"
        shutil.copyfile(file, folder / f"{name}{file.suffix}")
    write_published(made, folder)
