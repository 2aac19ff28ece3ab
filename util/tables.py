"""Scores as tables: for a terminal, for Markdown, for a spreadsheet; each metric with its title, unit and digits.

Rows are ``{"ours": {"abs_rel": 0.085, ...}, "constant": {...}}``, as ``util/metrics.py`` names the metrics.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from util.files import write_text

ARROWS = {"lower": "↓", "higher": "↑", None: ""}
MISSING = "–"
GAP = "   "

Rows = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class MetricStyle:
    """How a metric is shown."""

    title: str
    unit: str = ""
    format: str = ".3f"
    better: Literal["lower", "higher"] | None = None

    def heading(self) -> str:
        """Title, unit and the arrow that points to the better end, e.g. ``RMSE [mm] ↓``."""
        return " ".join(part for part in (self.title, self.unit and f"[{self.unit}]", ARROWS[self.better]) if part)

    def show(self, value: float | None) -> str:
        """The rounded value; a dash where there is none."""
        return MISSING if value is None or math.isnan(value) else format(value, self.format)


METRIC_STYLES = {
    "abs_rel": MetricStyle("AbsRel", better="lower"),
    "sq_rel": MetricStyle("SqRel", "mm", better="lower"),
    "rmse": MetricStyle("RMSE", "mm", ".2f", better="lower"),
    "rmse_log": MetricStyle("RMSE log", better="lower"),
    "log10": MetricStyle("log10", better="lower"),
    "delta1": MetricStyle("δ < 1.25", better="higher"),
    "delta2": MetricStyle("δ < 1.25²", better="higher"),
    "delta3": MetricStyle("δ < 1.25³", better="higher"),
    "l1_cm": MetricStyle("L1", "cm", ".4f", better="lower"),  # 4 digits: the published scores are given so
    "rmse_cm": MetricStyle("RMSE", "cm", ".4f", better="lower"),
    "median_rel_percent": MetricStyle("Median rel.", "%", ".2f", better="lower"),
    "temporal_grad": MetricStyle("Temporal gradient", "mm/px", ".4f", better="lower"),
    "temporal_grad_rel": MetricStyle("Relative temporal gradient", better="lower"),
    "temporal_rel": MetricStyle("Temporal AbsRel", format=".4f", better="lower"),
    "scale_mean": MetricStyle("Mean scale", "mm", ".4g"),
    "scale_std": MetricStyle("Std. of scales", "mm", ".3g"),
    "scale_spread": MetricStyle("Relative spread", better="lower"),
    "scale_spread_clip": MetricStyle("Spread within a clip", better="lower"),
    "ate_mm": MetricStyle("ATE", "mm", ".2f", better="lower"),
    "rpe_mm": MetricStyle("RPE", "mm/step", better="lower"),
    "rpe_deg": MetricStyle("RPE", "°/step", better="lower"),
    "rpe_step": MetricStyle("RPE / step length", better="lower"),
    "path_mm": MetricStyle("Path length", "mm", ".1f"),
    "path_scale": MetricStyle("Scale", "mm", ".4g"),
    "residual_mm": MetricStyle("Residual", "mm", better="lower"),
    "residual_std_mm": MetricStyle("Std. over frames", "mm"),
    "residual_trimmed_mm": MetricStyle("Trimmed residual", "mm", better="lower"),
    "residual_p95_mm": MetricStyle("95 % below", "mm", better="lower"),
    "share_used": MetricStyle("Share used"),
    "moved_mm": MetricStyle("Camera moved", "mm", ".2f", better="lower"),
    "turned_deg": MetricStyle("Camera turned", "°", ".2f", better="lower"),
    "untrusted": MetricStyle("Untrusted", format=".0f", better="lower"),
    "silog": MetricStyle("Std. of log", better="lower"),
    "num_points": MetricStyle("Points", format=".0f"),
    "pair_abs_rel": MetricStyle("AbsRel between frames", better="lower"),
    "pair_median_rel": MetricStyle("Median rel. between frames", better="lower"),
    "overlap": MetricStyle("Overlap"),
}


def metric_style(key: str) -> MetricStyle:
    """How ``key`` is shown; an unknown one under its own name, with five digits and no direction."""
    return METRIC_STYLES.get(key, MetricStyle(key, format=".5g"))


def metric_columns(rows: Rows) -> list[str]:
    """Every metric that some row has: the known ones in the order of ``METRIC_STYLES``, then the others."""
    present = list(dict.fromkeys(key for row in rows.values() for key in row))
    return [key for key in METRIC_STYLES if key in present] + [key for key in present if key not in METRIC_STYLES]


def format_table(rows: Rows, columns: Sequence[str] | None = None, corner: str = "") -> str:
    """A plain-text table with aligned columns, for terminals and logs.

    Args:
        rows: metrics by the row's name; what a row lacks becomes a dash.
        columns: metric keys from left to right; None takes ``metric_columns(rows)``.
        corner: heading of the column of names.

    Returns:
        Lines of heading, rule and rows, without a line break at the end.
    """
    cells = _cells(rows, columns, corner)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_aligned(line, widths) for line in cells]
    rule = GAP.join("─" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]])


def markdown_table(rows: Rows, columns: Sequence[str] | None = None, corner: str = "") -> str:
    """The same table in Markdown (GitHub's kind), numbers to the right. Arguments as for ``format_table``."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in _cells(rows, columns, corner)]
    rule = [":---", *["---:"] * (len(cells[0]) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [cells[0], rule, *cells[1:]])


def csv_table(rows: Rows, columns: Sequence[str] | None = None, corner: str = "name") -> str:
    """The same data as CSV: metric keys as headings, every number in full precision, empty where there is none."""
    columns = metric_columns(rows) if columns is None else columns
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([corner, *columns])
    for name, row in rows.items():
        writer.writerow([name, *(repr(float(row[key])) if key in row else "" for key in columns)])
    return text.getvalue()


def write_csv(path: Path, rows: Rows, columns: Sequence[str] | None = None, corner: str = "name") -> None:
    """Write ``csv_table`` to ``path``, whole or not at all."""
    write_text(path, csv_table(rows, columns, corner))


def _cells(rows: Rows, columns: Sequence[str] | None, corner: str) -> list[list[str]]:
    """Heading and rows as text."""
    columns = metric_columns(rows) if columns is None else columns
    metrics = [(key, metric_style(key)) for key in columns]
    heading = [corner, *(metric.heading() for _, metric in metrics)]
    return [heading, *([name, *(metric.show(row.get(key)) for key, metric in metrics)] for name, row in rows.items())]


def _aligned(line: list[str], widths: list[int]) -> str:
    """Names to the left, numbers to the right."""
    name, *numbers = line
    cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
    return GAP.join(cells).rstrip()
