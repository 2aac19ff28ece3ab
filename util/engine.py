"""The training step that all methods share: device, precision, parallel wrapping, updates, guard and state."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from util.averages import WeightAverages
from util.compilation import compile_networks
from util.distributed import ALONE, Processes
from util.errors import UserError
from util.loss_record import LossRecord, Place, TrainingDiverged, require_finite
from util.parallel import gradients_stay, split_batch, unwrap, wrap
from util.precision import Precision, choose_precision
from util.random_state import random_state, seed_everything, set_random_state
from util.updater import Updater
from util.updates import Progress, Update

Batch = dict[str, dict[str, Tensor]]


class Method(Protocol):
    """What the engine needs of a method (``models.base_model.BaseModel`` has it)."""

    def networks(self) -> dict[str, nn.Module]: ...
    def inference_networks(self) -> dict[str, nn.Module]: ...
    def begin_epoch(self, epoch: int) -> None: ...
    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]: ...
    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]: ...
    def visuals(self, batch: Batch) -> dict[str, Any]: ...


@dataclass(frozen=True)
class EngineSettings:
    """How the engine works; what is learned is the method's business.

    Args:
        gpu_ids: of this process; empty for the CPU, several for ``DataParallel``.
        precision: see ``util.precision``.
        accumulate: parts that a batch is worked on in, one after the other.
        ema: decay of the averages of the weights, 0 for none.
        clip_norm: largest norm of an optimiser's gradients, 0 for any.
        skip_nonfinite: iterations in a row in which updates that are not finite may be left out; 0 leaves out none.
        compile: ``torch.compile`` the networks.
        checkpoint_activations: recompute activations in the backward pass.
        channels_last: memory layout of networks and pictures.
        seed: random numbers where a checkpoint has none for this process.
    """

    gpu_ids: tuple[int, ...] = ()
    precision: str = "fp32"
    accumulate: int = 1
    ema: float = 0.0
    clip_norm: float = 0.0
    skip_nonfinite: int = 0
    compile: bool = False
    checkpoint_activations: bool = False
    channels_last: bool = False
    seed: int = 0

    @classmethod
    def from_options(cls, opt: Namespace, processes: Processes) -> "EngineSettings":
        named = {name: getattr(opt, name) for name in cls.__dataclass_fields__ if name != "gpu_ids"}
        return cls(gpu_ids=tuple(processes.gpu_ids(opt.gpu_ids)), **named)


class Engine:
    """Drives a method: ``step(batch, progress)`` runs its ``training_step``, one optimiser step at each ``yield``.

    Args:
        method: its networks are moved to the device and, with several GPUs or processes, wrapped.
        settings: see there.
        processes: those that train together.
    """

    def __init__(
        self, method: nn.Module, settings: EngineSettings = EngineSettings(), processes: Processes = ALONE
    ) -> None:
        self.settings, self.processes = settings, processes
        self.device = torch.device("cuda", settings.gpu_ids[0]) if settings.gpu_ids else torch.device("cpu")
        self.precision: Precision = choose_precision(settings.precision, self.device)
        self.precision.set_backends()
        self.method = method.to(self.device)
        self._prepare_networks()
        self.updaters = {
            name: Updater(optimizer, self.precision.scaler(), settings.clip_norm, settings.skip_nonfinite > 0)
            for name, optimizer in method.build_optimizers().items()
        }
        self.averages = WeightAverages(method.inference_networks(), settings.ema)
        self._record = LossRecord()
        self._left_out = 0  # updates since the losses were read
        self._spoiled = 0  # iterations in a row with such updates
        self._wrap()

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: updater.optimizer for name, updater in self.updaters.items()}

    def begin(self) -> None:
        """A new run begins with the weights as they are now; each of several processes draws its own random numbers."""
        self.averages.restart()
        if self.processes.size > 1:
            seed_everything(self.settings.seed + self.processes.rank)

    def begin_epoch(self, epoch: int) -> None:
        """The method's schedule of what is trained; wrappers have to know what that is."""
        before = self._learning()
        self.method.begin_epoch(epoch)
        if self._learning() != before:
            self._wrap()

    def step(self, batch: Batch, progress: Progress) -> None:
        """One iteration: as many updates as the method makes. Losses stay on the device until ``losses`` reads them.

        Raises:
            TrainingDiverged: in more iterations in a row than ``skip_nonfinite`` allows, an update was not finite.
        """
        self.method.train()
        parts = split_batch(self.to_device(batch), self.settings.accumulate)
        steps = [self.method.training_step(part, progress) for part in parts]
        before, buffers = self._left_out, self._copied_buffers()
        while self._next_update(steps, progress.iteration):
            pass
        self._spoiled = self._spoiled + 1 if self._left_out > before else 0
        if self._spoiled:  # running statistics of norms have seen what was left out, and may not be finite either
            for buffer, kept in buffers:
                buffer.copy_(kept)
        if self._spoiled > self.settings.skip_nonfinite:
            self._give_up(progress.iteration)
        self.averages.update(progress.iteration)

    def _next_update(self, steps: list[Iterator[Update]], iteration: int) -> bool:
        """Let the parts of a batch go on to their next update, in step, and make it; False when they are at the end."""
        for index, step in enumerate(steps):
            last = index == len(steps) - 1
            with gradients_stay(self.method.networks().values(), stay=not last):
                with self.precision.autocast():
                    update = next(step, None)
                if update is None:
                    return False
                updater = self.updaters[update.optimizer]
                loss = torch.stack([term.float() for term in update.terms.values()]).sum() / len(steps)
                updater.backward(loss, first=index == 0)
            self._record.add(update.terms | update.facts, iteration)
        self._left_out += not updater.step()
        return True

    def _copied_buffers(self) -> list[tuple[Tensor, Tensor]]:
        """Buffers of the networks with copies of them, where updates may be left out."""
        if not self.settings.skip_nonfinite:
            return []
        networks = self.method.networks().values()
        return [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]

    def _give_up(self, iteration: int) -> NoReturn:
        bad = tuple(self._first_bad())
        raise TrainingDiverged(
            f"updates of {self._spoiled} iterations in a row are not finite ({', '.join(bad) or 'their gradients'}), "
            f"the last one in iteration {iteration}",
            iteration,
            bad,
        )

    def visuals(self, batch: Batch) -> dict[str, Any]:
        """The method's pictures of a batch, in evaluation mode: looking changes no running statistics."""
        self.method.eval()
        with self.precision.autocast():
            return self.method.visuals(self.to_device(batch))

    def losses(self) -> dict[str, float]:
        """Terms and facts, each averaged over its updates since the last call and over the processes; waits for them.

        ``left_out`` counts the updates that were left out; it is there when ``skip_nonfinite`` allows that.

        Raises:
            TrainingDiverged: see ``check``.
        """
        self.check()
        values = _mean(self.processes.gather(self._record.means()))
        self._record.clear()
        if self.settings.skip_nonfinite:
            values["left_out"], self._left_out = float(self._left_out), 0
        scalers = {f"scale_{name}": updater.scaler for name, updater in self.updaters.items()}
        return values | {name: scaler.get_scale() for name, scaler in scalers.items() if scaler.is_enabled()}

    def check(self) -> None:
        """Waits for the device.

        Raises:
            TrainingDiverged: a loss was nan or infinite and its update was made, or a weight is.
        """
        if not self.settings.skip_nonfinite:
            require_finite(self._first_bad(), self._record.means())
        bad = [name for name, network in self.method.networks().items() if self.processes.any(not _all_finite(network))]
        if bad:
            raise TrainingDiverged(f"weights of {' and '.join(bad)} are not finite any more")

    def _first_bad(self) -> dict[str, Place]:
        """Losses that were not finite in any process, with the first such update."""
        found = self.processes.gather(self._record.first_bad())
        return {name: min(one[name] for one in found if name in one) for one in found for name in one}

    @torch.no_grad()
    def share_statistics(self) -> None:
        """The running statistics of norms become those of all processes: each has seen its share of the batches.

        Before they are used or saved; training does not read them. All processes must call it together.
        """
        if self.processes.size > 1:
            for network in self.method.networks().values():
                for buffer in network.buffers():
                    if buffer.is_floating_point():
                        self.processes.average_(buffer)

    def to_device(self, batch: Batch) -> Batch:
        """A batch on the device; on its way there when it comes from pinned memory."""
        return {
            stream: {name: self._place(tensor) for name, tensor in tensors.items()} for stream, tensors in batch.items()
        }

    def _place(self, tensor: Tensor) -> Tensor:
        layout = torch.channels_last if self.settings.channels_last and tensor.ndim == 4 else torch.preserve_format
        return tensor.to(self.device, non_blocking=True, memory_format=layout)

    def set_rate(self, factor: float) -> None:
        """Learning rates = the base rates times ``factor``."""
        for updater in self.updaters.values():
            updater.set_rate(factor)

    def rates(self) -> dict[str, float]:
        """The learning rate of each optimiser."""
        return {f"lr_{name}": updater.rate for name, updater in self.updaters.items()}

    def state_dict(self, *, tensors: bool = True) -> dict[str, Any]:
        """Networks, averages, optimisers, loss scales and the random states of all processes; plain values and tensors.

        All processes must call it together; those that have no use for it do without its ``tensors``.
        """
        random = self.processes.gather(random_state())
        if not tensors:
            return {"random": random}
        return {
            "random": random,
            "networks": network_states(self.method),
            "inference_networks": list(self.method.inference_networks()),
            "ema": self.averages.state_dict(),
            "updaters": {name: updater.state_dict() for name, updater in self.updaters.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The opposite of ``state_dict``. A process that had no part in it begins with random numbers of its own."""
        for name, network in self.method.networks().items():
            unwrap(network).load_state_dict(state["networks"][name])
        self.averages.load_state_dict(state["ema"])
        for name, updater in self.updaters.items():
            updater.load_state_dict(state["updaters"][name])
        if self.processes.rank < len(state["random"]):
            set_random_state(state["random"][self.processes.rank])
        else:
            seed_everything(self.settings.seed + self.processes.rank)

    def _prepare_networks(self) -> None:
        networks = self.method.networks()
        if self.settings.channels_last:
            self.method.to(memory_format=torch.channels_last)
        if self.settings.checkpoint_activations:
            able = [network for network in networks.values() if hasattr(network, "recompute")]
            if not able:
                raise UserError("--checkpoint_activations: none of this method's networks can do that")
            for network in able:
                network.recompute = True
        if self.settings.compile:
            if len(self.settings.gpu_ids) > 1:
                raise UserError("--compile does not work with DataParallel; use one GPU, or torchrun for several")
            compile_networks(networks, self.device)

    def _wrap(self) -> None:
        for name, network in self.method.networks().items():
            setattr(self.method, name, wrap(unwrap(network), list(self.settings.gpu_ids), self.processes.size))

    def _learning(self) -> list[bool]:
        return [weight.requires_grad for weight in self.method.parameters()]


def network_states(method: Method) -> dict[str, dict[str, Tensor]]:
    """Weights of each network by name, on the CPU and without the prefix of a wrapper."""
    return {
        name: {key: value.detach().cpu() for key, value in unwrap(network).state_dict().items()}
        for name, network in method.networks().items()
    }


def _all_finite(network: nn.Module) -> bool:
    return bool(torch.stack([weight.isfinite().all() for weight in network.parameters()]).all())


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of the rows that have a name."""
    return {name: sum(row[name] for row in rows if name in row) / sum(name in row for row in rows) for name in rows[0]}
