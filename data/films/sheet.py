"""The contact sheet: the view that was found in each film, what was kept of it and what was dropped, and why."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from dominate import tags

from data.films.look import FilmLook
from data.films.select import Selection
from data.image_files import read_rgb, write_picture
from util.html_page import masthead, picture_link, write_page

PICTURES = "frames"  # folder beside the page
THUMBNAIL_HEIGHT, VIEW_HEIGHT = 90, 240  # px
THUMBNAILS = 12  # of each verdict, of a film
BORDER_COLOUR, OVERLAY_COLOUR, BOX_COLOUR = (40, 60, 160), (220, 40, 200), (60, 220, 90)  # RGB
STYLE = """
.card { padding: 18px 20px; margin-bottom: 18px; }
.card h3 { font-size: 13.5px; font-weight: 600; margin: 16px 0 0; }
.pictures { grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); margin-top: 8px; }
.view { grid-template-columns: minmax(0, 360px); }
"""


def sheet_folder(out: Path) -> Path:
    """Beside the clips, since folders among them are clips."""
    return out.with_name(f"sheet_{out.name}")


def dropped_on_sheet(selection: Selection) -> dict[int, str]:
    """Some frames of each kind that is dropped, spread over the film, with the reason."""
    numbers: dict[str, list[int]] = {}
    for number, reason in enumerate(selection.reasons):
        if reason is not None:
            numbers.setdefault(reason.value, []).append(number)
    return {number: reason for reason, found in numbers.items() for number in _spread(found)}


def write_thumbnail(folder: Path, name: str, number: int, rgb: np.ndarray) -> None:
    """Of a frame of the film ``name``, RGB uint8 (H, W, 3)."""
    write_picture(folder / _file(name, f"{number:06d}"), _scaled(rgb, THUMBNAIL_HEIGHT))


def write_view(folder: Path, name: str, look: FilmLook, box: tuple[int, int, int, int]) -> None:
    """A frame of the film with border and overlays coloured, and the box that is cut out."""
    rgb = look.picture.astype(np.float32)
    for mask, colour in ((~look.view, BORDER_COLOUR), (look.overlay, OVERLAY_COLOUR)):
        rgb[mask] = (rgb[mask] + colour) / 2
    top, bottom, left, right = box
    thickness = max(2, 2 * len(rgb) // VIEW_HEIGHT)
    marked = cv2.rectangle(rgb.round().astype(np.uint8), (left, top), (right - 1, bottom - 1), BOX_COLOUR, thickness)
    write_picture(folder / _file(name, "view"), _scaled(marked, VIEW_HEIGHT))


def remove_pictures(out: Path, name: str) -> None:
    """Those of a film."""
    for picture in (sheet_folder(out) / PICTURES).glob("*.jpg"):
        if re.fullmatch(re.escape(name) + r"_(\d{6,}|view)", picture.stem):
            picture.unlink()


def write_sheet(out: Path, states: Sequence[dict[str, Any]]) -> Path:
    """Write the page of the films whose clips are in ``out``, with thumbnails of some kept frames of each; returns it.

    Args:
        out: folder of the clips.
        states: of the films.
    """
    facts = {
        "films": str(len(states)),
        "clips": str(sum(len(state["clips"]) for state in states)),
        "frames kept": str(sum(len(state["rows"]) for state in states)),
        "of": str(sum(state["frames"] for state in states)),
    }
    cards = [_card(out, state) for state in states]
    page = sheet_folder(out) / "index.html"
    write_page(page, f"clips in {out.name}", [masthead(out.name, facts), tags.main(*cards, cls="wrap")], STYLE)
    return page


def describe(state: dict[str, Any]) -> str:
    """What became of a film, in a line."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in state["dropped"].items()) or "none dropped"
    dropped = f"DAMAGED: {state['damage']}, {dropped}" if state["damage"] else dropped
    facts = [dropped, *["interlaced"] * state["interlaced"]]
    facts += [f"{100 * state['overlay']:.2g} % overlays"] * (state["overlay"] > 0)
    facts += [_count(len(state["cuts"]), "cut")] * bool(state["cuts"])
    clips = _count(len(state["clips"]), "clip")
    return f"{state['source']}: {len(state['rows'])} of {state['frames']} frames in {clips} ({', '.join(facts)})"


def _card(out: Path, state: dict[str, Any]) -> tags.html_tag:
    top, bottom, left, right = state["crop"]
    box = f"box of {bottom - top} x {right - left} pixels at row {top}, column {left}"
    card = tags.section(tags.h2(state["source"]), tags.p(describe(state)), cls="card")
    view = picture_link(f"{PICTURES}/{_picture(out, state['name'], 'view').name}", box, state["source"])
    card.add(tags.div(view, cls="pictures view"))
    for row in _spread(state["rows"]):
        kept = _picture(out, state["name"], f"{row['frame']:06d}")
        if not kept.is_file():
            write_picture(kept, _scaled((read_rgb(out / row["file"]) * 255).round().astype(np.uint8), THUMBNAIL_HEIGHT))
    between = state["frames"] - len(state["rows"]) - sum(state["dropped"].values())
    _add_row(card, f"kept ({len(state['rows'])})", out, state["name"], [row["frame"] for row in _spread(state["rows"])])
    for reason, count in state["dropped"].items():
        numbers = [entry["frame"] for entry in state["sheet"] if entry["reason"] == reason]
        _add_row(card, f"{reason} ({count})", out, state["name"], numbers)
    card.add(tags.p(f"{between} more lie between frames of a clip, or in stretches too short or too still for one."))
    return card


def _add_row(card: tags.html_tag, title: str, out: Path, name: str, numbers: Sequence[int]) -> None:
    card.add(tags.h3(title))
    files = [(number, _picture(out, name, f"{number:06d}").name) for number in numbers]
    pictures = [picture_link(f"{PICTURES}/{file}", f"frame {number}", name) for number, file in files]
    card.add(tags.div(*pictures, cls="pictures"))


def _picture(out: Path, name: str, what: str) -> Path:
    return sheet_folder(out) / PICTURES / _file(name, what)


def _file(name: str, what: str) -> str:
    return f"{name}_{what}.jpg"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _spread(things: Sequence[Any]) -> list[Any]:
    places = np.linspace(0, len(things) - 1, min(THUMBNAILS, len(things))).round().astype(int)
    return [things[place] for place in places]


def _scaled(rgb: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(rgb.shape[1] * height / rgb.shape[0]))
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
