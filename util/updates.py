"""What a method and the engine say to each other."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """Where a run is: the epoch and the iteration under way, both from 1, and complete passes over each stream."""

    epoch: int
    iteration: int
    passes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """One step of one optimiser.

    Args:
        optimizer: its name, as in the method's ``build_optimizers``.
        terms: scalar losses by name, weighted; their sum is what is minimised.
        facts: scalars by name that are logged and have no gradient.
    """

    optimizer: str
    terms: dict[str, Tensor]
    facts: dict[str, Tensor] = field(default_factory=dict)
