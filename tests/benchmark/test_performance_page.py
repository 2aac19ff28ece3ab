"""docs/performance.md: its commands parse, and it has a place for every table."""

import re
import shlex
from pathlib import Path

import pytest

from benchmark.cases import CHANGES, LAYER_TITLES
from benchmark.options import WHAT, parse_options
from benchmark.page import require_places
from models.networks.layers import MIN_CHANNELS_PER_OUTPUT, MIN_SUBPIXEL_PIXELS
from models.networks.winograd import MIN_CHANNELS, MIN_TILES

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
    titles = {title for changes in CHANGES.values() for title, _ in changes} | set(LAYER_TITLES.values())
    assert [title for title in titles if f"| {title} |" not in TEXT] == []


def test_numbers_are_those_in_the_code():
    text = " ".join(TEXT.split())
    assert f"fewer than {MIN_SUBPIXEL_PIXELS} input pixels" in text
    assert f"fewer than {MIN_CHANNELS} channels or {MIN_TILES} tiles" in text
    assert f"needs {MIN_CHANNELS_PER_OUTPUT} channels an output" in text


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+/\w+\.py)`", TEXT))))
def test_named_file_exists(path):
    assert (PAGE.parents[1] / path).is_file()
