"""The contact sheet: what was kept of each film and what was dropped, with the reason under each frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dominate import tags

from util.html_page import masthead, picture_link, write_page

STYLE = """
.card { padding: 18px 20px; margin-bottom: 18px; }
.card h3 { font-size: 13.5px; font-weight: 600; margin: 16px 0 0; }
.pictures { grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); margin-top: 8px; }
"""


def write_sheet(folder: Path, name: str, states: Sequence[dict[str, Any]]) -> None:
    """Write ``index.html`` into the folder that has the thumbnails; ``name`` is that of the clips' folder."""
    facts = {
        "films": str(len(states)),
        "clips": str(sum(len(state["clips"]) for state in states)),
        "frames kept": str(sum(len(state["rows"]) for state in states)),
        "of": str(sum(state["frames"] for state in states)),
    }
    body = [masthead(name, facts), tags.main(*map(_card, states), cls="wrap")]
    write_page(folder / "index.html", f"clips in {name}", body, STYLE)


def _card(state: dict[str, Any]) -> tags.html_tag:
    top, bottom, left, right = state["crop"]
    line = f"{len(state['rows'])} of {state['frames']} frames in {len(state['clips'])} clips; "
    line += f"cropped to {bottom - top} x {right - left} pixels at row {top}, column {left}"
    card = tags.section(tags.h2(state["source"]), tags.p(line), cls="card")
    verdicts = list(dict.fromkeys(entry["verdict"] for entry in state["sheet"]))
    for verdict in verdicts:
        entries = [entry for entry in state["sheet"] if entry["verdict"] == verdict]
        count = state["dropped"].get(verdict)
        card.add(tags.h3(verdict if count is None else f"{verdict} ({count})"))
        pictures = [picture_link(one["picture"], f"frame {one['frame']}", state["source"]) for one in entries]
        card.add(tags.div(*pictures, cls="pictures"))
    return card
