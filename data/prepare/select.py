"""Which frames of a video are worth keeping, why the others are not, and where scenes begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from data.prepare.measures import FrameMeasures

SHARPNESS_WINDOW = 50  # frames before and behind, whose sharpness a frame is compared with
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
        cut, sudden: a cut leaves that residual, and so many times the usual one around.
    """

    dark: float = 0.8
    burnt: float = 0.4
    red: float = 0.7
    structure: float = 0.01
    blurred: float = 0.75
    duplicate: float = 0.0015
    cut: float = 0.32
    sudden: float = 2.0


def reasons(measures: Sequence[FrameMeasures], limits: Limits = Limits()) -> list[Reason | None]:
    """Why each frame is dropped; None for those that are kept."""
    found: list[Reason | None] = []
    for one, soft in zip(measures, is_blurred(measures, limits), strict=True):
        checks = (
            (Reason.DARK, one.dark > limits.dark),
            (Reason.BURNT, one.burnt > limits.burnt),
            (Reason.RED, one.red > limits.red and one.structure < limits.structure),
            (Reason.PLAIN, one.structure < limits.structure),
            (Reason.BLURRED, soft),
            (Reason.DUPLICATE, one.change < limits.duplicate),
        )
        found.append(next((reason for reason, applies in checks if applies), None))
    return found


def is_blurred(measures: Sequence[FrameMeasures], limits: Limits = Limits()) -> np.ndarray:
    """Against the level of the video around each frame, since endoscopes and scenes differ in sharpness: bool (N,)."""
    sharpness = np.array([one.sharpness for one in measures])
    levels = [np.percentile(around, 75) for around in _windows(sharpness, SHARPNESS_WINDOW)]
    return sharpness < limits.blurred * np.array(levels)


def cuts(measures: Sequence[FrameMeasures], dropped: Sequence[Reason | None], limits: Limits = Limits()) -> list[int]:
    """Frames with which a new scene begins: no motion explains the difference from the frame before.

    Only between two frames that are kept; where some are dropped the video is interrupted anyway.
    """
    within = np.array([False, *(a is b is None for a, b in zip(dropped, dropped[1:], strict=False))])
    residuals = np.where(within, [one.residual for one in measures], np.nan)
    usual = [np.nanmedian(around) if np.isfinite(around).any() else 0.0 for around in _windows(residuals, CUT_WINDOW)]
    limit = np.maximum(limits.cut, limits.sudden * np.array(usual))
    return np.flatnonzero(residuals > limit).tolist()


def _windows(values: np.ndarray, reach: int) -> list[np.ndarray]:
    """The values around each one."""
    return [values[max(0, index - reach) : index + reach + 1] for index in range(len(values))]
