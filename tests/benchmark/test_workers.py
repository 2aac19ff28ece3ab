"""Processes in which cases run: fresh, with an allocator of their own, and missed when they die."""

import os
import signal

import pytest

from benchmark.cases import Case, Load
from benchmark.runner import CaseRunner
from benchmark.workers import LocalWorker, ProcessWorker, WorkerPool, default_allocator
from util.errors import UserError

CASE = Case("ours, fp32", Load("train", 64, 1))
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "1", "GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}


def test_allocator_of_the_user_is_not_that_of_the_processes(monkeypatch):
    for name, value in ALLOCATOR.items():
        monkeypatch.setenv(name, value)
    with default_allocator():
        assert not ALLOCATOR.keys() & os.environ.keys()
    assert ALLOCATOR.items() <= os.environ.items()


def test_dead_process_is_an_error_that_says_how_and_what_to_do(setup, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")  # with which nothing would be kept
    worker = ProcessWorker(setup, keep_memory=True)
    assert worker.kept is (os.uname().sysname == "Linux")
    os.kill(worker.process.pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"died in train of 64 x 64 pixels, batch 1: ours, fp32 \(killed by.*--sizes"):
        worker.call("seconds", CASE, "without D")
    worker.close()


def test_process_answers_and_ends_when_it_is_closed(setup):
    worker = ProcessWorker(setup, keep_memory=False)
    assert worker.kept is False
    assert list(worker.call("parameters")) == ["net_G", "net_D"]
    with pytest.raises(RuntimeError, match="AttributeError"):
        worker.call("nothing_like_this")
    worker.close()
    assert not worker.process.is_alive()


def test_full_memory_is_told_with_the_case(setup, monkeypatch):
    def fail(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(CaseRunner, "seconds", fail)
    with pytest.raises(UserError, match="out of memory in train of 64 x 64 pixels, batch 1: ours, fp32; use smaller"):
        LocalWorker(setup).call("seconds", CASE, "with D")


def test_mistakes_of_the_user_stay_what_they_are(setup, monkeypatch):
    def refuse(*_):
        raise UserError("none of these networks can do that")

    monkeypatch.setattr(CaseRunner, "seconds", refuse)
    with pytest.raises(UserError, match="^none of these networks can do that$"):
        LocalWorker(setup).call("seconds", CASE, "with D")


class FakeWorker:
    def __init__(self, keep_memory, closed):
        self.kept, self.closed = keep_memory, closed

    def close(self):
        self.closed.append(self)


def test_pool_starts_workers_when_they_are_needed_and_closes_all():
    started, closed = [], []

    def start(keep_memory):
        started.append(FakeWorker(keep_memory, closed))
        return started[-1]

    kept, extra = Case("", CASE.load, keep_memory=True), Case("", CASE.load, keep_memory=True, extra="compile")
    with WorkerPool(start) as pool:
        assert started == []
        workers = [pool.of(case) for case in (CASE, kept, CASE, kept, extra)]
        assert [workers.index(worker) for worker in workers] == [0, 1, 0, 1, 4]
        assert [worker.kept for worker in started] == [False, True, True]
        pool.close("compile")
        assert closed == [workers[4]]
    assert closed == [workers[4], workers[0], workers[1]]
