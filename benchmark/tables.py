"""Figures as tables, for a terminal and for a page."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from benchmark.cases import LADDER, WITHOUT_NETWORKS
from util.human_units import human_count
from util.tables import format_table, markdown_table

STREAMS_OF = {"train": ("pairs", "packed pairs"), "video": ("clips",)}  # what a load reads
DIGITS = 3  # what can be trusted of a time
GIB, TERA, GIGA = 2**30, 1e12, 1e9

COLUMNS = (  # from left to right; those of the loader come in the order of its streams
    *("images/s", "ms an image", "s", "shortest s", "× before", "× published", "TFLOP", "GFLOP an image", "TFLOP/s"),
    *("% of product", "flow calls", "peak GiB"),
)

Row = Mapping[str, Any]


class Table(NamedTuple):
    """Numbers by column, by the row's title."""

    caption: str
    rows: dict[str, dict[str, float]]

    @property
    def columns(self) -> list[str]:
        """Those that some row has, in their order."""
        present = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        return sorted(present, key=lambda name: COLUMNS.index(name) if name in COLUMNS else len(COLUMNS))


class Section(NamedTuple):
    """What belongs together: training, say."""

    head: str
    tables: list[Table]


def make_sections(figures: Mapping[str, Any]) -> dict[str, Section]:
    """By what was measured, in the order of the options.

    Args:
        figures: as they are written to the file.
    """
    head = describe(figures)
    makers = {"loader": _loader_tables, "films": _film_tables}
    return {
        what: Section(head, makers[what](figures) if what in makers else _case_tables(what, figures["cases"]))
        for what in figures["options"]["what"]
    }


def text_section(section: Section) -> str:
    """The tables, for a terminal."""
    return "\n\n".join(f"{table.caption}\n{format_table(table.rows, table.columns)}" for table in section.tables)


def markdown_section(section: Section) -> str:
    """Head and tables, for a page."""
    tables = (f"**{table.caption}**\n\n{markdown_table(table.rows, table.columns)}" for table in section.tables)
    return "\n\n".join([section.head, *tables])


def describe(figures: Mapping[str, Any]) -> str:
    """One paragraph: the machine, the networks, how often, and the fastest product."""
    machine, options = figures["machine"], figures["options"]
    place = f"{machine['cpu']}, {machine['cores']} cores ({machine['threads']} threads)"
    if "gpu" in machine:
        place = f"{machine['gpu']} ({place})"
    parts = [f"{place}, PyTorch {machine['torch']}, median of {options['repeats']} repeats."]
    if figures["parameters"]:
        counts = ", ".join(f"{name} {human_count(count)}" for name, count in figures["parameters"].items())
        parts.append(f"ngf {options['ngf']}, ndf {options['ndf']} (weights: {counts}).")
        rates = figures["product_flops_per_s"].items()
        products = ", ".join(f"{name} {significant(rate / TERA):g} TFLOP/s" for name, rate in rates)
        parts.append(f"Fastest product of two matrices: {products}.")
    return " ".join(parts)


def significant(value: float, digits: int = DIGITS) -> float:
    """Rounded to so many significant digits."""
    return float(f"{value:.{digits}g}")


def _case_tables(what: str, cases: Iterable[Row]) -> list[Table]:
    found: dict[tuple[int, int, str], Table] = {}
    for row in cases:
        if row["what"] == what:
            caption = f"{row['size']} x {row['size']} pixels, batch {row['batch']}"
            if row["group"] != LADDER:
                caption += f": --{row['group']}"
            table = found.setdefault((row["size"], row["batch"], row["group"]), Table(caption, {}))
            table.rows[row["title"]] = _columns(row)
    return list(found.values())


def _columns(row: Row) -> dict[str, float]:
    """Columns of a case, rounded; what is not known is left out."""
    inference, images = row["what"] == "inference", row["batch"]
    counted = row["what"] not in WITHOUT_NETWORKS
    columns = {
        "images/s": images / row["median_s"] if inference else None,
        "ms an image": 1000 * row["median_s"] / images if inference else None,
        "s": None if inference else row["median_s"],
        "shortest s": None if inference else row["min_s"],
        "× before": row["times_before"],
        "× published": row["times_published"],
        "TFLOP": None if inference or not counted else _in(row["flops"], TERA),
        "GFLOP an image": _in(row["flops"], GIGA * images) if inference else None,
        "TFLOP/s": _in(row["flops_per_s"], TERA) if counted else None,
        "% of product": _in(row["share_of_product"], 0.01) if counted else None,
        "flow calls": row["flow_calls"] if row["what"].startswith("video") else None,
        "peak GiB": _in(row["peak_bytes"], GIB),
    }
    return {name: significant(value) for name, value in columns.items() if value is not None}


def _loader_tables(figures: Mapping[str, Any]) -> list[Table]:
    found: dict[int, Table] = {}
    for row in figures["loader"]:
        caption = f"{row['size']} x {row['size']} pixels, batch {row['batch']}"
        table = found.setdefault(row["size"], Table(caption, {}))
        title = f"{row['workers']} loader processes" if row["workers"] else "in the main process"
        table.rows.setdefault(title, {})[f"{row['stream']}/s"] = significant(row["samples_per_s"])
    for size, table in found.items():
        needed = _needed(figures["cases"], size)
        reached = {stream: _processes_for(figures["loader"], stream, size, rate) for stream, rate in needed.items()}
        if needed:
            table.rows["needed by our fastest step"] = {f"{name}/s": significant(rate) for name, rate in needed.items()}
            known = {f"{name}/s": count for name, count in reached.items() if count is not None}
            table.rows["loader processes that reach it"] = known
    return list(found.values())


def _needed(cases: Iterable[Row], size: int) -> dict[str, float]:
    """Samples a second that our fastest training step takes, by the streams of the loader."""
    needed: dict[str, float] = {}
    for what, streams in STREAMS_OF.items():
        steps = [row for row in cases if (row["what"], row["size"], row["group"]) == (what, size, LADDER)]
        rates = [row["batch"] / row["median_s"] for row in steps if not row["published"]]
        if rates:
            needed |= dict.fromkeys(streams, max(rates))
    return needed


def _processes_for(rows: Iterable[Row], stream: str, size: int, rate: float) -> int | None:
    """The fewest loader processes that give so many samples a second; None where none do."""
    found = (row for row in rows if row["stream"] == stream and row["size"] == size and row["samples_per_s"] >= rate)
    return min((row["workers"] for row in found), default=None)


def _film_tables(figures: Mapping[str, Any]) -> list[Table]:
    rows = {
        f"{row['width']} x {row['height']}": {
            "decoded frames/s": significant(row["decoded_per_s"]),
            "prepared frames/s": significant(row["prepared_per_s"]),
            "% kept": significant(100 * row["kept"] / row["frames"]),
        }
        for row in figures["films"]
    }
    return [Table("One film, H.264", rows)]


def _in(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
