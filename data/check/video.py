"""Clips of video: readable frames of one size, enough of them, and something that moves."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from data.check.findings import WARNING, Finding, Summary
from data.check.frames import misfits_of
from data.clips import Clip, list_clips
from data.clips_dataset import read_clip_intrinsics
from data.films.interlace import CombCount
from data.formats import open_clips
from util.errors import UserError

MIN_LENGTH = 2
COMB_SAMPLES = 20  # frames of a clip that combs are looked for in
THUMBNAIL = 64  # px
STILL = 0.004  # mean difference of brightness between neighbours, below which nothing moved: one grey level of 255
MAX_STILL_SHARE = 0.8  # of the neighbours of a clip


def clips_in(root: Path) -> tuple[list[Clip], list[Finding]]:
    """The clips of a folder, and what keeps it from being read as it is."""
    try:
        return open_clips(root), []
    except (UserError, OSError) as error:
        return list_clips(root), [Finding("clips", "", str(error))]


def check_clip(clip: Clip, summary: Summary) -> Iterator[Finding]:
    """One clip, its sizes into ``summary``."""
    sizes, small, combs = set(), [], CombCount()
    looked_at = max(1, len(clip) // COMB_SAMPLES)
    for index in range(1 if clip.side_by_side else len(clip)):
        try:
            frame = clip.read(index, 1)[0]
        except (UserError, OSError) as error:
            yield Finding("unreadable", "", str(error))
            continue
        sizes.add(frame.shape[:2])
        summary.add_size(frame.shape[:2])
        if index % looked_at == 0:
            combs.add((frame * 255).astype(np.uint8))
        small.append(cv2.resize(frame.mean(axis=2), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA))
    place = f"clip {clip.place}"
    if len(sizes) > 1:
        listed = ", ".join(f"{h}x{w}" for h, w in sorted(sizes))
        yield Finding("sizes", f"the frames of {place}", f"differ in size: {listed}", "cut it into several clips")
    if len(clip) < MIN_LENGTH:
        yield Finding("short clip", place, f"has {len(clip)} frame, at least {MIN_LENGTH} are needed", "remove it")
    if still_share(small) > MAX_STILL_SHARE:
        yield Finding("still clip", place, "shows no motion", "remove it, or take a larger --frame_step", WARNING)
    if combs.interlaced:
        fix = "python -m data.prepare_video makes frames of one moment of them"
        yield Finding("interlaced", f"the frames of {place}", "are of two moments, row by row", fix, WARNING)
    try:
        camera = read_clip_intrinsics(clip)
    except (UserError, OSError) as error:
        yield Finding("camera", "", str(error))
        return
    if camera is not None and len(sizes) == 1:
        yield from misfits_of(camera, place, *sizes)


def still_share(frames: Sequence[np.ndarray]) -> float:
    """Share of neighbours of equal size that hardly differ; 0 for fewer than two frames."""
    changes = [float(np.abs(b - a).mean()) for a, b in zip(frames, frames[1:], strict=False)]
    return float(np.mean([change < STILL for change in changes])) if changes else 0.0
