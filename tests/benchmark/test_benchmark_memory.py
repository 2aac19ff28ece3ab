"""Peak memory of a part of a process."""

import sys
from mmap import mmap

import pytest
import torch

import benchmark.memory
from benchmark.memory import forget_peak, peak_since

CPU = torch.device("cpu")
MEGABYTE = 2**20

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")


@linux
def test_peak_is_that_of_what_ran_since():
    if not forget_peak(CPU):
        pytest.skip("this system does not let a process forget its peak")
    before = peak_since(CPU)
    with mmap(-1, 200 * MEGABYTE) as block:  # from the system: what was freed before may lie ready in the process
        block.write(bytes(200 * MEGABYTE))
    with_array = peak_since(CPU)
    assert with_array - before > 150 * MEGABYTE
    forget_peak(CPU)
    assert peak_since(CPU) < with_array - 150 * MEGABYTE


def test_without_such_a_system_there_is_no_peak(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.memory, "CLEAR", tmp_path / "nowhere" / "clear_refs")
    monkeypatch.setattr(benchmark.memory, "STATUS", tmp_path / "status")
    assert forget_peak(CPU) is False
    assert peak_since(CPU) is None
