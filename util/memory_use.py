"""How much memory a device has and how much of it this process has used."""

import os
import sys
from pathlib import Path

import torch

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of version 2 and 1


def device_title(device: torch.device) -> str:
    """``"GPU 0"`` or ``"CPU"``."""
    return f"GPU {device.index or 0}" if device.type == "cuda" else "CPU"


def peak_bytes(device: torch.device) -> int | None:
    """The most memory that this process has had in use: tensors on a GPU, everything on the CPU; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # here, since Windows has no such module

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # [bytes] on macOS, [KiB] elsewhere


def total_bytes(device: torch.device) -> int | None:
    """Memory that the device has; on the CPU at most what a container may use, None on Windows."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if not hasattr(os, "sysconf"):
        return None
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_container_limits()])


def bytes_of_others(device: torch.device) -> int:
    """GPU memory that neither this process' tensors nor their cache hold: other programs', and CUDA's own. CPU: 0."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return max(0, total - free - torch.cuda.memory_reserved(device))


def _container_limits() -> list[int]:
    """What Docker or a scheduler allows; "max" stands for no limit."""
    texts = [Path(path).read_text().strip() for path in CGROUP_LIMITS if Path(path).is_file()]
    return [int(text) for text in texts if text.isdecimal()]
