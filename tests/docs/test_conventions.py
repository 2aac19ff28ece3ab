"""The page of conventions names tests and homes that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/conventions.md").read_text(encoding="utf-8")
SECTIONS = [paragraph for paragraph in PAGE.split("\n\n") if "**" in paragraph]


def test_every_convention_names_its_home_and_a_test():
    assert len(SECTIONS) > 10
    assert [text[:60] for text in SECTIONS if "*Home*" not in text or not re.search(r"`test_\w+`", text)] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_named_test_exists(name):
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert any(f"def {name}(" in source for source in sources)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:models|util)/[\w/]+(?:\.py)?)`", PAGE))))
def test_named_home_exists(path):
    assert (ROOT / path).exists()


def test_grid_sample_is_called_in_one_file_only():
    sources = [path for folder in ("data", "models", "util") for path in (ROOT / folder).rglob("*.py")]
    callers = [path for path in sources if "grid_sample(" in path.read_text(encoding="utf-8")]
    assert callers == [ROOT / "models/geometry/flow.py"]
