"""The folder of a result appears whole or not at all."""

import os
import signal
from pathlib import Path

import pytest
from filelock import FileLock

from data.run_sfm.result import result_folder
from util.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(out: Path, text: str, overwrite: bool = False, error: Exception | None = None) -> None:
    with result_folder(out, overwrite) as folder:
        (folder / "file").write_text(text)
        if error is not None:
            raise error


def test_a_result_appears_at_the_end_with_its_parents_and_nothing_else(tmp_path):
    out = tmp_path / "sets" / "clip"
    with result_folder(out, overwrite=False) as folder:
        (folder / "file").write_text("new")
        assert not out.exists()
    assert (out / "file").read_text() == "new"
    assert names(out.parent) == ["clip"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        fill(tmp_path / "clip", "half", error=RuntimeError())
    assert names(tmp_path) == []


def test_an_error_leaves_the_earlier_result_as_it_was(tmp_path):
    fill(tmp_path / "clip", "old")
    with pytest.raises(RuntimeError):
        fill(tmp_path / "clip", "half", overwrite=True, error=RuntimeError())
    assert names(tmp_path) == ["clip"]
    assert (tmp_path / "clip" / "file").read_text() == "old"


def test_a_result_is_replaced_only_on_demand(tmp_path):
    fill(tmp_path / "clip", "old")
    (tmp_path / "clip" / "more").write_text("of the old one")
    with pytest.raises(UserError, match=r"clip is not empty; --overwrite"):
        fill(tmp_path / "clip", "new")
    assert names(tmp_path / "clip") == ["file", "more"]
    fill(tmp_path / "clip", "new", overwrite=True)
    assert names(tmp_path / "clip") == ["file"]
    assert names(tmp_path) == ["clip"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "clip").mkdir()
    fill(tmp_path / "clip", "new")
    assert names(tmp_path / "clip") == ["file"]


def test_a_file_is_not_replaced(tmp_path):
    (tmp_path / "clip").write_text("a note")
    with pytest.raises(UserError, match="is a file"):
        fill(tmp_path / "clip", "new", overwrite=True)
    assert (tmp_path / "clip").read_text() == "a note"


def test_what_a_killed_run_leaves_is_no_result_and_the_next_run_removes_it(tmp_path):
    child = os.fork()
    if child == 0:
        with result_folder(tmp_path / "clip", overwrite=False) as folder:
            (folder / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not (tmp_path / "clip").exists()
    fill(tmp_path / "clip", "new")
    assert names(tmp_path) == ["clip"]
    assert names(tmp_path / "clip") == ["file"]


def test_a_run_that_was_killed_between_its_renames_gives_the_old_result_back(tmp_path):
    fill(tmp_path / "clip", "old")
    (tmp_path / "clip").rename(tmp_path / ".clip.old")
    with pytest.raises(UserError, match="not empty"):
        fill(tmp_path / "clip", "new")
    assert (tmp_path / "clip" / "file").read_text() == "old"


def test_two_at_once_are_refused(tmp_path):
    with FileLock(tmp_path / ".clip.lock"), pytest.raises(UserError, match="another process"):
        fill(tmp_path / "clip", "new")
