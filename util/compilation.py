"""``torch.compile`` for networks, with a way back when it fails."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException


def compile_networks(networks: dict[str, nn.Module], device: torch.device) -> None:
    """Let each network's ``forward`` run compiled; names of weights stay as they are.

    Where compiling does not work at all (no C++ compiler or no Triton, say) or fails for a network, one line says why
    and the network runs as it is.
    """
    reason = why_not(device)
    if reason:
        sys.stderr.write(f"--compile: going on without it, since torch.compile does not work here: {reason}\n")
        return
    for name, network in networks.items():
        network.forward = CompiledForward(network.forward, name)


def why_not(device: torch.device) -> str:
    """Why ``torch.compile`` cannot be used on a device, or "" when it can: a tiny function is compiled and run."""
    try:
        torch.compile(lambda x: torch.relu(x) + 1)(torch.ones(8, device=device, requires_grad=True)).sum().backward()
    except (TorchDynamoException, RuntimeError, OSError, ImportError) as error:
        return _reason(error)
    return ""


class CompiledForward:
    """A compiled function that is replaced by the plain one at its first failure."""

    def __init__(self, plain: Callable[..., Any], name: str) -> None:
        self.plain, self.name = plain, name
        self.run = torch.compile(plain)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.run(*args, **kwargs)
        except TorchDynamoException as error:
            sys.stderr.write(f"--compile: {self.name} goes on without it: {_reason(error)}\n")
            self.run = self.plain
            return self.plain(*args, **kwargs)


def _reason(error: Exception) -> str:
    """In one line; the first one of PyTorch's messages may be ``backend='inductor' raised:`` alone."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
