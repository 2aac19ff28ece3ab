"""``docs/reliability.md``: its rows are what the tests of this folder have seen, its words are written by hand.

``pytest tests/faults --write-reliability`` writes the rows anew.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- rows: pytest tests/faults --write-reliability -->\n", "<!-- end of the rows -->\n"
HEAD = "| What goes wrong | What you see | What is kept | Exit code |\n|---|---|---|---|\n"

# The faults in the order of the page; each test tells of one or more of them.
FAULTS = {
    "Killed": (
        "`kill -9` between two iterations",
        "`kill -9` while a checkpoint is written, in the middle of an epoch with video",
        "`kill -9` while the first checkpoint of a run is written",
        "`kill -9` while an epoch is scored",
        "`kill -9` while the flow of the clips is computed",
        "`kill -9` while pictures and the page are written",
    ),
    "Asked to stop": (
        "Ctrl-C, SIGTERM, SIGUSR1 or a terminal that is closed (SIGHUP)",
        "a second one of these while the first waits for its iteration",
        "one of these before the first iteration, while data is prepared",
        "one of these behind the last iteration, while the report is computed",
    ),
    "Disk": (
        "the disk is full when a checkpoint is due",
        "the disk is full when TensorBoard's events are due",
        "the disk is full when a line of `loss_log.txt` is due",
        "the disk is full when the pictures of the page are due",
        "the disk is full when flow is computed, before the training",
        "`--checkpoints_dir` must not be written",
        "the run's folder becomes read-only during the training",
        "`tensorboard/` cannot be made",
    ),
    "Checkpoints": (
        "`latest.pth` is cut off",
        "one byte of `latest.pth` is another",
        "all checkpoints called latest are damaged",
        "a file of weights that runs a command when it is unpickled",
    ),
    "Data": (
        "a process that loads data is killed",
        "a file of the training set is damaged, met in the middle of an epoch",
        "the same with `--on_bad_sample skip`",
    ),
    "Numbers": (
        "nan in the depth of a batch",
        "losses explode, since `--lr` is far too high",
        "nan in one batch, with `--skip_nonfinite 3`",
        "nan in every batch, with `--skip_nonfinite 3`",
        "gradients that overflow in fp16 whatever the loss scale",
        "the discriminator wins",
        "the predicted depth is constant",
    ),
    "Memory": (
        "memory is full in the first iteration",
        "memory is full in a later iteration",
    ),
    "Around the run": (
        "two trainings with one `--name` at once",
        "the system's clock is set back by a day",
        "nobody reads the terminal output any more (closed pipe)",
    ),
}


class Row(NamedTuple):
    """What one fault did to a run."""

    seen: str
    kept: str
    code: int | None


def known_faults() -> set[str]:
    return {fault for faults in FAULTS.values() for fault in faults}


def told_alike(text: str) -> str:
    """A message without what differs from one run of the tests to the next: folders, processes, sizes and fractions."""
    text = re.sub(r"/[^\s']*?/(?=(checkpoints|data|flow_cache)(/|\b))", "", text)
    text = re.sub(r"process \d+ on \S+ since [\d-]+ [\d:]+", "process # on # since #", text)
    text = re.sub(r"\.\d+(?=\.partial)", ".#", text)
    text = re.sub(r"\d+(\.\d+)? [KMGT]iB", "# MiB", text)
    return re.sub(r"-?\d+\.\d+(e[+-]?\d+)?", "#", text)


def written(rows: Mapping[str, Row]) -> str:
    """The rows of the page in Markdown."""
    sections = []
    for section, faults in FAULTS.items():
        lines = [_line(fault, rows[fault]) for fault in faults]
        sections.append(f"## {section}\n\n{HEAD}{''.join(lines)}")
    return "\n".join(sections)


def _line(fault: str, row: Row) -> str:
    seen = f"`{row.seen}`" if row.seen else "nothing"
    code = "goes on" if row.code is None else str(row.code)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in (fault, seen, row.kept, code)) + " |\n"


def rows_on_page() -> str:
    return _parts()[1]


def write_rows(rows: Mapping[str, Row]) -> None:
    before, _, after = _parts()
    PAGE.write_text(f"{before}{BEGIN}\n{written(rows)}\n{END}{after}", encoding="utf-8")


def _parts() -> tuple[str, str, str]:
    """The page before its rows, the rows, and what comes behind them."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    rows, after = rest.split(END)
    return before, rows.strip("\n") + "\n", after


def missing(rows: Collection[str]) -> list[str]:
    """Faults of which no test has told."""
    return sorted(known_faults() - set(rows))
