"""The training step that all methods share: device, parallel wrapping, backward, optimiser steps, guard and state."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from util.errors import UserError
from util.parallel import unwrap
from util.updates import Progress, Update

Batch = dict[str, dict[str, Tensor]]

DIVERGED_ADVICE = "saved checkpoints are as they were; go on from one with a lower --lr"


class Method(Protocol):
    """What the engine needs of a method (``models.base_model.BaseModel`` has it)."""

    def networks(self) -> dict[str, nn.Module]: ...
    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]: ...
    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]: ...
    def visuals(self, batch: Batch) -> dict[str, Any]: ...


class TrainingDiverged(UserError):
    """A loss or a weight became nan or infinite."""


class Engine:
    """Drives a method: ``step(batch, progress)`` runs its ``training_step``, one optimiser step at each ``yield``.

    Args:
        method: the method; its networks are moved to the device and, with several GPUs, wrapped in ``DataParallel``.
        gpu_ids: empty for the CPU.
    """

    def __init__(self, method: nn.Module, gpu_ids: list[int]) -> None:
        self.device = torch.device("cuda", gpu_ids[0]) if gpu_ids else torch.device("cpu")
        self.method = method.to(self.device)
        self.optimizers = method.build_optimizers()
        self._base_rates = {
            name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in self.optimizers.items()
        }
        self._healthy = torch.ones((), dtype=torch.bool, device=self.device)
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        if len(gpu_ids) > 1:
            for name, network in method.networks().items():
                setattr(method, name, nn.DataParallel(network, gpu_ids))

    def step(self, batch: Batch, progress: Progress) -> None:
        """One iteration: as many updates as the method makes. Losses stay on the device until ``losses`` reads them.

        Raises:
            UserError: the GPU's memory is full.
        """
        self.method.train()
        try:
            for update in self.method.training_step(self.to_device(batch), progress):
                self._apply(update)
        except torch.OutOfMemoryError as error:
            raise UserError(f"{str(error).split('. ')[0]}; use a smaller batch, size or --ngf") from error

    def visuals(self, batch: Batch) -> dict[str, Any]:
        """The method's pictures of a batch, in evaluation mode: looking changes no running statistics."""
        self.method.eval()
        return self.method.visuals(self.to_device(batch))

    def _apply(self, update: Update) -> None:
        """Backward and step. Only this optimiser's weights get gradients: nothing is computed for the others."""
        optimizer = self.optimizers[update.optimizer]
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        loss = torch.stack([term.float() for term in update.terms.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=weights)
        self._healthy &= loss.detach().isfinite()
        for name, term in (update.terms | update.facts).items():
            self._sums[name] = self._sums.get(name, 0.0) + term.detach().float()
            self._counts[name] += 1
        optimizer.step()

    def losses(self) -> dict[str, float]:
        """Terms and facts, each averaged over its updates since the last call; waits for the device.

        Raises:
            TrainingDiverged: see ``check``.
        """
        self.check()
        values = self._means()
        self._sums, self._counts = dict.fromkeys(self._sums, 0.0), Counter()  # the keys keep the order of the log
        return values

    def check(self) -> None:
        """Waits for the device.

        Raises:
            TrainingDiverged: a loss was nan or infinite, or a weight is.
        """
        if not self._healthy:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in self._means().items())
            raise TrainingDiverged(f"a loss is not finite any more ({shown}); {DIVERGED_ADVICE}")
        for name, network in self.method.networks().items():
            if not all(weight.isfinite().all() for weight in network.parameters()):
                raise TrainingDiverged(f"weights of {name} are not finite any more; {DIVERGED_ADVICE}")

    def _means(self) -> dict[str, float]:
        return {name: float(total) / self._counts[name] for name, total in self._sums.items() if self._counts[name]}

    def to_device(self, batch: Batch) -> Batch:
        return {
            stream: {name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()}
            for stream, tensors in batch.items()
        }

    def set_rate(self, factor: float) -> None:
        """Learning rates = the base rates times ``factor``."""
        for name, optimizer in self.optimizers.items():
            for group, base in zip(optimizer.param_groups, self._base_rates[name], strict=True):
                group["lr"] = base * factor

    def rates(self) -> dict[str, float]:
        """The learning rate of each optimiser."""
        return {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers and random states, of plain values and tensors only."""
        return {
            "networks": network_states(self.method),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "random": random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The opposite of ``state_dict``."""
        for name, network in self.method.networks().items():
            unwrap(network).load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        set_random_state(state["random"])


def rate_factor(epoch: int, niter: int, niter_decay: int) -> float:
    """Share of the base learning rate in ``epoch`` (from 1): 1 for ``niter`` epochs, then linearly towards 0.

    The first epoch of the decay still has the full rate, the one after the last would have 0.
    """
    return 1.0 - max(0, epoch - 1 - niter) / niter_decay if niter_decay else 1.0


def network_states(method: Method) -> dict[str, dict[str, Tensor]]:
    """Weights of each network by name, on the CPU and without the prefix of a wrapper."""
    return {
        name: {key: value.detach().cpu() for key, value in unwrap(network).state_dict().items()}
        for name, network in method.networks().items()
    }


def seed_everything(seed: int) -> None:
    """Seed every generator that a run draws from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries draw from it
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """State of every generator."""
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """The opposite of ``random_state``; states of GPUs that are not there are left out."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    for device, cuda_state in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
        torch.cuda.set_rng_state(cuda_state, device)
