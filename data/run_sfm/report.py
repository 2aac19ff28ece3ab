"""What came out of SfM, in text, as JSON, in pictures, and on a page."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dominate import tags

from data.run_sfm.pictures import draw_cameras, draw_points
from data.run_sfm.verdict import Measures
from data.sfm.clip import SfmClip
from util.files import write_text
from util.html_page import masthead, picture_link, write_page
from util.human_units import human_duration

JSON, PAGE, POINTS, CAMERAS = "report.json", "index.html", "points.jpg", "trajectory.png"
REFINED = "on a short clip that ends anywhere, so believe it only where a calibration says the same"
POINTS_CAPTION = (
    "Points in the colour of their depth, and a line to where they are some frames later: above and below, each must "
    "sit on the same spot of the tissue"
)
CAMERAS_CAPTION = "The camera's path and viewing directions before the points, from two sides"
STYLE = """
.card { padding: 18px 20px; margin-bottom: 18px; }
.fit h2 { color: #2e8b57; } .unfit h2 { color: #c0392b; }
.verdict p, .verdict ul { margin: 8px 0 0; } .verdict li { margin: 4px 0; }
.numbers { display: grid; grid-template-columns: max-content 1fr; gap: 4px 22px; margin: 0; }
.numbers dt { color: var(--muted); } .numbers dd { margin: 0; overflow-wrap: anywhere; }
.pictures { grid-template-columns: minmax(0, 1fr); }
.narrow { max-width: 900px; }
"""


@dataclass(frozen=True)
class Report:
    """Of one clip.

    Args:
        name: of the clip.
        source: where its frames are from.
        measures: see there.
        faults: why it is not fit for training; empty where it is.
        camera: where the focal length is from.
        refined: SfM was allowed to change it.
        models: frames and points of each model that COLMAP found; the first one is the clip.
        found_points: of that model; those that are not kept have too few frames, or too large an error.
        features: median of a frame.
        seconds: of each step.
        colmap: version of pycolmap.
        options: of the command.
    """

    name: str
    source: str
    measures: Measures
    faults: tuple[str, ...]
    camera: str
    refined: bool
    models: tuple[tuple[int, int], ...]
    found_points: int
    features: float
    seconds: dict[str, float]
    colmap: str
    options: dict[str, Any]

    @property
    def fit(self) -> bool:
        return not self.faults

    @property
    def verdict(self) -> str:
        return "fit for training" if self.fit else "NOT fit for training"

    def rows(self) -> dict[str, str]:
        """The numbers as people read them, by name."""
        found, (near, middle, far) = self.measures, self.measures.depth
        others = ", ".join(f"{frames} frames with {points} points" for frames, points in self.models[1:])
        return {
            "frames": f"{found.registered} of {found.frames} registered ({found.registered_share:.0%})",
            "models": "one" if len(self.models) == 1 else f"{len(self.models)}; left out: {others}",
            "points": f"{found.points}, of {self.found_points} found; {self.features:.0f} features a frame (median)",
            "track": f"{found.track_mean:.1f} frames in mean, {found.track_median:g} in median",
            "reprojection": f"{found.error_px:.2f} px in mean",
            "angle": f"{found.angle_deg:.1f} degrees, the largest of a point, median over points",
            "in the view": f"{found.in_view:.1%} of the observations; {found.behind:.1%} behind their camera",
            "depth": f"{near:.3g} to {far:.3g}, median {middle:.3g} (1st to 99th percentile; SfM knows no mm)",
            "focal length": f"{found.focal_prior:.2f} px before ({self.camera}), {found.focal_final:.2f} px after",
            "time": ", ".join(f"{step} {human_duration(taken)}" for step, taken in self.seconds.items()),
            "COLMAP": f"pycolmap {self.colmap}",
        }

    def notes(self) -> list[str]:
        """What no number of the report can tell."""
        if self.refined:
            return [f"The focal length is SfM's: {REFINED}."]
        return [
            "A wrong focal length shows in none of these numbers; it stretches depth by as much. It was taken from "
            f"{self.camera} and kept."
        ]

    def text(self) -> str:
        """For the terminal."""
        lines = [f"{name:<13} {row}" for name, row in self.rows().items()]
        lines += [f"note          {note}" for note in self.notes()]
        lines += [f"VERDICT: {self.verdict}", *[f"  - {reason}" for reason in self.faults]]
        return "".join(f"{line}\n" for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        fields = asdict(self)
        return {"fit": self.fit, "registered_share": self.measures.registered_share} | fields


def write_report(folder: Path, report: Report, clip: SfmClip) -> Path:
    """Write ``report.json``, both pictures and the page into ``folder``; returns the page."""
    write_text(folder / JSON, json.dumps(report.as_dict(), indent=1, default=str) + "\n")
    draw_points(folder / POINTS, clip)
    draw_cameras(folder / CAMERAS, clip)
    numbers = tags.dl(*[part for name, row in report.rows().items() for part in (tags.dt(name), tags.dd(row))])
    numbers["class"] = "numbers"
    body = [
        masthead(report.name, {"source": report.source}),
        tags.main(
            _verdict(report),
            tags.section(numbers, cls="card"),
            _picture(POINTS, POINTS_CAPTION, report.name),
            _picture(CAMERAS, CAMERAS_CAPTION, report.name, "narrow"),
            cls="wrap",
        ),
    ]
    write_page(folder / PAGE, f"SfM of {report.name}", body, style=STYLE)
    return folder / PAGE


def _verdict(report: Report) -> tags.html_tag:
    card = tags.section(tags.h2(report.verdict), cls=f"card verdict {'fit' if report.fit else 'unfit'}")
    if report.faults:
        card.add(tags.ul(*[tags.li(reason) for reason in report.faults]))
    card.add(*[tags.p(note) for note in report.notes()])
    return card


def _picture(file: str, caption: str, name: str, width: str = "") -> tags.html_tag:
    return tags.section(tags.div(picture_link(file, caption, name), cls=f"pictures {width}"), cls="card")
