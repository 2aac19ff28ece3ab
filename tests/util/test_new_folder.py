"""Folders that are there whole or not at all."""

from pathlib import Path

import pytest

from util.errors import UserError
from util.new_folder import MadeMeanwhile, new_folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("empty_before", [False, True])
def test_it_takes_its_place_at_the_end_for_all_to_read(tmp_path, empty_before):
    out = tmp_path / "parent" / "out"
    if empty_before:
        out.mkdir(parents=True)
    with new_folder(out) as folder:
        (folder / "a.txt").touch()
        assert not (out / "a.txt").exists()
    assert names(tmp_path) == ["parent", "parent/out", "parent/out/a.txt"]
    assert out.stat().st_mode & 0o777 == 0o755


def test_a_broken_block_leaves_nothing(tmp_path):
    def stopped_half_way() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half.txt").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_half_way()
    assert names(tmp_path) == []


def test_a_file_and_a_folder_with_content_are_refused_and_stay(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "theirs").touch()
    for name, what in (("file", "is a file"), ("full", "not empty")):
        with pytest.raises(UserError, match=what), new_folder(tmp_path / name):
            pytest.fail("the block must not begin")
    assert names(tmp_path) == ["file", "full", "full/theirs"]


def test_what_another_process_made_meanwhile_stays(tmp_path):
    out = tmp_path / "out"

    def make_it_at_once_with_another() -> None:
        with new_folder(out) as folder:
            (folder / "ours").touch()
            out.mkdir()
            (out / "theirs").touch()

    with pytest.raises(MadeMeanwhile, match="made by another process meanwhile"):
        make_it_at_once_with_another()
    assert names(tmp_path) == ["out", "out/theirs"]
