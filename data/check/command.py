"""``python -m data.check DIR``: looks through all of a data set, prints the report and writes it beside a page."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from data import formats
from data.check.alignment import misaligned
from data.check.findings import Finding, Report, Summary
from data.check.frames import FrameFacts, faults_of_a_frame, faults_of_a_split, measure, summarise
from data.check.leaks import duplicates_across, shared_sequences
from data.check.page import write_check_page
from data.check.video import check_clip, clips_in
from data.formats import DataFormat, open_format
from util.errors import UserError
from util.files import write_text
from util.threads import in_parallel

FAULTY_CODE = 1


def main(args: list[str] | None = None) -> int:
    opt = parse(args)
    if not opt.dataroot.exists():
        raise FileNotFoundError(f"there is no folder {opt.dataroot}")
    source = open_format(opt)
    report, frames = check(source, opt.dataset)
    sys.stdout.write(report.text())
    out = opt.out or Path("results") / "check" / opt.dataroot.resolve().name
    write_text(out / "report.json", json.dumps(report.as_dict(), indent=1) + "\n")
    write_check_page(out, report, source, frames)
    sys.stdout.write(f"report  {out / 'index.html'}, {out / 'report.json'}\n")
    return FAULTY_CODE if report.faults else 0


def parse(args: list[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m data.check", description="Look through a data set and list every fault.")
    parser.add_argument("dataroot", type=Path, metavar="folder", help="data set, or a folder of pairs")
    parser.add_argument("--depth_format", default="auto", help="how depth is stored, as for train.py")
    parser.add_argument("--out", type=Path, help="folder of report.json and index.html; default: results/check/NAME")
    formats.add_options(parser)
    return parser.parse_args(args)


def check(source: DataFormat, dataset: str) -> tuple[Report, dict[str, list[FrameFacts]]]:
    """Everything that is wrong, and what was measured of the frames of each split.

    Raises:
        UserError, FileNotFoundError: this is no data set of that format at all.
    """
    report = Report(str(source.root), dataset)
    phases, videos = source.phases(), video_folders(source.root)
    if not phases and not videos:
        raise UserError(
            f"{source.root} is no data set that --dataset {dataset} knows: it holds neither <phase>_A and <phase>_B, "
            f"nor video_<phase>, nor pairs; other layouts: {', '.join(formats.FORMATS)}"
        )
    frames: dict[str, list[FrameFacts]] = {}
    for phase in phases:
        frames[phase] = check_split(source, phase, report)
    report.findings += duplicates_across(frames)
    report.findings += shared_sequences({phase: {f.item.sequence for f in facts} for phase, facts in frames.items()})
    for root in videos:
        check_video(root, report)
    return report, frames


def check_split(source: DataFormat, phase: str, report: Report) -> list[FrameFacts]:
    """One split; its summary and findings go into the report, what was measured of readable frames is returned."""
    try:
        found = source.find(phase)
    except (UserError, OSError) as error:
        report.findings.append(Finding("split", "", str(error)))
        report.summaries.append(Summary(phase))
        return []
    report.findings += orphans(found)
    if not found.items:
        report.findings.append(Finding("split", f"the split {phase}", "has no frame with a depth map"))
    frames: list[FrameFacts] = []
    for facts in in_parallel(lambda item: measure(source, item), found.items, f"checking {phase}", "pairs"):
        if isinstance(facts, Finding):
            report.findings.append(facts)
        else:
            frames.append(facts)
            report.findings += faults_of_a_frame(facts, source)
    report.findings += faults_of_a_split(phase, frames, source)
    report.findings += misaligned(phase, source, [facts.item for facts in frames])
    report.summaries.append(summarise(phase, frames, len(found.items)))
    return frames


def orphans(found: formats.Found) -> Iterator[Finding]:
    """A fault for each file without its partner."""
    fix = "add it, or remove this one"
    for path in found.frames_alone:
        yield Finding("frame without depth", str(path), "has no depth map", fix)
    for path in found.depths_alone:
        yield Finding("depth without frame", str(path), "has no frame", fix)


def check_video(root: Path, report: Report) -> None:
    """One folder of clips."""
    summary = Summary(root.name, unit="frames")
    clips, findings = clips_in(root)
    report.findings += findings
    summary.count, summary.sequences = sum(map(len, clips)), len(clips)
    for of_clip in in_parallel(lambda clip: list(check_clip(clip, summary)), clips, f"checking {root.name}", "clips"):
        report.findings += of_clip
    report.summaries.append(summary)


def video_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("video_*") if path.is_dir()) if root.is_dir() else []
