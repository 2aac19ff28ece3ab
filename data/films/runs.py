"""Clips out of what is kept of a video: unbroken, with enough motion from frame to frame and not too much."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.films.measures import FrameMeasures
from data.films.select import Reason, Selection


@dataclass(frozen=True)
class MotionLimits:
    """Of the frames of a clip.

    Args:
        min_motion, max_motion: median flow between neighbours, in diagonals of the picture.
        max_step: largest distance of neighbours [frames of the film].
        min_frames, max_frames: of a clip.
    """

    min_motion: float = 0.004
    max_motion: float = 0.05
    max_step: int = 8
    min_frames: int = 3
    max_frames: int = 200


@dataclass(frozen=True)
class Run:
    """Frames of a film, by number, that become a clip; ``step`` frames lie between neighbours (duplicates apart)."""

    frames: tuple[int, ...]
    step: int


def choose_runs(measures: Sequence[FrameMeasures], selection: Selection, limits: MotionLimits) -> list[Run]:
    """The clips of a film, in order."""
    runs = []
    for stretch in unbroken(selection):
        motion = float(np.median([measures[index].motion for index in stretch[1:]])) if len(stretch) > 1 else 0.0
        step = max(1, math.ceil(limits.min_motion / motion)) if motion > 0 else limits.max_step + 1
        if step > limits.max_step or motion * step > limits.max_motion:
            continue
        frames = stretch[::step]
        for start in range(0, len(frames), limits.max_frames):
            part = frames[start : start + limits.max_frames]
            if len(part) >= limits.min_frames:
                runs.append(Run(tuple(part), step))
    return runs


def unbroken(selection: Selection) -> list[list[int]]:
    """Frames that follow each other within a scene. A duplicate is left out and breaks nothing; other faults do."""
    stretches: list[list[int]] = [[]]
    for index, reason in enumerate(selection.reasons):
        if index in selection.cuts:
            stretches.append([])
        if reason is None:
            stretches[-1].append(index)
        elif reason is not Reason.DUPLICATE:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]
