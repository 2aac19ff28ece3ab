"""A call in a process of its own: its result, its errors, and how it may die."""

import os
import sys

import pytest

from data.run_sfm.process import call_apart
from util.errors import UserError


def say_and(end: str) -> int:
    """In the other process: write to stderr as C++ does, then end."""
    os.write(2, b"the last words of COLMAP\n")
    sys.stderr.write("progress\n")
    if end == "user":
        raise UserError("frames are bad")
    if end == "fault":
        raise ZeroDivisionError("by zero")
    if end == "abort":
        os.abort()
    return os.getpid()


def test_a_result_comes_back_from_another_process_whose_stderr_is_kept_in_the_log(tmp_path, capfd):
    log = tmp_path / "log"
    assert call_apart(say_and, "well", log=log) != os.getpid()
    assert log.read_text() == "the last words of COLMAP\n"
    assert "progress" in capfd.readouterr().err


@pytest.mark.slow  # as each of these starts Python anew
def test_a_users_mistake_stays_one(tmp_path):
    with pytest.raises(UserError, match="^frames are bad$"):
        call_apart(say_and, "user", log=tmp_path / "log")


@pytest.mark.slow
def test_a_fault_is_told_with_the_end_of_the_log(tmp_path):
    with pytest.raises(
        RuntimeError, match="ZeroDivisionError: by zero\n  The end of its log:\n  the last words of COLMAP"
    ):
        call_apart(say_and, "fault", log=tmp_path / "log")


def test_a_process_that_dies_is_an_error_that_says_how(tmp_path):
    with pytest.raises(
        UserError, match=r"ended by SIGABRT; is there enough memory\?\n  The end of its log:\n  the last words"
    ):
        call_apart(say_and, "abort", log=tmp_path / "log")
