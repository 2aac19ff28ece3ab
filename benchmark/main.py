"""``python -m util.benchmark``: options, figures, and what becomes of them."""

import json
import sys
from argparse import Namespace
from contextlib import closing

from benchmark.measure import Figures, measure
from benchmark.options import parse_options
from benchmark.page import fill_page, require_places
from benchmark.tables import describe, make_sections, markdown_section, text_section
from util.files import write_text


def main() -> None:
    opt = parse_options(sys.argv[1:])
    if opt.page:
        require_places(opt.page, [table_name(opt, what) for what in opt.what])
    with closing(measure(opt)) as reports:
        for figures in reports:  # noqa: B007 - the last ones, which are all, are shown
            write_text(opt.out, json.dumps(figures, indent=1) + "\n")
    show(figures)
    sys.stdout.write(f"\nall figures: {opt.out}\n")
    if opt.page:
        sections = make_sections(figures).items()
        fill_page(opt.page, {table_name(opt, what): markdown_section(section) for what, section in sections})
        sys.stdout.write(f"tables: {opt.page}\n")


def table_name(opt: Namespace, what: str) -> str:
    """As pages call it: ``cpu-train``."""
    return f"{'gpu' if opt.device.type == 'cuda' else 'cpu'}-{what}"


def show(figures: Figures) -> None:
    """All tables on stdout."""
    sys.stdout.write(f"\n{describe(figures)}\n")
    for what, section in make_sections(figures).items():
        sys.stdout.write(f"\n{what}\n\n{text_section(section)}\n")
