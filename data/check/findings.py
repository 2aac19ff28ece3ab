"""What a check found: faults, warnings, and a summary of every split; as text and as JSON."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

MAX_OF_A_KIND = 10  # lines of one kind in the text; the JSON has all

FAULT, WARNING = "fault", "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: what sort of thing, e.g. ``unreadable``; things of one kind are shown together.
        place: a file, clip or split.
        what: goes on from the place: "is truncated".
        fix: what to do.
        level: ``FAULT``, or ``WARNING`` where it may be meant so.
    """

    kind: str
    place: str
    what: str
    fix: str = ""
    level: str = FAULT

    def __str__(self) -> str:
        return f"{self.place} {self.what}".strip() + (f"; {self.fix}" if self.fix else "")


@dataclass
class Summary:
    """What is known of a split after looking through it."""

    name: str
    unit: str = "pairs"
    count: int = 0
    sequences: int = 0
    sizes: dict[str, int] = field(default_factory=dict)  # frames by size
    depth_mm: tuple[float, float, float] | None = None  # smallest, median of the frames' medians, largest
    invalid: float | None = None  # share of the pixels
    histogram: list[int] = field(default_factory=list)  # of depth, over ``HISTOGRAM_EDGES_MM``

    def add_size(self, size: tuple[int, int]) -> None:
        name = f"{size[0]}x{size[1]}"
        self.sizes[name] = self.sizes.get(name, 0) + 1

    def line(self) -> str:
        """For the terminal."""
        sizes = ", ".join(sorted(self.sizes)) or "-"
        text = f"{self.name:<14} {self.count:>6} {self.unit:<7} {sizes:<12}"
        if self.depth_mm is not None:
            low, middle, high = self.depth_mm
            text += f" {low:.1f} to {high:.1f} mm, median {middle:.1f}, {self.invalid:.2%} invalid"
        elif self.invalid is not None:
            text += f" no valid depth, {self.invalid:.2%} invalid"
        return text.rstrip()


HISTOGRAM_EDGES_MM = np.concatenate([np.arange(0, 200, 4), np.arange(200, 401, 20)]).astype(float)


@dataclass
class Report:
    """All of it."""

    folder: str
    dataset: str
    summaries: list[Summary] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == FAULT]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == WARNING]

    def text(self) -> str:
        """The splits, then faults and warnings by kind."""
        parts = "".join(f"{summary.line()}\n" for summary in self.summaries)
        for findings, what in ((self.faults, FAULT), (self.warnings, WARNING)):
            parts += f"{len(findings) or 'no'} {what}{'' if len(findings) == 1 else 's'}\n"
            parts += "".join(f"  {line}\n" for line in shortened(findings))
        return parts

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        edges = {"histogram_edges_mm": HISTOGRAM_EDGES_MM.tolist()}
        return asdict(self) | edges | {"faults": len(self.faults), "warnings": len(self.warnings)}


def shortened(findings: Iterable[Finding]) -> list[str]:
    """A line each, no more than ``MAX_OF_A_KIND`` of a kind and a line that counts the rest."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    lines = []
    for kind, members in kinds.items():
        lines += [str(finding) for finding in members[:MAX_OF_A_KIND]]
        if len(members) > MAX_OF_A_KIND:
            lines.append(f"... and {len(members) - MAX_OF_A_KIND} more of the kind {kind!r}")
    return lines
