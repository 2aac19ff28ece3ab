"""Progress in a log is whole lines, and few of them."""

import io
import re
import sys
import time

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


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
def test_a_clock_that_is_set_does_not_disturb_the_bar(capsys, monkeypatch, jump_s):
    jumped, system_time = 0.0, time.time
    for name in ("time.time", "tqdm.std.time"):  # tqdm imports the function, not the module
        monkeypatch.setattr(name, lambda: system_time() + jumped)
    with progress_bar(100, "training", "iterations") as bar:
        bar.mininterval = 0.02
        for count in range(6):
            jumped = jump_s * (count >= 2)
            time.sleep(0.03)
            bar.update(1)
    lines = capsys.readouterr().err.splitlines()
    shown = [re.search(r" (\d+)/100 \[(.+)<", line).groups() for line in lines[:7]]
    assert shown == [(str(count), "00:00") for count in range(7)]
    assert "-" not in "".join(lines)


def test_a_slow_unit_after_fast_ones_is_shown_without_waiting_for_as_many(capsys):
    with progress_bar(10**9, "rendering", "frames") as bar:
        bar.mininterval = 0.02
        while not bar.update(1):  # it says whether it has drawn
            continue
        fast, _ = bar.n, capsys.readouterr()
        time.sleep(0.03)
        assert bar.update(1)
        assert fast > 100
        assert f" {fast + 1}/1000000000" in capsys.readouterr().err


def test_a_bar_within_a_bar_moves_no_cursor(capsys):
    with progress_bar(2, "training", "iterations"):
        advance(3, 3)
    text = capsys.readouterr().err
    assert "\x1b" not in text
    assert "\n\n" not in text
