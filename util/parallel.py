"""Networks spread over several GPUs."""

from torch import nn


def unwrap(network: nn.Module) -> nn.Module:
    """The network inside a parallel wrapper, or the network itself."""
    return network.module if isinstance(network, nn.DataParallel) else network
