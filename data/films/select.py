"""Which frames of a video are worth keeping, why the others are not, and where scenes begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from data.films.measures import FrameMeasures

SHARPNESS_WINDOW = 12  # frames before and behind, whose sharpness a frame is compared with
CUT_WINDOW = 6  # and whose motion a cut is compared with


class Reason(Enum):
    """Why a frame is not kept; the first that applies counts."""

    DARK = "too dark"
    BURNT = "burnt out"
    RED = "nothing but red"
    PLAIN = "no structure"
    BLURRED = "blurred"
    DUPLICATE = "the same as before"


@dataclass(frozen=True)
class Limits:
    """From where on a frame is dropped; see ``FrameMeasures``.

    Args:
        blurred: share of the sharpness that the better frames around have.
        cut, sudden, news: a cut leaves that residual, so many times the usual one around, and has that much news.
    """

    dark: float = 0.8
    burnt: float = 0.4
    red: float = 0.7
    structure: float = 0.0025
    blurred: float = 0.75
    duplicate: float = 0.0015
    cut: float = 0.32
    sudden: float = 3.6
    news: float = 0.3


@dataclass(frozen=True)
class Selection:
    """What became of the frames of a video.

    Args:
        reasons: why each frame is dropped, None for those that are kept.
        cuts: frames with which a new scene begins.
    """

    reasons: list[Reason | None]
    cuts: list[int]


def select(measures: Sequence[FrameMeasures], limits: Limits = Limits()) -> Selection:
    """Judge all frames of a video: first by themselves, then against their scene."""
    found = [unusable(one, limits) for one in measures]
    begins = find_cuts(measures, found, limits)
    usable = np.array([reason is None for reason in found])
    blurred = is_blurred(np.where(usable, [one.sharpness for one in measures], np.nan), begins, limits)
    for index in np.flatnonzero(usable):
        if blurred[index]:
            found[index] = Reason.BLURRED
        elif measures[index].change < limits.duplicate:
            found[index] = Reason.DUPLICATE
    return Selection(found, begins)


def unusable(one: FrameMeasures, limits: Limits) -> Reason | None:
    """Why a frame shows nothing, whatever is around it."""
    checks = (
        (Reason.DARK, one.dark > limits.dark),
        (Reason.BURNT, one.burnt > limits.burnt),
        (Reason.RED, one.red > limits.red and one.structure < limits.structure),
        (Reason.PLAIN, one.structure < limits.structure),
    )
    return next((reason for reason, applies in checks if applies), None)


def find_cuts(measures: Sequence[FrameMeasures], found: Sequence[Reason | None], limits: Limits) -> list[int]:
    """Frames that no motion leads to from the frame before, or before which some are lost.

    Only between two frames that show something; elsewhere the video is interrupted anyway.
    """
    within = np.array([False, *(a is b is None for a, b in zip(found, found[1:], strict=False))])
    residuals = np.where(within, [one.residual for one in measures], np.nan)
    usual = [np.nanmedian(around) if np.isfinite(around).any() else 0.0 for around in _windows(residuals, CUT_WINDOW)]
    limit = np.maximum(limits.cut, limits.sudden * np.array(usual))
    news = np.array([one.news for one in measures])
    lost = np.array([one.lost_before for one in measures])
    return np.flatnonzero(((residuals > limit) & (news > limits.news)) | lost).tolist()


def is_blurred(sharpness: np.ndarray, begins: Sequence[int], limits: Limits) -> np.ndarray:
    """Against the level around each frame, within its scene, since endoscopes and scenes differ: bool (N,).

    Args:
        sharpness: (N,); nan for frames that show nothing, whose noise is sharp.
        begins: of scenes.
    """
    levels = [_level(around) for scene in np.split(sharpness, begins) for around in _windows(scene, SHARPNESS_WINDOW)]
    return sharpness < limits.blurred * np.array(levels)


def _level(sharpness: np.ndarray) -> float:
    known = sharpness[np.isfinite(sharpness)]
    return float(np.percentile(known, 75)) if known.size else np.nan


def _windows(values: np.ndarray, reach: int) -> list[np.ndarray]:
    """The values around each one."""
    return [values[max(0, index - reach) : index + reach + 1] for index in range(len(values))]
