"""Progress in a log is whole lines, and few of them."""

import io
import sys

import pytest

from util.progress import progress_bar


def advance(count, total, **settings):
    with progress_bar(total, "rendering", "frames", **settings) as bar:
        for _ in range(count):
            bar.update(1)


def test_without_a_terminal_progress_is_whole_lines_and_few(capsys):
    advance(5000, 5000)
    text = capsys.readouterr().err
    assert "\r" not in text
    lines = text.splitlines()
    assert 2 <= len(lines) <= 3  # the beginning, the end, and perhaps one in between on a slow machine
    assert all(line.startswith("rendering: ") for line in lines)
    assert "5000/5000" in lines[-1]
    assert "frames/s" in lines[-1]
    assert text.isascii()


def test_units_that_were_done_before_count(capsys):
    advance(4, 10, initial=6)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert " 60%" in first
    assert "10/10" in last


@pytest.mark.parametrize("count", [0, 3])
def test_an_unknown_total_is_counted_without_a_share(capsys, count):
    advance(count, None)
    text = capsys.readouterr().err
    assert "%" not in text
    assert f"rendering: {count} frames" in text


def test_in_a_terminal_one_line_is_drawn_over(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    advance(3, 3)
    assert terminal.getvalue().startswith("\rrendering:")
    assert terminal.getvalue().count("\n") == 1


def test_a_bar_within_a_bar_moves_no_cursor(capsys):
    with progress_bar(2, "training", "iterations"):
        advance(3, 3)
    text = capsys.readouterr().err
    assert "\x1b" not in text
    assert "\n\n" not in text
