"""Look through a data set before training on it: ``python -m data.check DIR``.

Reports counts, sizes, depth ranges in mm and invalid pixels of every split, and lists every fault: files that cannot be
read, frames without depth and the other way round, sizes that differ, clips that are too short. Exits with 1 when there
is any.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.clips import Clip, find_clips, list_clips
from data.clips_dataset import read_clip_intrinsics
from data.depth_files import read_depth_mm
from data.image_files import list_images, read_rgb
from data.pairing import Pairing, find_pairs
from util.errors import UserError, run_cli
from util.progress import progress_bar

MIN_CLIP_LENGTH = 2
FAULTY_CODE = 1


@dataclass
class Summary:
    """What is known of a split after looking through it."""

    name: str
    count: int = 0
    unit: str = "pairs"
    sizes: set[str] = field(default_factory=set)
    min_mm: float = np.inf
    max_mm: float = 0.0
    pixels: int = 0
    invalid: int = 0

    def add_size(self, picture: np.ndarray) -> None:
        self.sizes.add(f"{picture.shape[0]}x{picture.shape[1]}")

    def add_depth(self, depth_mm: np.ndarray) -> None:
        valid = depth_mm[depth_mm > 0]
        self.pixels, self.invalid = self.pixels + depth_mm.size, self.invalid + depth_mm.size - valid.size
        if valid.size:
            self.min_mm, self.max_mm = min(self.min_mm, float(valid.min())), max(self.max_mm, float(valid.max()))

    def line(self) -> str:
        sizes = ", ".join(sorted(self.sizes)) or "-"
        text = f"{self.name:<14} {self.count:>6} {self.unit:<7} {sizes:<12}"
        if self.pixels:
            depth = f"{self.min_mm:.1f} to {self.max_mm:.1f} mm" if self.min_mm <= self.max_mm else "no valid depth"
            text += f" {depth}, {self.invalid / self.pixels:.2%} invalid"
        return text.rstrip()


def main(args: list[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m data.check", description="Look through a data set and list every fault.")
    parser.add_argument("folder", type=Path, help="data set (train_A, train_B, video_train, ...) or a folder of pairs")
    parser.add_argument("--depth_format", default="auto", help="how depth is stored, as for train.py")
    opt = parser.parse_args(args)
    if not opt.folder.is_dir():
        raise FileNotFoundError(f"there is no folder {opt.folder}")
    faults: list[str] = []
    summaries = check_folder(opt.folder, opt.depth_format, faults.append)
    sys.stdout.write("".join(f"{summary.line()}\n" for summary in summaries))
    sys.stdout.write(f"{len(faults)} faults\n" if faults else "no faults\n")
    sys.stdout.write("".join(f"  {fault}\n" for fault in faults))
    return FAULTY_CODE if faults else 0


def check_folder(folder: Path, depth_format: str, report: Callable[[str], object]) -> list[Summary]:
    """Check every split of a data set, or the one folder of pairs; faults go to ``report``."""
    phases = sorted({path.name[:-2] for path in folder.iterdir() if path.is_dir() and path.name[-2:] in ("_A", "_B")})
    videos = sorted(path for path in folder.glob("video_*") if path.is_dir())
    summaries = [check_pairs(folder / f"{phase}_A", folder / f"{phase}_B", depth_format, report) for phase in phases]
    summaries += [check_clips(path, report) for path in videos]
    if not summaries and list_images(folder):
        summaries = [check_pairs(folder, folder, depth_format, report)]
    if not summaries:
        report(f"{folder} holds neither <phase>_A and <phase>_B, nor video_<phase>, nor pictures")
    return summaries


def check_pairs(frames: Path, depths: Path, depth_format: str, report: Callable[[str], object]) -> Summary:
    """One split of pairs."""
    summary = Summary(frames.name.removesuffix("_A"))
    missing = [folder for folder in (frames, depths) if not folder.is_dir()]
    for folder in missing:
        report(f"{folder} is missing")
    if missing:
        return summary
    pairing = find_pairs(frames, depths)
    summary.count = len(pairing.pairs)
    if not pairing.pairs:
        report(f"{frames} has no frame with a depth map in {depths}")
    for fault in orphans(pairing):
        report(fault)
    with progress_bar(len(pairing.pairs), f"checking {summary.name}", "pairs") as bar:
        for frame, depth in pairing.pairs:
            check_pair(frame, depth, depth_format, summary, report)
            bar.update(1)
    return summary


def orphans(pairing: Pairing) -> Iterator[str]:
    """A fault for each file without its partner."""
    yield from (f"{path} has no depth map" for path in pairing.frames_alone)
    yield from (f"{path} has no frame" for path in pairing.depths_alone)


def check_pair(frame: Path, depth: Path, depth_format: str, summary: Summary, report: Callable[[str], object]) -> None:
    """One frame and its depth map."""
    try:
        rgb, depth_mm = read_rgb(frame), read_depth_mm(depth, depth_format)
    except (UserError, OSError) as error:
        report(str(error))
        return
    summary.add_size(rgb)
    summary.add_depth(depth_mm)
    if rgb.shape[:2] != depth_mm.shape:
        report(f"{depth} is {depth_mm.shape[0]}x{depth_mm.shape[1]} pixels, its frame {rgb.shape[0]}x{rgb.shape[1]}")
    if not (depth_mm > 0).any():
        report(f"{depth} has no valid pixel")


def check_clips(root: Path, report: Callable[[str], object]) -> Summary:
    """One split of clips."""
    summary = Summary(root.name, unit="frames")
    try:
        find_clips(root)
    except (UserError, OSError) as error:
        report(str(error))
    clips = list_clips(root)
    summary.count = sum(map(len, clips))
    with progress_bar(summary.count, f"checking {root.name}", "frames") as bar:
        for clip in clips:
            check_clip(clip, summary, report)
            bar.update(len(clip))
    return summary


def check_clip(clip: Clip, summary: Summary, report: Callable[[str], object]) -> None:
    """One clip: readable frames of one size, enough of them."""
    sizes = set()
    for index in range(1 if clip.side_by_side else len(clip)):
        try:
            picture = clip.read(index, 1)[0]
        except (UserError, OSError) as error:
            report(str(error))
            continue
        summary.add_size(picture)
        sizes.add(picture.shape[:2])
    if len(sizes) > 1:
        report(f"the frames of clip {clip.place} differ in size: {', '.join(f'{h}x{w}' for h, w in sorted(sizes))}")
    if len(clip) < MIN_CLIP_LENGTH:
        report(f"clip {clip.place} has {len(clip)} frame, at least {MIN_CLIP_LENGTH} are needed")
    try:
        read_clip_intrinsics(clip)
    except (UserError, OSError) as error:
        report(str(error))


if __name__ == "__main__":
    run_cli(main)
