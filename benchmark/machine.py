"""What the figures were measured on; nothing that names the machine, its user or a folder."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = r"\b(avx512_bf16|amx_bf16|bf16)\b"  # x86 and ARM


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Processor, GPU and versions, as plain values."""
    facts: dict[str, Any] = {
        "device": device.type,
        "cpu": cpu_name(),
        "cores": count_cores(),
        "threads": torch.get_num_threads(),
        "cpu_bf16": cpu_has_bf16(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_bytes": properties.total_memory,
            "compute_capability": [properties.major, properties.minor],
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return facts


def cpu_name() -> str:
    """The processor's model, or its architecture where the system does not tell."""
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def cpu_has_bf16() -> bool | None:
    """Whether the processor multiplies bfloat16 by itself; None where the system does not tell."""
    text = _cpuinfo()
    return bool(re.search(BF16_FLAGS, text)) if text else None


def count_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_precisions(device: torch.device) -> list[str]:
    """fp32, and what else the device is made for: TF32 and bfloat16 came with the same NVIDIA GPUs (Ampere)."""
    if device.type == "cpu":
        return ["fp32", "bf16"]
    return ["fp32", "tf32", "bf16"] if torch.cuda.get_device_capability(device) >= (8, 0) else ["fp32"]


def _cpuinfo() -> str:
    return CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
