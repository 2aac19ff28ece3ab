"""What ``util.doctor`` tries on a device: convolutions against float64, and ``torch.compile``.

``python -m util.doctor_compute`` compiles a tiny function, for a GPU if there is one, and prints why if that fails.
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from util.precision import choose_precision

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCES = {"fp32": 1e-4, "bf16": 3e-2}  # of the largest value; bf16 rounds to 4e-3, and inputs are rounded as well
IMAGE, WEIGHT, GRADIENT = (2, 8, 24, 20), (16, 8, 3, 3), (2, 16, 24, 20)


def computes_in(device: str, precision: str) -> bool:
    """Whether the device has this precision; older GPUs only emulate bf16."""
    return precision != "bf16" or choose_precision("auto", torch.device(device)).name != "tf32"


def convolution_error(device: str, precision: str) -> float:
    """Largest difference from float64 on the CPU, of a convolution's output and gradients, by their largest value.

    Args:
        device: e.g. ``"cuda:0"``.
        precision: ``"fp32"`` (TF32 switched off) or ``"bf16"``.
    """
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(size, generator=generator, dtype=torch.float64) for size in (IMAGE, WEIGHT, GRADIENT)]
    exact = _forward_and_backward(*given)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = _forward_and_backward(*(x.to(device, TYPES[precision]) for x in given))
    errors = [(x.double().cpu() - y).abs().max() / y.abs().max() for x, y in zip(found, exact, strict=True)]
    return torch.stack(errors).max().item()


def compile_something() -> None:
    """Compile and run a tiny function; on the CPU with as little C++ as possible, which takes longest."""
    import torch._inductor.config as inductor

    inductor.cpp.simdlen = 1  # no trial compilations for vector instructions
    inductor.compile_threads = 1
    torch.compile(lambda x: torch.relu(x) + 1)(torch.ones(8, device="cuda" if torch.cuda.is_available() else "cpu"))


def _forward_and_backward(image: Tensor, weight: Tensor, gradient: Tensor) -> list[Tensor]:
    image.requires_grad_(), weight.requires_grad_()
    output = F.conv2d(image, weight, padding=1)
    return [output.detach(), *torch.autograd.grad(output, (image, weight), gradient)]


if __name__ == "__main__":
    try:
        compile_something()
    except Exception as error:
        sys.exit(" ".join(str(error).split("\n\n")[0].split()))
