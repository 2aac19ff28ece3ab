"""``train.py`` in a process of its own, in which one fault happens: for kills and limits that bind a whole process."""

import io
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

import train as train_program
from data import flow_cache
from scripts.soak_process import fork
from tests.tiny_run import Outcome
from util.engine import Engine

KILLED = -signal.SIGKILL  # as Python says it; a shell says 137
NOBODY = 65534


class Children:
    """A process that has imported everything and computed nothing, and forks trainings."""

    def __enter__(self) -> "Children":
        self._jobs, theirs = multiprocessing.Pipe()
        self._server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, self._jobs))
        self._server.start()
        theirs.close()
        return self

    def __exit__(self, *error: object) -> None:
        self._jobs.close()
        self._server.join()

    def train(self, args: list[str], output: Path, provoke: Callable[..., None], *how: object) -> Outcome:
        """Train, and say how that ended.

        Args:
            args: of ``train.py``.
            output: file that gets what the process writes to stdout and stderr.
            provoke: prepares the fault, in that process; gets a MonkeyPatch that nobody undoes, and ``how``.
        """
        self._jobs.send((args, output, provoke, how))
        assert self._jobs.poll(90), "it hangs"
        return Outcome(self._jobs.recv(), "", output.read_text())


def _serve(jobs: Connection, others: Connection) -> None:
    others.close()
    torch.set_num_threads(1)
    with suppress(EOFError):
        while True:
            args, output, provoke, how = jobs.recv()
            pid = fork(args, output, partial(provoke, pytest.MonkeyPatch(), *how))
            jobs.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# What is done where; each may be used in a process of the tests, too


def before_step(patch: pytest.MonkeyPatch, iteration: int, act: Callable[..., None]) -> None:
    """Do something just before the step of an iteration and of all behind it; ``act`` gets batch and iteration."""
    original = Engine.step

    def step(engine, batch, progress):
        if progress.iteration >= iteration:
            act(batch, progress.iteration)
        original(engine, batch, progress)

    patch.setattr(Engine, "step", step)


def at_step(patch: pytest.MonkeyPatch, iteration: int, act: Callable[[], None]) -> None:
    """Do something once, just before the step of an iteration."""
    before_step(patch, iteration, lambda batch, now: act() if now == iteration else None)


# Kills


def between_iterations(patch, iteration, loaders=None):
    """The processes that load data, which are not killed, are listed in the file ``loaders``."""

    def list_and_die():
        if loaders:
            loaders.write_text(" ".join(str(child.pid) for child in multiprocessing.active_children()))
        die()

    at_step(patch, iteration, list_and_die)


def amid_writing(patch, name, time):
    """Half of a file is written: the ``time``-th one whose name begins with ``name``, after a dot."""
    count = 0

    def write(path, content):
        nonlocal count
        count += path.name.startswith(f".{name}")
        if count == time:
            original(path, content[: len(content) // 2])
            die()
        return original(path, content)

    def save(state, file):
        content = io.BytesIO()
        original_save(state, content)
        write(Path(file.name), content.getvalue())

    original, original_save = Path.write_bytes, torch.save
    patch.setattr(Path, "write_bytes", write)
    patch.setattr(Path, "write_text", lambda path, text, encoding: write(path, text.encode(encoding)))
    patch.setattr(torch, "save", save)


def before_renaming_to(patch, name, time):
    """A file is written and not yet there: the ``time``-th one of this name."""
    count = 0

    def replace(path, target):
        nonlocal count
        count += Path(target).name == name
        if count == time:
            die()
        return original(path, target)

    original = Path.replace
    patch.setattr(Path, "replace", replace)


def amid_clip(patch, pair):
    """The flow of so many pairs of a clip is computed, and the last one is not written."""
    count = 0

    def pair_masks(flow, view):
        nonlocal count
        count += 1
        if count == pair:
            die()
        return original(flow, view)

    original = flow_cache.pair_masks
    patch.setattr(flow_cache, "pair_masks", pair_masks)


def before_scores(patch, time):
    """Scores on the eval split are due, the ``time``-th of them."""
    count = 0

    def score_held_out(*args):
        nonlocal count
        count += 1
        if count == time:
            die()
        return original(*args)

    original = train_program.score_held_out
    patch.setattr(train_program, "score_held_out", score_held_out)


def is_alive(pid):
    """Whether a process still runs; one that has ended may keep its number until its parent asks for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Limits


def little_memory(patch, iteration, spare_bytes):
    """From an iteration on, the process may not take much more than it has."""

    def limit():
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare_bytes,) * 2)

    at_step(patch, iteration, limit)


def rights_of_nobody(patch, folder=None, iteration=None):
    """What must not be written cannot be written, which root is not kept from; from an iteration on, ``folder``."""
    if os.geteuid() == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)
    if folder:
        at_step(patch, iteration, lambda: folder.chmod(0o555))


def no_reader(patch):
    """Nobody reads what is written to the terminal."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 2)
