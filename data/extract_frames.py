"""Cut films into clips of frames: ``python -m data.extract_frames VIDEO [VIDEO ...] --out datasets/NAME/video_train``.

Each film becomes a folder ``<out>/<its name>/000000.png`` ..., its black border cropped away, as the published system
does with colonoscopy films. A folder that is there already is left alone, so that a broken run is gone on with.
"""

import shutil
import sys
from argparse import ArgumentParser
from itertools import islice
from pathlib import Path

import numpy as np

from data.image_files import write_picture
from data.view_mask import find_view, inscribed_box, largest_part
from util.errors import UserError, run_cli
from util.progress import progress_bar
from util.video_files import read_video_frames, video_info

VIEW_FRAMES, VIEW_EVERY = 50, 10  # the border is found in every 10th of the first 500 frames


def main(args: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="python -m data.extract_frames", description="Cut films into clips of frames.")
    parser.add_argument("videos", type=Path, nargs="+", help="film files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the clips, e.g. datasets/NAME/video_train")
    parser.add_argument("--every", type=int, default=1, help="keep every n-th frame")
    parser.add_argument("--max_frames", type=int, help="frames of a film at most")
    parser.add_argument("--no_crop", dest="crop", action="store_false", help="keep the black border")
    opt = parser.parse_args(args)
    if opt.every < 1 or (opt.max_frames is not None and opt.max_frames < 1):
        parser.error("--every and --max_frames must be at least 1")
    if len({video.stem for video in opt.videos}) < len(opt.videos):
        parser.error("two films have the same name, and each becomes a folder of its name: extract them separately")
    for video in opt.videos:
        folder = opt.out / video.stem
        if folder.is_dir():
            sys.stderr.write(f"{folder} is there already and left alone; remove it to extract {video} again\n")
            continue
        extract_frames(video, folder, every=opt.every, max_frames=opt.max_frames, crop=opt.crop)


def extract_frames(
    video: Path, folder: Path, *, every: int = 1, max_frames: int | None = None, crop: bool = True
) -> int:
    """Write the frames of a film into the new folder, which appears when all of them are there.

    Returns:
        How many frames were written.

    Raises:
        UserError: the film cannot be read, or no frame is left of it.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    known = video_info(video).num_frames
    top, bottom, left, right = crop_box(video) if crop else (0, None, 0, None)
    count = 0
    try:
        total = None if known is None else min(-(-known // every), max_frames or known)
        with progress_bar(total, f"extracting {video.name}", "frames") as bar:
            for frame in islice(read_video_frames(video), 0, None if max_frames is None else max_frames * every, every):
                write_picture(partial / f"{count:06d}.png", np.ascontiguousarray(frame[top:bottom, left:right]))
                count += 1
                bar.update(1)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return count


def crop_box(video: Path) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the largest box of the view's shape that holds no border."""
    frames = islice(read_video_frames(video), 0, VIEW_FRAMES * VIEW_EVERY, VIEW_EVERY)
    view = find_view(frame.astype(np.float32) / 255.0 for frame in frames)
    if not view.any():
        raise UserError(f"{video} is black in its beginning; --no_crop keeps the frames as they are")
    return inscribed_box(largest_part(view))


if __name__ == "__main__":
    run_cli(main)
