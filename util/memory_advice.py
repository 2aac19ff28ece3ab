"""What helps when the memory is full: the flags that would still change something here, with sizes."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from util.human_units import human_size
from util.memory_use import bytes_of_others, device_title, peak_bytes, total_bytes
from util.parallel import unwrap
from util.precision import Precision, choose_precision

COPIES_OF_A_WEIGHT = 4  # itself, its gradient, Adam's two moments
SIZE_STEP = 32  # sizes that are proposed are multiples of it [px]
NO_ROOM = 0.9  # share of the device beyond which what is independent of the batch leaves none
MANY_OTHERS = 0.05  # share of the device from which what other programs hold is worth a word; CUDA itself takes some

# What is left of the peak that grows with the batch: measured by PyTorch's profiler on steps of colon2depth on the CPU
# (256 px, ngf 16), synthetic pairs alone and with video.
HALF_PRECISION_LEAVES = 0.65  # 0.63 and 0.67; the last layer stays in float32
RECOMPUTING_LEAVES = 0.6  # 0.59 and 0.57: the discriminator keeps its activations

# The option that says how large the pictures of a batch are, for each way of resizing them.
SIZE_OPTIONS = {
    "resize": "load_size",
    "scale_width": "load_size",
    "resize_and_crop": "fine_size",
    "scale_width_and_crop": "fine_size",
    "crop": "fine_size",
}
OUT_OF_MEMORY_TEXTS = (  # of RuntimeErrors that have no type of their own
    "can't allocate memory",  # PyTorch on the CPU
    "not enough memory",  # the same on Windows
    "could not create a primitive",  # oneDNN on the CPU, which does not say why
    "CUDA error: out of memory",
    "_STATUS_ALLOC_FAILED",  # cuDNN and cuBLAS
)


@dataclass(frozen=True)
class MemoryFacts:
    """What is known of a device whose memory became full.

    Args:
        place: ``"GPU 0"`` or ``"the CPU"``.
        total_bytes: memory of the device; None where it is not known.
        fixed_bytes: weights, gradients and Adam's moments, which no batch size changes.
        rest_bytes: what was in use beside them, at most; None where it is not known.
        others_bytes: what other programs hold of it.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``, in which it ran.
        low_precision: the one that saves memory on this device: ``"bf16"``, or ``"fp16"`` where that is too new.
        can_recompute: whether some network can recompute activations instead of keeping them.
        num_processes: that share each batch.
    """

    place: str
    total_bytes: int | None
    fixed_bytes: int
    rest_bytes: int | None
    others_bytes: int = 0
    precision: str = "fp32"
    low_precision: str = "bf16"
    can_recompute: bool = True
    num_processes: int = 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory is full, of a GPU or of the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY_TEXTS)


def memory_facts(
    precision: Precision,
    networks: Collection[nn.Module],
    optimizers: Iterable[torch.optim.Optimizer],
    num_processes: int = 1,
) -> MemoryFacts:
    """Facts of a device whose memory has just become full.

    Args:
        precision: of the run, which knows its device.
        networks: all that are trained, wrapped or not.
        optimizers: theirs.
        num_processes: that share each batch.
    """
    device = precision.device
    weights = [weight for network in networks for weight in network.parameters()]
    moments = [x for optimizer in optimizers for state in optimizer.state.values() for x in state.values()]
    held = [*weights, *(weight.grad for weight in weights), *moments]
    peak = peak_bytes(device)
    return MemoryFacts(
        place=device_title(device) if device.type == "cuda" else "the CPU",
        total_bytes=total_bytes(device),
        fixed_bytes=sum(weight.nbytes * (COPIES_OF_A_WEIGHT if weight.requires_grad else 1) for weight in weights),
        rest_bytes=None if peak is None else max(0, peak - sum(x.nbytes for x in held if isinstance(x, Tensor))),
        others_bytes=bytes_of_others(device),
        precision=precision.name,
        low_precision="fp16" if choose_precision("auto", device).name == "tf32" else "bf16",
        can_recompute=any(hasattr(unwrap(network), "recompute") for network in networks),
        num_processes=num_processes,
    )


def out_of_memory_advice(options: Mapping[str, Any], facts: MemoryFacts) -> str:
    """One line: what the memory went to, and flags that lower it, each with about what it leaves.

    Args:
        options: resolved options of the run. A flag whose option is missing here does not exist and is not proposed.
        facts: of the device.
    """
    total = "" if facts.total_bytes is None else f" ({human_size(facts.total_bytes)})"
    rest = "" if facts.rest_bytes is None else f" (about {human_size(facts.rest_bytes, digits=2)})"
    fixed = f"weights, gradients and Adam take {human_size(facts.fixed_bytes, digits=2)}"
    head = f"out of memory on {facts.place}{total}: {fixed}"
    ways = [flag + _leaves(share, facts) for flag, share in _ways(options, facts)]
    if facts.total_bytes is not None and facts.fixed_bytes > NO_ROOM * facts.total_bytes:
        advice = ", which leaves no room for any batch: a smaller network is needed, or more memory"
    elif ways:
        advice = f", the rest{rest} grows with batch and picture size: {', '.join(ways)}"
    else:
        advice = f", the rest{rest} is as small as flags make it: a smaller network is needed, or more memory"
    return head + advice + _others(facts)


def _ways(options: Mapping[str, Any], facts: MemoryFacts) -> Iterator[tuple[str, float]]:
    """Flags that still change something, the least harmful first, and the share of the rest that each leaves."""
    batches, parts = _batch_sizes(options), options.get("accumulate", 1)
    mine = math.gcd(*batches.values()) // facts.num_processes
    if "accumulate" in options and (more := _more_parts(parts, mine)):
        yield f"--accumulate {more}", parts / more
    if "precision" in options and facts.precision in ("fp32", "tf32"):
        yield f"--precision {facts.low_precision}", HALF_PRECISION_LEAVES
    if options.get("checkpoint_activations") is False and facts.can_recompute:
        yield "--checkpoint_activations", RECOMPUTING_LEAVES
    yield from _smaller_batches(batches, facts.num_processes * parts)
    yield from _smaller_pictures(options)


def _batch_sizes(options: Mapping[str, Any]) -> dict[str, int]:
    """Those options that say how large a batch of the run's streams is."""
    names = ["batch_size", *(["video_batch_size"] if "video" in options.get("streams", ())[1:] else [])]
    return {name: options[name] for name in names if name in options}


def _more_parts(parts: int, batch: int) -> int | None:
    """The next larger number of equal parts that a batch can be split into; None when it is in single samples."""
    return next((more for more in range(parts + 1, batch + 1) if batch % more == 0), None)


def _smaller_batches(batches: Mapping[str, int], shares: int) -> Iterator[tuple[str, float]]:
    """About half of what is worked on at a time; each batch remains a multiple of the ``shares`` it is split into."""
    smaller = {name: size // shares // 2 * shares for name, size in batches.items() if size // shares > 1}
    if smaller:
        flags = " ".join(f"--{name} {size}" for name, size in smaller.items())
        yield flags, max(size / batches[name] for name, size in smaller.items())


def _smaller_pictures(options: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    name = SIZE_OPTIONS.get(options.get("resize_or_crop", ""), "")
    size = options.get(name, 0)
    smaller = max(SIZE_STEP, size * 3 // 4 // SIZE_STEP * SIZE_STEP)
    if smaller < size:
        yield f"--{name} {smaller}", (smaller / size) ** 2


def _leaves(share: float, facts: MemoryFacts) -> str:
    return "" if facts.rest_bytes is None else f" (about {human_size(share * facts.rest_bytes, digits=2)})"


def _others(facts: MemoryFacts) -> str:
    if facts.total_bytes is None or facts.others_bytes < MANY_OTHERS * facts.total_bytes:
        return ""
    return f"; other programs hold {human_size(facts.others_bytes, digits=2)} of it (nvidia-smi lists them)"
