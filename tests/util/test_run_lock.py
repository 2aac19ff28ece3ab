"""One training at a time of a run, and a lock that no kill leaves closed."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Timer

import pytest

from util.checkpoint import find_checkpoint
from util.errors import UserError
from util.run_lock import RunLock

ROOT = Path(__file__).parents[2]

# Holds the lock, as a run with a loader process does, until it is killed; the loader lives a little longer.
HOLDER = """
import os, sys, time
from pathlib import Path
from util.run_lock import RunLock
with RunLock(Path(sys.argv[1])):
    loader = os.fork()
    if loader:
        print(loader, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    """Another process that trains ``tmp_path/demo``, and the id of its loader."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "demo")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    loader = int(process.stdout.readline())
    yield process, loader
    os.kill(loader, signal.SIGKILL)
    process.kill()
    process.communicate()


def test_second_run_of_the_name_is_told_who_trains_it(tmp_path, other_process):
    with pytest.raises(UserError) as error, RunLock(tmp_path / "demo"):
        pass
    assert f"run 'demo' in {tmp_path}/ is being trained by process {other_process[0].pid} on " in str(error.value)
    assert f"on {socket.gethostname()} since 2" in str(error.value)
    assert str(error.value).endswith("; wait for it, stop it, or choose another --name")


def test_other_runs_are_not_locked(tmp_path, other_process):
    with RunLock(tmp_path / "demo2"), RunLock(tmp_path / "dem"):
        assert sorted(path.name for path in tmp_path.glob("*.lock")) == [".dem.lock", ".demo.lock", ".demo2.lock"]


def test_kill_opens_the_lock_though_its_loader_lives_on(tmp_path, other_process):
    process, loader = other_process
    process.kill()
    process.wait()
    began = time.monotonic()
    with RunLock(tmp_path / "demo"):
        os.kill(loader, 0)  # it is there
        assert json.loads((tmp_path / ".demo.lock.json").read_text())["pid"] == os.getpid()
    assert time.monotonic() - began < 1


def test_lock_that_a_dead_process_left_to_its_loaders_is_waited_for(tmp_path):
    """As with versions of filelock whose lock is inherited by processes that are forked."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holder = {"pid": dead.pid, "host": socket.gethostname(), "since": "2024-01-01 00:00:00"}
    (tmp_path / ".demo.lock.json").write_text(json.dumps(holder))
    with (tmp_path / ".demo.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Timer(0.3, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        began = time.monotonic()
        with RunLock(tmp_path / "demo"):
            assert time.monotonic() - began >= 0.25


@pytest.mark.parametrize("holder", [None, "", "[]", '{"pid": 1}', '{"pid": 1, "host": "far away", "since": "now"}'])
def test_lock_of_a_process_that_is_not_known_to_be_dead_is_not_waited_for(tmp_path, holder):
    if holder is not None:
        (tmp_path / ".demo.lock.json").write_text(holder)
    with (tmp_path / ".demo.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        who = "process 1 on far away since now" if holder and "far" in holder else "another process"
        with pytest.raises(UserError, match=f"is being trained by {who}; "), RunLock(tmp_path / "demo"):
            pass
        assert time.monotonic() - began < 1


def test_nothing_is_left_of_a_lock_and_it_can_be_taken_again(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path / "demo"):
            assert sorted(path.name for path in tmp_path.iterdir()) == [".demo.lock", ".demo.lock.json"]
        assert list(tmp_path.iterdir()) == []


def test_lock_opens_when_the_run_fails(tmp_path):
    with pytest.raises(RuntimeError, match="spoiled"), RunLock(tmp_path / "demo"):
        raise RuntimeError("spoiled")
    with RunLock(tmp_path / "demo"):
        assert (tmp_path / ".demo.lock").exists()


def test_lock_stays_when_the_folder_of_the_run_is_removed(tmp_path):
    (tmp_path / "demo").mkdir()
    with RunLock(tmp_path / "demo"):
        (tmp_path / "demo").rmdir()
        with pytest.raises(UserError, match="is being trained by process"), RunLock(tmp_path / "demo"):
            pass


def test_folder_of_runs_is_made_and_goes_again_when_no_run_came(tmp_path):
    with RunLock(tmp_path / "runs" / "demo"):
        assert (tmp_path / "runs").is_dir()
    assert not (tmp_path / "runs").exists()
    with RunLock(tmp_path / "runs" / "demo"):
        (tmp_path / "runs" / "demo").mkdir()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["demo"]


def test_lock_files_are_no_runs(tmp_path):
    with RunLock(tmp_path / "demo"), pytest.raises(FileNotFoundError, match="runs there: none"):
        find_checkpoint(tmp_path, "other", "latest")


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(UserError, match=r"runs/ cannot be written \(.*\).*choose another --checkpoints_dir"):
        RunLock(tmp_path / "runs" / "demo").__enter__()


def test_folder_that_may_not_be_written_is_named():
    with tempfile.TemporaryDirectory() as folder:  # that of pytest can be entered by its owner only
        Path(folder).chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # nobody: root may write everywhere
        try:
            with pytest.raises(UserError, match=r"/ cannot be written \(Permission denied\), so no run"):
                RunLock(Path(folder) / "demo").__enter__()
        finally:
            os.seteuid(user)
        assert list(Path(folder).iterdir()) == []


def test_what_a_kill_left_of_the_holders_file_is_removed(tmp_path):
    (tmp_path / "..demo.lock.77.partial.json").touch()
    (tmp_path / "..other.lock.77.partial.json").touch()
    with RunLock(tmp_path / "demo"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["..other.lock.77.partial.json"]
