"""Memory of a device and of this process."""

import sys

import pytest
import torch

from util import memory_use
from util.memory_use import bytes_of_others, device_title, peak_bytes, total_bytes

CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="read from Linux' /proc and cgroups")


@linux
def test_the_peak_grows_with_what_is_in_use():
    before = peak_bytes(CPU)
    with open("/proc/self/status") as status:  # noqa: PTH123 - no file of ours
        (resident,) = [int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")]
    assert before == pytest.approx(resident, rel=0.05)
    room = before - resident + 2**28
    x = torch.ones(room // 4 + 2**26)
    assert peak_bytes(CPU) >= before
    assert peak_bytes(CPU) > x.nbytes


@linux
def test_a_container_limits_the_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_use, "CGROUP_LIMITS", [])
    physical = total_bytes(CPU)
    with open("/proc/meminfo") as info:  # noqa: PTH123 - no file of ours
        assert physical == int(info.readline().split()[1]) * 1024
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory_use, "CGROUP_LIMITS", [str(limit), str(tmp_path / "missing")])
    for text, expected in (("max\n", physical), (f"{2**30}\n", 2**30), (f"{2**63}\n", physical)):
        limit.write_text(text)
        assert total_bytes(CPU) == expected


def test_on_the_cpu_there_are_no_others():
    assert bytes_of_others(CPU) == 0


@pytest.mark.parametrize(("device", "title"), [("cpu", "CPU"), ("cuda", "GPU 0"), ("cuda:3", "GPU 3")])
def test_devices_have_titles(device, title):
    assert device_title(torch.device(device)) == title


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_memory_is_counted():
    device = torch.device("cuda", 0)
    torch.cuda.reset_peak_memory_stats(device)
    x = torch.ones(2**26, device=device)
    assert peak_bytes(device) >= x.nbytes
    assert total_bytes(device) > peak_bytes(device)
    assert 0 <= bytes_of_others(device) < total_bytes(device)
