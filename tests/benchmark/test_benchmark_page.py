"""Tables in a page that people write."""

import pytest

from benchmark.page import fill_page, require_places
from util.errors import UserError

PAGE = """# Title

Text before.
<!-- table: cpu-train -->
<!-- end -->
Between: \\1, <!-- a remark --> and `<!-- table: cpu-train -->`.

<!-- table: gpu-train -->
| kept |
<!-- end -->
After.
"""
TABLE = "| a | b \\1 |\n|---|---|\n| 1 | 2 |"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_table_goes_between_its_marks_and_all_else_stays(page):
    fill_page(page, {"cpu-train": TABLE})
    mark = "<!-- table: cpu-train -->\n"
    assert page.read_text(encoding="utf-8") == PAGE.replace(mark, f"{mark}{TABLE}\n")


def test_filling_again_changes_nothing_and_another_table_takes_the_place(page):
    fill_page(page, {"cpu-train": TABLE})
    once = page.read_text(encoding="utf-8")
    fill_page(page, {"cpu-train": TABLE})
    assert page.read_text(encoding="utf-8") == once
    fill_page(page, {"cpu-train": "other"})
    assert page.read_text(encoding="utf-8") == once.replace(TABLE, "other")


def test_missing_place_is_named_with_the_line_to_write(page):
    require_places(page, ["cpu-train", "gpu-train"])
    with pytest.raises(UserError, match=r"no place for cpu-video; write a line '<!-- table: cpu-video -->'"):
        require_places(page, ["cpu-train", "cpu-video"])


def test_place_without_an_end_is_an_error(page):
    page.write_text(PAGE.replace("<!-- end -->\nBetween", "Between"), encoding="utf-8")
    with pytest.raises(UserError, match="has no '<!-- end -->'"):
        require_places(page, ["gpu-train"])


def test_missing_page_is_an_error_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        require_places(tmp_path / "none.md", ["cpu-train"])
