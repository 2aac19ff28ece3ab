"""A way to run the benchmark without processes, and to read its errors."""

import pytest
from tiny_run import TINY_NETWORKS

import benchmark.measure
from benchmark.runner import Setup
from benchmark.workers import LocalWorker


@pytest.fixture
def setup() -> Setup:
    return Setup((*TINY_NETWORKS["colon2depth"], "--gpu_ids=-1"))


class HereWorker(LocalWorker):
    """In this process, but it says that it keeps memory when it was asked to."""

    def __init__(self, setup, keep_memory):
        super().__init__(setup)
        self.kept = keep_memory


@pytest.fixture
def here(monkeypatch):
    """Workers without processes."""
    monkeypatch.setattr(benchmark.measure, "start_worker", HereWorker)


@pytest.fixture
def error_of(capsys):
    """The one line on stderr with which a function that parses options ends."""

    def call(parse, args):
        with pytest.raises(SystemExit) as end:
            parse(args)
        lines = capsys.readouterr().err.splitlines()
        assert (end.value.code, len(lines)) == (2, 1), lines
        return lines[0]

    return call
