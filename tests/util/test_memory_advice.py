"""Out of memory: flags that would help here, with sizes, and none that would not."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from util.memory_advice import MemoryFacts, is_out_of_memory, memory_facts, out_of_memory_advice
from util.memory_use import total_bytes
from util.precision import Precision

ROOT = Path(__file__).parents[2]
GIB = 2**30
OPTIONS = {
    "batch_size": 8,
    "video_batch_size": 4,
    "streams": ["synthetic"],
    "accumulate": 1,
    "precision": "auto",
    "checkpoint_activations": False,
    "resize_or_crop": "resize",
    "load_size": 512,
    "fine_size": 256,
}
FACTS = MemoryFacts("GPU 0", int(79.1 * GIB), int(2.8 * GIB), 70 * GIB, precision="tf32")


def advice(facts=FACTS, **options):
    return out_of_memory_advice(OPTIONS | options, facts)


def flags(text):
    return [word for word in text.split() if word.startswith("--")]


def test_all_that_would_help_is_listed_with_what_it_leaves():
    expected = (
        "out of memory on GPU 0 (79.1 GiB): weights, gradients and Adam take 2.8 GiB, the rest (about 70 GiB) grows "
        "with batch and picture size: --accumulate 2 (about 35 GiB), --precision bf16 (about 46 GiB), "
        "--checkpoint_activations (about 42 GiB), --batch_size 4 (about 35 GiB), --load_size 384 (about 39 GiB)"
    )
    assert advice() == expected


def test_flags_that_are_in_use_already_are_not_proposed():
    text = advice(replace(FACTS, precision="bf16"), checkpoint_activations=True, accumulate=8, batch_size=8)
    assert flags(text) == ["--load_size"]  # a smaller batch would not be worked on in smaller parts
    text = advice(replace(FACTS, precision="fp16"), checkpoint_activations=True, batch_size=1, load_size=32)
    assert flags(text) == []
    assert text.endswith("is as small as flags make it: a smaller network is needed, or more memory")


def test_flags_that_do_not_exist_are_not_proposed():
    few = {name: OPTIONS[name] for name in ("batch_size", "resize_or_crop", "load_size", "fine_size")}
    assert flags(out_of_memory_advice(few, FACTS)) == ["--batch_size", "--load_size"]
    assert flags(out_of_memory_advice({}, FACTS)) == []


def test_networks_that_cannot_recompute_are_not_asked_to():
    assert "--checkpoint_activations" not in advice(replace(FACTS, can_recompute=False))


def test_gpus_without_bf16_are_offered_fp16():
    assert "--precision fp16 (" in advice(replace(FACTS, low_precision="fp16"))


@pytest.mark.parametrize(
    ("batch", "parts", "proposed"),
    [(8, 1, "2 (about 35"), (8, 2, "4 (about 35"), (6, 2, "3 (about 47"), (7, 1, "7 (about 10"), (1, 1, None)],
)
def test_a_batch_is_split_into_the_next_number_of_equal_parts(batch, parts, proposed):
    text = advice(batch_size=batch, accumulate=parts)
    assert f"--accumulate {proposed}" in text if proposed else "--accumulate" not in text


@pytest.mark.parametrize(
    ("batch", "processes", "parts", "expected"),
    [
        (8, 2, 1, ["--accumulate 2 (about 35", "--batch_size 4 (about 35"]),
        (8, 2, 2, ["--accumulate 4 (about 35", "--batch_size 4 (about 35"]),
        (12, 2, 2, ["--accumulate 3 (about 47", "--batch_size 4 (about 23"]),
        (8, 4, 2, []),
        (6, 1, 2, ["--accumulate 3 (about 47", "--batch_size 2 (about 23"]),
    ],
)
def test_batches_can_still_be_shared_equally(batch, processes, parts, expected):
    text = advice(replace(FACTS, num_processes=processes), batch_size=batch, accumulate=parts)
    found = [way for way in text.split(": ")[2].split(", ") if way.startswith(("--accumulate", "--batch_size"))]
    assert [way.split(" GiB")[0] for way in found] == expected


def test_with_video_both_batches_count():
    text = advice(streams=["synthetic", "video"])
    assert "--batch_size 4 --video_batch_size 2 (about 35 GiB)" in text
    assert "--accumulate" not in advice(streams=["synthetic", "video"], video_batch_size=3, batch_size=8)
    assert "--batch_size 4 (about" in advice(streams=["synthetic", "video"], video_batch_size=1)


@pytest.mark.parametrize(
    ("mode", "proposed"),
    [
        ("resize", "--load_size 384 (about 39"),
        ("scale_width", "--load_size 384 (about 39"),
        ("resize_and_crop", "--fine_size 192 (about 39"),
        ("scale_width_and_crop", "--fine_size 192 (about 39"),
        ("crop", "--fine_size 192 (about 39"),
        ("none", None),
    ],
)
def test_the_size_proposed_is_the_one_that_pictures_end_up_with(mode, proposed):
    text = advice(resize_or_crop=mode)
    assert proposed in text if proposed else "_size" not in text.replace("--batch_size", "")


def test_weights_that_leave_no_room_are_said_to():
    text = advice(replace(FACTS, fixed_bytes=75 * GIB, rest_bytes=4 * GIB))
    assert flags(text) == []
    assert "take 75 GiB, which leaves no room for any batch" in text


def test_other_programs_are_named_when_they_hold_much():
    assert "other programs" not in advice(replace(FACTS, others_bytes=GIB))
    text = advice(replace(FACTS, others_bytes=40 * GIB))
    assert text.endswith("; other programs hold 40 GiB of it (nvidia-smi lists them)")


def test_without_sizes_the_flags_are_listed_all_the_same():
    text = advice(replace(FACTS, place="the CPU", total_bytes=None, rest_bytes=None))
    assert text.startswith("out of memory on the CPU: weights, gradients and Adam take 2.8 GiB, the rest grows with")
    assert "about" not in text
    assert len(flags(text)) == 5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_facts_tell_what_weights_take_and_what_is_left_of_the_peak(precision, monkeypatch):
    monkeypatch.setattr("util.memory_advice.peak_bytes", lambda device: 10**9)
    network, fixed = nn.Linear(1024, 1024, bias=False), nn.Linear(1024, 512, bias=False)
    fixed.requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    cpu = Precision(precision, torch.device("cpu"))
    learned, held = 2**22, 2**21  # bytes of the two networks' weights
    before = memory_facts(cpu, [network, fixed], [optimizer])
    assert (before.place, before.total_bytes) == ("the CPU", total_bytes(torch.device("cpu")))
    assert (before.precision, before.low_precision, before.can_recompute) == (precision, "bf16", False)
    assert before.rest_bytes == 10**9 - learned - held  # there are no gradients yet, and no moments

    network(torch.ones(1, 1024)).sum().backward()
    optimizer.step()
    after = memory_facts(cpu, [network, fixed], [optimizer])
    assert before.fixed_bytes == after.fixed_bytes == 4 * learned + held
    assert after.rest_bytes == pytest.approx(
        10**9 - 4 * learned - held, abs=8
    )  # Adam's count of steps is a tensor, too


def test_a_peak_that_is_not_known_is_none_in_the_facts(monkeypatch):
    monkeypatch.setattr("util.memory_advice.peak_bytes", lambda device: None)
    assert memory_facts(Precision("fp32", torch.device("cpu")), [nn.Linear(2, 2)], []).rest_bytes is None


def test_networks_that_can_recompute_are_found_in_their_wrappers():
    network = nn.Linear(2, 2)
    network.recompute = False
    cpu = Precision("fp32", torch.device("cpu"))
    assert memory_facts(cpu, [nn.DataParallel(network)], []).can_recompute


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: not enough memory: you tried"),
    ],
)
def test_full_memory_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("can't allocate memory"), KeyError("a")])
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux has them")
def test_what_pytorch_and_numpy_raise_on_the_cpu_is_recognised():
    program = """
        import resource
        import numpy as np
        import torch
        from util.memory_advice import is_out_of_memory

        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
        for allocate in (lambda: torch.empty(2**35), lambda: np.empty(2**35), lambda: bytearray(2**35)):
            try:
                allocate()
            except Exception as error:
                print(type(error).__name__, is_out_of_memory(error))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in out.splitlines()] == ["True"] * 3
