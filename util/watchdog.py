"""Warnings when the logged values of a training look like something that goes wrong again and again."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

MIN_INTERVALS_BETWEEN = 20  # logging intervals from one warning to the next of the same symptom

Means = Mapping[str, float]


@dataclass(frozen=True)
class Symptom:
    """What a failing training looks like in the values that are logged.

    Args:
        name: what it is called in the warning, e.g. ``"the discriminator wins"``.
        reads: names of the values that ``holds`` reads; the warning shows them.
        holds: whether these means over a logging interval look like it.
        patience: logging intervals in a row before the warning.
        advice: likely causes and what to do.
    """

    name: str
    reads: tuple[str, ...]
    holds: Callable[[Means], bool]
    patience: int
    advice: str


class Watchdog:
    """Looks at the means of every logging interval.

    A symptom that holds for ``patience`` intervals in a row is warned of once; again only when it had stopped and
    come back, and not before ``MIN_INTERVALS_BETWEEN`` intervals. An interval that lacks one of its values (no
    discriminator step, say) neither counts nor ends it.
    """

    def __init__(self, symptoms: Iterable[Symptom]) -> None:
        """
        Raises:
            ValueError: a symptom reads nothing, so that nothing could ever be said about it, or has no patience.
        """
        self._courses = [_Course(symptom) for symptom in symptoms]

    def check(self, means: Means) -> list[str]:
        """Warnings, a line each, that the means of this logging interval give rise to."""
        warnings = [course.look(means) for course in self._courses]
        return [warning for warning in warnings if warning is not None]


def loss_scale_symptom(optimizer: str) -> Symptom:
    """With fp16, losses are scaled up until gradients overflow; a scale that falls below 1 says that all of them do.

    Args:
        optimizer: its name; the engine reports its scale as ``scale_<name>``.
    """
    scale = f"scale_{optimizer}"
    return Symptom(
        name=f"the loss scale of {optimizer} is below 1",
        reads=(scale,),
        holds=lambda means: means[scale] < 1,
        patience=1,
        advice="gradients overflow in fp16 at any scale and updates are left out; use --precision bf16, tf32 or fp32, "
        "or a lower --lr if losses grow",
    )


class _Course:
    """How a symptom went so far."""

    def __init__(self, symptom: Symptom) -> None:
        if not symptom.reads or symptom.patience < 1:
            raise ValueError(
                f"symptom {symptom.name!r} must read a value and have a patience of at least 1, "
                f"got {symptom.reads} and {symptom.patience}"
            )
        self.symptom = symptom
        self.count = 0  # intervals in a row
        self.warned = False  # of these
        self.since_warning = math.inf  # intervals

    def look(self, means: Means) -> str | None:
        self.since_warning += 1
        if not all(name in means for name in self.symptom.reads):
            return None
        if not self.symptom.holds(means):
            self.count, self.warned = 0, False
            return None
        self.count += 1
        if self.warned or self.count < self.symptom.patience or self.since_warning < MIN_INTERVALS_BETWEEN:
            return None
        self.warned, self.since_warning = True, 0
        return self._warning(means)

    def _warning(self, means: Means) -> str:
        values = ", ".join(f"{name} {means[name]:.3g}" for name in self.symptom.reads)
        what = f"{self.symptom.name} for {self.count} logging interval{'s' if self.count > 1 else ''}"
        return f"warning: {what} ({values}): {self.symptom.advice}"
