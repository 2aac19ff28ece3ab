"""docs/performance.md: its commands parse, and it has a place for every table."""

import re
import shlex
from pathlib import Path

import pytest

from benchmark.cases import CHANGES
from benchmark.options import WHAT, parse_options
from benchmark.page import require_places
from models.networks.layers import MIN_SUBPIXEL_PIXELS

PAGE = Path(__file__).parents[2] / "docs/performance.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m util\.benchmark.*", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command):
    opt = parse_options([*shlex.split(command)[3:], "--gpu_ids", "-1"])
    assert set(opt.what) <= set(WHAT)


def test_page_shows_commands_and_has_places_for_all_tables():
    assert len(COMMANDS) > 3
    require_places(PAGE, [f"{device}-{what}" for device in ("cpu", "gpu") for what in WHAT])


def test_every_change_of_the_ladders_is_explained():
    titles = {title for changes in CHANGES.values() for title, _ in changes}
    assert [title for title in titles if f"| {title} |" not in TEXT] == []


def test_number_of_pixels_is_the_one_in_the_code():
    assert f"fewer than {MIN_SUBPIXEL_PIXELS} input pixels" in TEXT


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+/\w+\.py)`", TEXT))))
def test_named_file_exists(path):
    assert (PAGE.parents[1] / path).is_file()
