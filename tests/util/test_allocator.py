"""Freed memory stays in the process, so that a step does not fault it in again."""

import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt with these settings is glibc's")

FAULTS = """
    import resource, sys
    import torch
    from util.allocator import keep_freed_memory

    torch.set_num_threads(1)
    if "keep" in sys.argv:
        print(keep_freed_memory(), end=" ")

    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def step():
        return torch.ones(2**24) * 2  # two of 64 MiB

    for _ in range(10):  # until the heap has room for all of them, aligned
        step()
    before = faults()
    for _ in range(20):
        step()
    print(faults() - before)
"""
ANSWER = "from util.allocator import keep_freed_memory; print(keep_freed_memory())"


def run(program, *args, **variables):
    """What the program prints, word by word, in an environment that decides nothing about memory."""
    free = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", textwrap.dedent(program), *args]
    return subprocess.run(
        command, cwd=ROOT, env=free | variables, capture_output=True, text=True, check=True
    ).stdout.split()


@glibc
def test_repeated_allocations_fault_no_memory_in():
    (without,) = map(int, run(FAULTS))
    done, kept = run(FAULTS, "keep")
    assert done == "True"
    assert without > 100  # also with huge pages: 32 of them for each 64 MiB
    assert int(kept) * 10 <= without


@glibc
@pytest.mark.parametrize(
    "variable", [{"MALLOC_TRIM_THRESHOLD_": "1000000"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}]
)
def test_what_the_user_has_set_stays(variable):
    assert run(ANSWER) == ["True"]
    assert run(ANSWER, **variable) == ["False"]


@pytest.mark.parametrize("missing", ["sys.platform = 'darwin'", "sys.platform = 'win32'", "ctypes.CDLL = object"])
def test_systems_without_mallopt_are_left_alone(missing):
    program = f"import ctypes, sys; import util.allocator as a; {missing}; print(a.keep_freed_memory())"
    if "CDLL" in missing:
        program = program.replace("= object", "= lambda name: object()")
    assert run(program) == ["False"]
