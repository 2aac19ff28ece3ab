"""Clips out of what is kept of a film: unbroken, with enough motion from frame to frame and not too much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from data.films.measures import SmallFrame
from data.films.select import Reason, Selection


@dataclass(frozen=True)
class MotionLimits:
    """Of the frames of a clip.

    Args:
        min_motion, max_motion: median optical flow between neighbours, in diagonals of the picture.
        max_gap: largest distance of neighbours [frames of the film].
        min_length, clip_length: fewest and most frames of a clip.
    """

    min_motion: float = 0.004
    max_motion: float = 0.05
    max_gap: int = 8
    min_length: int = 3
    clip_length: int = 200


class Place(Enum):
    """What becomes of a frame."""

    FIRST = "first of a clip"
    NEXT = "next of a clip"
    BETWEEN = "between frames of a clip"


@dataclass(frozen=True)
class Step:
    """Where a frame goes, how far it is from the frame of the clip before [frames of the film], and the motion."""

    place: Place
    gap: int | None = None
    motion: float | None = None


def unbroken(selection: Selection) -> list[list[int]]:
    """Frames that follow each other within a scene. A duplicate is left out and breaks nothing; other faults do."""
    stretches: list[list[int]] = [[]]
    cuts = set(selection.cuts)
    for index, reason in enumerate(selection.reasons):
        if index in cuts:
            stretches.append([])
        if reason is None:
            stretches[-1].append(index)
        elif reason is not Reason.DUPLICATE:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


class ClipChooser:
    """Decides frame by frame; a frame is compared with the last one that was taken, not with the one before it.

    So a slow or trembling camera gives frames that are far apart in time, and each pair of neighbours in a clip has the
    motion that was asked for. A new clip begins where more moves than that, or nothing does for too long.

    Args:
        stretches: of ``unbroken``.
        motion: between two frames [diagonals].
        limits: of a clip.
    """

    def __init__(
        self,
        stretches: Sequence[Sequence[int]],
        motion: Callable[[SmallFrame, SmallFrame], float],
        limits: MotionLimits,
    ) -> None:
        self._stretch_of = {number: index for index, stretch in enumerate(stretches) for number in stretch}
        self._motion, self._limits = motion, limits
        self._last: tuple[int, SmallFrame] | None = None
        self._length = 0

    def wants(self, number: int) -> bool:
        """Whether a frame can be part of a clip."""
        return number in self._stretch_of

    def __call__(self, number: int, frame: SmallFrame) -> Step:
        """Of the next frame that it wants."""
        if self._last is None or self._stretch_of[self._last[0]] != self._stretch_of[number]:
            return self._begin(number, frame)
        before, picture = self._last
        gap, motion = number - before, self._motion(picture, frame)
        if motion > self._limits.max_motion or gap > self._limits.max_gap:
            return self._begin(number, frame)
        if motion < self._limits.min_motion:
            return Step(Place.BETWEEN)
        if self._length == self._limits.clip_length:
            return self._begin(number, frame)
        self._last, self._length = (number, frame), self._length + 1
        return Step(Place.NEXT, gap, motion)

    def _begin(self, number: int, frame: SmallFrame) -> Step:
        self._last, self._length = (number, frame), 1
        return Step(Place.FIRST)
