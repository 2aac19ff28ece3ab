"""The page of a check: findings, a histogram of depth for each split, and frames with their depth laid over them."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from dominate import tags

from data.check.findings import HISTOGRAM_EDGES_MM, Finding, Report, Summary, shortened
from data.check.frames import FrameFacts
from data.formats import DataFormat, Item
from data.image_files import write_picture
from util.colormap import colorize_depth
from util.html_page import masthead, picture_link, write_page

SAMPLES = 4  # frames of each split that are shown
HEIGHT = 240  # of the pictures [px]
DEPTH_SHARE = 0.45  # of the overlay
IMAGES = "images"

STYLE = """
.card { padding: 18px 20px; margin-bottom: 18px; }
.findings li { margin: 4px 0; overflow-wrap: anywhere; }
.fault { color: #c0392b; } .warning { color: #b7791f; }
.bars { display: flex; align-items: flex-end; height: 90px; gap: 1px; margin: 14px 0 2px; }
.bars i { flex: 1; background: var(--accent); min-width: 1px; }
.axis { display: flex; justify-content: space-between; color: var(--muted); font-size: 12.5px; }
.pictures { grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); margin-top: 16px; }
"""


def write_check_page(
    folder: Path, report: Report, source: DataFormat, frames: Mapping[str, Sequence[FrameFacts]]
) -> None:
    """Write ``index.html`` and its pictures into ``folder``; pictures of an earlier check are removed."""
    shutil.rmtree(folder / IMAGES, ignore_errors=True)
    facts = {"data set": report.dataset, "faults": str(len(report.faults)), "warnings": str(len(report.warnings))}
    body = [masthead(report.folder, facts)]
    cards = [_findings("Faults", "fault", report.faults), _findings("Warnings", "warning", report.warnings)]
    for summary in report.summaries:
        samples = _spread([facts.item for facts in frames.get(summary.name, [])])
        cards.append(_split(summary, [_pictures(folder, source, summary.name, item) for item in samples]))
    body.append(tags.main(*[card for card in cards if card is not None], cls="wrap"))
    write_page(folder / "index.html", f"check of {report.folder}", body, style=STYLE)


def overlay(rgb: np.ndarray, depth_mm: np.ndarray, max_mm: float) -> np.ndarray:
    """The frame (H, W, 3) in [0, 1] with its depth (H, W) over it, uint8: it shows whether they belong together."""
    colour = colorize_depth(depth_mm, max_mm).astype(np.float32)
    mixed = (1 - DEPTH_SHARE) * 255 * rgb + DEPTH_SHARE * colour
    return np.where(depth_mm[..., None] > 0, mixed, 255 * rgb).round().astype(np.uint8)


def _findings(title: str, level: str, findings: Sequence[Finding]) -> tags.html_tag | None:
    if not findings:
        return None
    lines = [tags.li(line) for line in shortened(findings)]
    return tags.section(tags.h2(f"{title} ({len(findings)})", cls=level), tags.ul(*lines, cls="findings"), cls="card")


def _split(summary: Summary, pictures: list[list[tags.html_tag]]) -> tags.html_tag:
    card = tags.section(tags.h2(summary.name), tags.p(summary.line().removeprefix(summary.name).strip()), cls="card")
    if any(summary.histogram):
        card.add(*_histogram(summary.histogram))
    if pictures:
        card.add(tags.div(*[picture for row in pictures for picture in row], cls="pictures"))
    return card


def _histogram(counts: list[int]) -> list[tags.html_tag]:
    """Bars of share per mm, so that wider bins are not higher, up to the last that is not empty."""
    last = int(np.flatnonzero(counts)[-1]) + 1
    density = np.array(counts[:last]) / np.diff(HISTOGRAM_EDGES_MM)[:last]
    bars = [
        tags.i(style=f"height: {100 * share:.1f}%", title=f"{low:g} to {high:g} mm: {count / sum(counts):.1%}")
        for share, low, high, count in zip(
            density / density.max(), HISTOGRAM_EDGES_MM, HISTOGRAM_EDGES_MM[1:], counts, strict=False
        )
    ]
    axis = tags.div(tags.span("0 mm"), tags.span("depth"), tags.span(f"{HISTOGRAM_EDGES_MM[last]:g} mm"), cls="axis")
    return [tags.div(*bars, cls="bars"), axis]


def _pictures(folder: Path, source: DataFormat, phase: str, item: Item) -> list[tags.html_tag]:
    rgb, depth_mm = source.read_frame(item.image), source.read_depth_mm(item)
    scale = HEIGHT / rgb.shape[0]
    size = (max(1, round(rgb.shape[1] * scale)), HEIGHT)
    rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    depth_mm = cv2.resize(depth_mm, size, interpolation=cv2.INTER_NEAREST)
    valid = depth_mm[depth_mm > 0]
    max_mm = float(np.percentile(valid, 98)) if valid.size else 1.0
    shown = {
        "frame": (rgb * 255).round().astype(np.uint8),
        "depth": colorize_depth(depth_mm, max_mm),
        "both": overlay(rgb, depth_mm, max_mm),
    }
    links = []
    for caption, picture in shown.items():
        path = f"{IMAGES}/{phase.replace('.', 'here')}_{item.name}_{caption}.png"
        write_picture(folder / path, picture)
        links.append(picture_link(path, caption if caption != "frame" else item.name, item.name, picture.shape[:2]))
    return links


def _spread(items: Sequence[Item]) -> list[Item]:
    places = np.linspace(0, len(items) - 1, min(SAMPLES, len(items))).round().astype(int)
    return [items[place] for place in places]
