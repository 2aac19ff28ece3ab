"""Web pages of pictures: the gallery of a test's results, and the page that grows while a method is trained."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from dominate import tags
from dominate.util import raw

from util.colormap import INVALID_COLOR, Colorize, colorize_depth, sample_colors
from util.gallery_assets import GALLERY_SCRIPT, GALLERY_STYLE, TRAINING_STYLE
from util.html_page import masthead, picture_link, write_page
from util.tables import ARROWS, MetricStyle, Rows, metric_columns, metric_style

Sizes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class GalleryRow:
    """One image of a gallery."""

    name: str
    pictures: Mapping[str, str]  # path from the page's folder by caption, e.g. {"Depth": "images/0001_depth.png"}
    metrics: Mapping[str, float] = field(default_factory=dict)  # empty where there is no truth


@dataclass(frozen=True)
class ColorScale:
    """What the colours of a kind of picture mean; shown as a bar at the top of the gallery."""

    caption: str
    maximum: float
    minimum: float = 0.0
    unit: str = "mm"
    colorize: Colorize = colorize_depth


@dataclass(frozen=True)
class TrainingEntry:
    """The pictures of one moment of a training."""

    epoch: int
    iteration: int
    pictures: Mapping[str, str]  # path from the page's folder by caption
    note: str = ""  # e.g. the losses then


def write_gallery(
    path: Path,
    rows: Sequence[GalleryRow],
    columns: Sequence[str],
    summary: Mapping[str, Rows],
    title: str,
    *,
    facts: Mapping[str, str] | None = None,
    scales: Sequence[ColorScale] = (),
    figures: Mapping[str, Mapping[str, str]] | None = None,
    page_size: int = 200,
) -> None:
    """Write the gallery of a test: a summary on top, then every image with its pictures and numbers.

    The reader sorts by any metric (worst or best first) and filters by name; ``page_size`` images are shown at a time.
    Without JavaScript all of them are shown as given.

    Args:
        path: the HTML file; the pictures lie below its folder.
        rows: the images, in the order in which they are shown first.
        columns: metric keys to show and sort by; a row may lack them.
        summary: mean scores, first by alignment, then by what was scored, e.g.
            ``{"Not aligned": {"ours": {"abs_rel": 0.08}, "constant": ...}}``. In each the best value is set bold. What
            has no metric in common with the others becomes a table of its own.
        title: heading of the page.
        facts: checkpoint, data set and the like by name, under the heading.
        scales: what the colours mean.
        figures: pictures of the test as a whole, between the summary and the images; by heading, then the path from
            the page's folder by caption.
        page_size: images at a time.

    Raises:
        ValueError: a picture lies outside the page's folder.
        OSError: the page cannot be written.
    """
    captions = list(dict.fromkeys(caption for row in rows for caption in row.pictures))
    sizes = _picture_sizes(Path(path).parent, (row.pictures for row in rows))
    articles = [_row(row, captions, columns, sizes, hidden=i >= page_size) for i, row in enumerate(rows)]
    listing = tags.main(*articles, id="rows", cls="wrap", style=f"--columns: {max(len(captions), 1)}")
    listing.set_attribute("data-page-size", str(page_size))
    body = [
        masthead(title, dict(facts or {})),
        _summary(summary),
        *[_figures(heading, pictures, Path(path).parent) for heading, pictures in (figures or {}).items()],
        _toolbar(columns, scales),
        listing,
        _without_script(),
    ]
    write_page(path, title, body, GALLERY_STYLE, GALLERY_SCRIPT)


def write_training_page(
    path: Path,
    entries: Sequence[TrainingEntry],
    title: str,
    *,
    facts: Mapping[str, str] | None = None,
    refresh_s: int = 0,
) -> None:
    """Write the page of training pictures, newest first. It may be written again at any time, also while it is read.

    Args:
        path: the HTML file; the pictures lie below its folder.
        entries: in any order.
        title: heading of the page.
        facts: name of the run and the like, under the heading.
        refresh_s: seconds after which an open browser loads the page again; 0 is never.

    Raises:
        ValueError: a picture lies outside the page's folder.
        OSError: the page cannot be written.
    """
    newest_first = sorted(entries, key=lambda entry: (entry.epoch, entry.iteration), reverse=True)
    sizes = _picture_sizes(Path(path).parent, (entry.pictures for entry in newest_first))
    listing = tags.main(*[_training_entry(entry, sizes) for entry in newest_first], cls="wrap")
    if not entries:
        listing.add(tags.p("No pictures yet.", cls="empty"))
    write_page(path, title, [masthead(title, dict(facts or {})), listing], TRAINING_STYLE, refresh_s=refresh_s)


def _row(row: GalleryRow, captions: list[str], columns: Sequence[str], sizes: Sizes, hidden: bool) -> tags.html_tag:
    """One image: its name, its pictures in the columns of all, its numbers."""
    pictures = [
        picture_link(row.pictures[caption], caption, row.name, sizes.get(caption))
        if caption in row.pictures
        else tags.figure()  # keeps the columns of all rows in line
        for caption in captions
    ]
    content = tags.div(tags.div(*pictures, cls="pictures"), cls="content")
    if row.metrics and columns:
        content.add(tags.dl(*[_number(key, row.metrics.get(key)) for key in columns], cls="numbers"))
    article = tags.article(tags.h2(row.name), content, cls="row card")
    article.set_attribute("data-name", row.name)
    if hidden:
        article.set_attribute("hidden", "hidden")
    return article


def _number(key: str, value: float | None) -> tags.html_tag:
    """Title and rounded value; what the script sorts by is the value in full."""
    metric = metric_style(key)
    cell = tags.dd(metric.show(value))
    cell.set_attribute("data-metric", key)
    cell.set_attribute("data-value", "" if value is None or math.isnan(value) else _javascript_number(value))
    return tags.div(tags.dt(metric.title, *_unit(metric)), cell)


def _javascript_number(value: float) -> str:
    return repr(float(value)).replace("inf", "Infinity")


def _summary(summary: Mapping[str, Rows]) -> tags.html_tag:
    """Tables of mean scores; in each, a body for each alignment."""
    tables = [_summary_table(groups, columns) for groups, columns in _by_columns(summary)]
    if not tables:
        return tags.section()
    return tags.section(*tables, cls="wrap summary", aria_label="Summary")


def _by_columns(summary: Mapping[str, Rows]) -> list[tuple[dict[str, Rows], list[str]]]:
    """The groups that share metrics with the first of them, and so on, each time with the metrics of all."""
    left = {group: metric_columns(rows) for group, rows in summary.items()}
    left = {group: columns for group, columns in left.items() if columns}
    tables = []
    while left:
        first = set(next(iter(left.values())))
        groups = {group: summary[group] for group, columns in left.items() if first & set(columns)}
        rows = {f"{group}/{name}": row for group, rows in groups.items() for name, row in rows.items()}
        tables.append((groups, metric_columns(rows)))
        left = {group: columns for group, columns in left.items() if group not in groups}
    return tables


def _summary_table(groups: Mapping[str, Rows], columns: Sequence[str]) -> tags.html_tag:
    heads = [tags.th(_heading(metric_style(key)), scope="col") for key in columns]
    table = tags.table(tags.thead(tags.tr(tags.th("Mean scores", scope="col"), *heads)))
    for group, rows in groups.items():
        table.add(_summary_group(group, rows, columns))
    return tags.div(table, cls="card scroll")


def _figures(heading: str, pictures: Mapping[str, str], folder: Path) -> tags.html_tag:
    sizes = {caption: _picture_sizes(folder, [{caption: source}]).get(caption) for caption, source in pictures.items()}
    links = [picture_link(source, caption, heading, sizes[caption]) for caption, source in pictures.items()]
    return tags.section(tags.h2(heading), tags.div(*links, cls="card pictures"), cls="wrap figures", aria_label=heading)


def _summary_group(group: str, rows: Rows, columns: Sequence[str]) -> tags.html_tag:
    best = {key: _best(key, [row[key] for row in rows.values() if key in row]) for key in columns}
    body = tags.tbody(tags.tr(tags.th(group, colspan=str(len(columns) + 1), scope="rowgroup"), cls="group"))
    for name, row in rows.items():
        values = [(row.get(key), best[key], metric_style(key)) for key in columns]
        cells = [tags.td(metric.show(value), cls="best" if _is(value, top) else "") for value, top, metric in values]
        body.add(tags.tr(tags.th(name, scope="row"), *cells))
    return body


def _best(key: str, values: list[float]) -> float | None:
    """The best of several values; None where nothing is compared or no direction is known."""
    values = [value for value in values if not math.isnan(value)]
    direction = metric_style(key).better
    if len(values) < 2 or direction is None:
        return None
    return min(values) if direction == "lower" else max(values)


def _is(value: float | None, best: float | None) -> bool:
    return value is not None and best is not None and value == best


def _heading(metric: MetricStyle) -> tags.html_tag:
    arrow = [tags.i(ARROWS[metric.better])] if metric.better else []
    return tags.span(metric.title, *_unit(metric), *arrow)


def _unit(metric: MetricStyle) -> list[tags.html_tag]:
    return [tags.small(metric.unit)] if metric.unit else []


def _toolbar(columns: Sequence[str], scales: Sequence[ColorScale]) -> tags.html_tag:
    """What stays at the top of the window: sorting, filter, pages, and what the colours mean."""
    chips = [_chip("", MetricStyle("Name")), *(_chip(key, metric_style(key)) for key in columns)]
    controls = tags.div(
        tags.div(tags.span("Sort"), *chips, tags.span(id="order", aria_live="polite"), cls="chips"),
        tags.div(
            tags.input_(type="search", id="filter", placeholder="Filter by name", aria_label="Filter by name"),
            tags.span(id="count", aria_live="polite"),
            tags.button("‹", id="previous", type="button", aria_label="Previous page"),
            tags.button("›", id="next", type="button", aria_label="Next page"),
            cls="pages",
        ),
        cls="controls",
        id="controls",
        hidden="hidden",
    )
    legend = [tags.div(*[_scale(scale) for scale in scales], _invalid(), cls="scales")] if scales else []
    return tags.nav(tags.div(controls, *legend, cls="wrap"), cls="toolbar", aria_label="Sorting and colours")


def _chip(key: str, metric: MetricStyle) -> tags.html_tag:
    """A button that sorts; the empty key is the name."""
    chip = tags.button(metric.title, *_unit(metric), type="button", cls="chip", aria_pressed="false")
    chip.set_attribute("data-key", key)
    chip.set_attribute("data-better", metric.better or "")
    return chip


def _scale(scale: ColorScale) -> tags.html_tag:
    colors = ", ".join(f"rgb({r} {g} {b})" for r, g, b in sample_colors(scale.colorize))
    return tags.div(
        tags.b(scale.caption),
        tags.span(f"{scale.minimum:.4g}"),
        tags.i(cls="ramp", style=f"background: linear-gradient(to right, {colors})"),
        tags.span(f"{scale.maximum:.4g} {scale.unit}".rstrip()),
        cls="scale",
    )


def _invalid() -> tags.html_tag:
    r, g, b = INVALID_COLOR
    return tags.div(tags.i(cls="swatch", style=f"background: rgb({r} {g} {b})"), tags.span("no value"), cls="scale")


def _without_script() -> tags.html_tag:
    return tags.noscript(tags.style(raw(".row[hidden] { display: block !important; }")))


def _training_entry(entry: TrainingEntry, sizes: Sizes) -> tags.html_tag:
    moment = f"Epoch {entry.epoch}, iteration {entry.iteration}"
    heading = tags.h2(f"Epoch {entry.epoch}", tags.span(f"iteration {entry.iteration:,}".replace(",", "\u202f")))
    article = tags.article(heading, cls="row card", id=f"epoch-{entry.epoch}-{entry.iteration}")
    if entry.note:
        article.add(tags.p(entry.note, cls="note"))
    pictures = [picture_link(source, caption, moment, sizes.get(caption)) for caption, source in entry.pictures.items()]
    article.add(tags.div(*pictures, cls="pictures"))
    return article


def _picture_sizes(folder: Path, rows: Iterable[Mapping[str, str]]) -> dict[str, tuple[int, int]]:
    """(H, W) by caption, read from the first picture of each; a caption whose picture cannot be read has none."""
    first: dict[str, str] = {}
    for pictures in rows:
        first = {**pictures, **first}
    images = {caption: cv2.imread(str(folder / source)) for caption, source in first.items()}
    return {caption: image.shape[:2] for caption, image in images.items() if image is not None}
