"""Processes end with the one that started them."""

import multiprocessing
import os
import time
from pathlib import Path

from util.child_process import end_with_parent


def child_of_a_killed(file):
    end_with_parent()
    file.write_text(str(os.getpid()))
    time.sleep(60)


def parent_that_is_killed(file):
    multiprocessing.get_context("spawn").Process(target=child_of_a_killed, args=(file,)).start()
    time.sleep(60)


def test_processes_end_with_a_killed_parent(tmp_path):
    file = tmp_path / "pid"
    parent = multiprocessing.get_context("spawn").Process(target=parent_that_is_killed, args=(file,))
    parent.start()
    deadline = time.monotonic() + 60
    while not (file.is_file() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.join()
    while is_running(int(file.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False
