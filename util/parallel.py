"""Networks spread over several GPUs, and over several processes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# The name that PyTorch gives to "send buffers to the other processes at every call" changed.
BUFFERS_OPTION = {"forward_sync_buffers", "broadcast_buffers"} & signature(DistributedDataParallel).parameters.keys()
NO_BUFFERS = {max(BUFFERS_OPTION): False}


class DataParallel(nn.DataParallel):
    """PyTorch's, with every replica in the precision of the caller.

    Replicas run in threads of their own, and a thread begins with autocast's default type. PyTorch hands on whether
    autocast is on, but not the type, so that bf16 would become fp16, whose small gradients vanish without a loss scale.
    """

    def parallel_apply(self, replicas: Sequence[nn.Module], inputs: Sequence[Any], kwargs: Any) -> list[Any]:
        return super().parallel_apply([in_this_precision(replica, "cuda") for replica in replicas], inputs, kwargs)


WRAPPERS = (nn.DataParallel, DistributedDataParallel)


def in_this_precision(function: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    """The function, in autocast's state of here and now whichever thread calls it."""
    enabled, dtype = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device_type, dtype=dtype, enabled=enabled):
            return function(*args, **kwargs)

    return call


def wrap(network: nn.Module, gpu_ids: list[int], num_processes: int) -> nn.Module:
    """The network as training calls it: in each of several processes, on each of several GPUs, or as it is.

    Buffers are not broadcast: there are none but running statistics, which each process keeps for itself, as each GPU
    of ``DataParallel`` does. A network that learns nothing needs no wrapper.
    """
    if num_processes > 1 and any(weight.requires_grad for weight in network.parameters()):
        device_ids = gpu_ids[:1] or None
        return DistributedDataParallel(network, device_ids=device_ids, gradient_as_bucket_view=True, **NO_BUFFERS)
    if num_processes == 1 and len(gpu_ids) > 1:
        return DataParallel(network, gpu_ids)
    return network


def unwrap(network: nn.Module) -> nn.Module:
    """The network inside a parallel wrapper, or the network itself."""
    return network.module if isinstance(network, WRAPPERS) else network


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """The network as a fixed function: its input gets gradients, its weights get none and nothing is kept for them.

    ``DistributedDataParallel`` waits for gradients after each call, so there it is the network inside.
    """
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield unwrap(network) if isinstance(network, DistributedDataParallel) else network
    finally:
        for weight in learning:
            weight.requires_grad_(True)


@contextmanager
def gradients_stay(networks: Iterable[nn.Module], stay: bool) -> Iterator[None]:
    """With ``stay``, gradients of this forward and backward pass are not yet exchanged between processes."""
    with ExitStack() as stack:
        for network in networks:
            if stay and isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        yield


def split_batch(batch: dict[str, dict[str, torch.Tensor]], parts: int) -> list[dict[str, dict[str, torch.Tensor]]]:
    """A batch as ``parts`` smaller ones of equal size."""
    pieces = {
        stream: {name: tensor.chunk(parts) for name, tensor in tensors.items()} for stream, tensors in batch.items()
    }
    return [
        {stream: {name: chunks[part] for name, chunks in tensors.items()} for stream, tensors in pieces.items()}
        for part in range(parts)
    ]
