"""Numbers of training and testing: which type the convolutions compute in."""

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """How a device computes.

    ``fp32`` is exact; ``tf32`` (NVIDIA, since Ampere) multiplies with 10 bits of mantissa; ``bf16`` and ``fp16`` are
    mixed precision: convolutions and products in 16 bits, weights, statistics of norms, losses and warps in float32.
    With fp16 the losses are scaled, since its small numbers end at 6e-8.
    """

    name: str
    device: torch.device

    def autocast(self) -> AbstractContextManager:
        """Around a forward pass."""
        dtype = AUTOCAST_TYPES.get(self.name)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the losses of one optimiser; does nothing but with fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")

    def set_backends(self) -> None:
        """Tell cuDNN and cuBLAS, for the whole process: TF32 or not, and to look for the fastest convolutions."""
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.name == "tf32"


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision that ``--precision`` means on a device.

    ``auto`` is bf16 on a GPU that computes in it, tf32 on an older GPU (which leaves it aside where it has none), and
    fp32 on the CPU. ``tf32`` is fp32 on the CPU, and one line says so.
    """
    if name == "auto":
        return Precision("bf16" if _has_bf16(device) else "tf32" if device.type == "cuda" else "fp32", device)
    if name == "tf32" and device.type == "cpu":
        sys.stderr.write("--precision tf32 is of NVIDIA GPUs; the CPU computes in fp32\n")
        return Precision("fp32", device)
    return Precision(name, device)


def _has_bf16(device: torch.device) -> bool:
    # Volta and Turing emulate it, and are slower for it.
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
