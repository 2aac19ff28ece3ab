"""The processes of one training: one, or several that ``torchrun`` or SLURM's ``srun`` started, on any machines."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from util.errors import StoppedAfterSaving, UserError

# Longer than the main process needs alone for what others wait for: rendering, optical flow, writing a checkpoint.
TIMEOUT = timedelta(hours=12)
MEETING_TIMEOUT = timedelta(minutes=10)  # a wrong address is found out by nothing but waiting
FIRST_PORT, NUM_PORTS = 20000, 20000  # of SLURM jobs, by job number


@dataclass(frozen=True)
class Processes:
    """This process among ``size``; the one with rank 0 is the main one, which writes files and reports.

    What all processes must do together (``gather``, ``any``, ``barrier``) goes over the CPU, so that nothing waits for
    a GPU. With one process all of it does nothing.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    control: Any = None  # group of processes for such messages

    @property
    def main(self) -> bool:
        return self.rank == 0

    def gpu_ids(self, wanted: list[int]) -> list[int]:
        """The GPUs of this process: all that are ``wanted``, or its own one when there are several processes.

        Raises:
            UserError: a machine runs more processes than it has GPUs.
        """
        if self.size == 1 or not wanted:
            return wanted
        if len(wanted) > 1 and self.local_rank < len(wanted):
            return [wanted[self.local_rank]]
        if len(wanted) > 1 or self.local_rank >= torch.cuda.device_count():
            count = len(wanted) if len(wanted) > 1 else torch.cuda.device_count()
            raise UserError(f"process {self.local_rank} of this machine has no GPU: there are {count}; start fewer")
        return [self.local_rank]

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _together():
            dist.all_gather_object(values, value, group=self.control)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        flags = torch.tensor(int(flag))
        with _together():
            dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.control)
        return bool(flags)

    def average_(self, tensor: torch.Tensor) -> None:
        """The mean over the processes takes the place of each one's values, float tensors on any device."""
        if self.size == 1:
            return
        mean = tensor.detach().cpu().double() / self.size
        with _together():
            dist.all_reduce(mean, group=self.control)
        tensor.copy_(mean)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The block runs in the main process, then in the others: they find made what it makes."""
        if self.size > 1 and not self.main:
            self._wait_for_all()
        yield
        if self.size > 1 and self.main:
            self._wait_for_all()

    def _wait_for_all(self) -> None:
        with _together():
            dist.barrier(group=self.control)


@contextmanager
def _together() -> Iterator[None]:
    """Around what all processes do together.

    Raises:
        UserError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        raise UserError("another process of this training has ended; its message says why") from error


ALONE = Processes()


@contextmanager
def join_processes(environment: Mapping[str, str], gpu_ids: list[int]) -> Iterator[Processes]:
    """Meet the other processes of this training, if there are any, and leave together at the end.

    Who leaves by an error does not wait for others: they may be in the middle of what NCCL does together, and taking
    leave from that waits for ever, with the message of the error still unsaid.

    Args:
        environment: variables, as ``torchrun`` and ``srun`` set them.
        gpu_ids: wanted GPUs; NCCL connects GPUs, gloo CPUs.

    Raises:
        UserError: the others cannot be reached, or this process has no GPU.
    """
    alone = find_processes(environment)
    if alone.size == 1:
        yield alone
        return
    mine, point = alone.gpu_ids(gpu_ids), meeting_point(environment)
    if mine:
        torch.cuda.set_device(mine[0])
    try:
        store, rank, size = next(rendezvous(point, alone.rank, alone.size, timeout=MEETING_TIMEOUT))
        store.set_timeout(TIMEOUT)
        backend = "nccl" if mine else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"process {alone.rank} of {alone.size} could not meet the others at {point} "
            f"({str(error).splitlines()[0]}); are MASTER_ADDR and MASTER_PORT right, and the same for all?"
        ) from error
    control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield Processes(alone.rank, alone.size, alone.local_rank, control)
    except StoppedAfterSaving:
        _leave(control)
        raise
    _leave(control)


def _leave(control: Any) -> None:
    """Nobody leaves while the main process still writes: at the first end with a code, launchers end all others."""
    with suppress(RuntimeError):  # somebody left by an error of its own
        dist.barrier(group=control)
    dist.destroy_process_group()


def find_processes(environment: Mapping[str, str]) -> Processes:
    """Rank and number of processes, from ``torchrun``'s variables or those of a SLURM step."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif "SLURM_STEP_NUM_TASKS" in environment:  # set by srun only: a batch script itself is one process
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    else:
        return ALONE
    return Processes(*(int(environment.get(name, 0)) for name in names))


def meeting_point(environment: Mapping[str, str]) -> str:
    """Where the processes meet: ``MASTER_ADDR`` and ``MASTER_PORT``, or the first machine of the SLURM step.

    Raises:
        UserError: neither is given.
    """
    job = int(environment.get("SLURM_JOB_ID", 0))
    address = environment.get("MASTER_ADDR") or first_host(environment.get("SLURM_STEP_NODELIST", ""))
    port = environment.get("MASTER_PORT") or str(FIRST_PORT + job % NUM_PORTS)
    if not address:
        raise UserError("several processes, but no MASTER_ADDR says where they meet; start them by torchrun or srun")
    return f"tcp://{address}:{port}"


def first_host(nodes: str) -> str:
    """The first machine of SLURM's list: ``gpu[03-05,9],other`` is ``gpu03``, ``rack[1-2]n[04-05]`` is ``rack1n04``."""
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", nodes).split(",")[0]
