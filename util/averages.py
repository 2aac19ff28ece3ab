"""Running averages of weights, which often predict better than the last weights do."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from util.parallel import unwrap

State = dict[str, dict[str, Tensor]]


class WeightAverages:
    """Exponential moving average (EMA) of the networks that predict.

        a <- d a + (1 - d) w,    d = min(decay, (1 + n) / (10 + n))    after iteration n

    so that the first weights, which are random, are soon forgotten. Buffers (running statistics) are copied.

    Args:
        networks: by name, wrapped or not.
        decay: 0 keeps no averages.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.networks = {name: unwrap(network) for name, network in networks.items()} if decay else {}
        self.state: State = {}
        self.restart()

    def restart(self) -> None:
        """The averages are the weights as they are now."""
        self.state = {
            name: {key: value.detach().clone() for key, value in network.state_dict().items()}
            for name, network in self.networks.items()
        }

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Take the weights after ``iteration`` (from 1) in; stays on the device."""
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        for name, network in self.networks.items():
            learned = {key for key, _ in network.named_parameters()}
            current, averages = network.state_dict(), self.state[name]
            keys = [key for key in averages if key in learned]
            torch._foreach_lerp_([averages[key] for key in keys], [current[key] for key in keys], 1 - decay)
            for key in averages.keys() - learned:
                averages[key].copy_(current[key])

    def state_dict(self) -> State:
        """Averages by network, on the CPU; empty when none are kept."""
        return {name: {key: value.cpu() for key, value in state.items()} for name, state in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """The opposite of ``state_dict``."""
        for name, averages in self.state.items():
            for key, value in averages.items():
                value.copy_(state[name][key])
