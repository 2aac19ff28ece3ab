"""What is measured: cases, each with one optimisation more than the one before, from the published step to ours."""

from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

CYCLE = 5  # iterations from one update of the discriminator to the next, published and ours

# The kinds of iterations of each load, and their shares of a cycle: a cycle is not run as a whole, but put together.
KINDS = {
    "train": {"without D": 1 - 1 / CYCLE, "with D": 1 / CYCLE},
    "video": {"video": 1.0},
    "video_loss": {"loss": 1.0},
    "inference": {"predict": 1.0},
}
ITERATIONS = {"without D": 1, "with D": CYCLE, "video": 1}  # of the cycle, counted from 1
LADDER = "ladder"
EXTRAS = ("compile", "channels_last", "checkpoint_activations", "accumulate")
ACCUMULATE = 2  # parts of a batch with the extra ``accumulate``

# Layers that compute otherwise than PyTorch's own, in the order of their rows; the last two do so on the CPU alone.
OUR_LAYERS = ("norm", "decoder", "blocks", "output")
LAYER_TITLES = {
    "norm": "+ norm without copies",
    "decoder": "+ sub-pixel decoder",
    "blocks": "+ Winograd in the blocks",
    "output": "+ output by pixels",
}
CPU_LAYERS = ("blocks", "output")
DIRECT = {"bf16": ("blocks",), "fp16": ("blocks",), "compile": CPU_LAYERS}

KEPT = ("+ memory kept", {"keep_memory": True})
FUSED = ("+ fused Adam", {"fused": True})
CHANGES: dict[str, list[tuple[str, dict[str, Any]]]] = {  # title of the row, and what is different from the row before
    "train": [KEPT, FUSED, ("+ our schedule", {"published": False})],
    "video": [KEPT, FUSED, ("+ flow ready, batched", {"published": False})],
    "video_loss": [KEPT, ("+ flow ready, batched", {"published": False})],
    "inference": [KEPT, ("+ no gradients", {"published": False})],
}
WITHOUT_NETWORKS = ("video_loss",)  # nothing in it is computed in another precision


@dataclass(frozen=True)
class Load:
    """What a case works on: one of ``KINDS`` with ``batch`` squares of ``size`` pixels.

    A clip of ``video`` has several frames; ``video_loss`` is the part of that update without the network.
    """

    what: str
    size: int
    batch: int

    @property
    def title(self) -> str:
        return f"{self.size} x {self.size} pixels, batch {self.batch}"


@dataclass(frozen=True)
class Case:
    """One way to work on a load.

    Args:
        title: of its row.
        load: what it works on.
        published: the published schedule; ours, by the engine, otherwise.
        layers: those of ``OUR_LAYERS`` that are ours; the others are PyTorch's own.
        fused: Adam in one kernel.
        keep_memory: in a process that keeps freed memory.
        precision: as ``--precision`` names it.
        extra: one of ``EXTRAS``, or none.
        before: title of the row that it is compared with.
    """

    title: str
    load: Load
    published: bool = False
    layers: tuple[str, ...] = OUR_LAYERS
    fused: bool = True
    keep_memory: bool = False
    precision: str = "fp32"
    extra: str = ""
    before: str = ""

    @property
    def worker(self) -> str:
        """Name of the worker that it runs in."""
        return self.extra or ("kept" if self.keep_memory else "default")

    @property
    def working_layers(self) -> tuple[str, ...]:
        """Those of ``layers`` that are not direct convolutions here: in low precision and compiled, some are."""
        direct = DIRECT["compile"] if self.extra == "compile" else DIRECT.get(self.precision, ())
        return tuple(name for name in self.layers if name not in direct)

    @property
    def counted(self) -> "Case":
        """The case whose operations are counted for this one: what was compiled hides them."""
        return replace(self, extra="", layers=self.working_layers) if self.extra == "compile" else self

    @property
    def kinds(self) -> dict[str, float]:
        """The kinds of iterations of a cycle, and their shares."""
        return KINDS[self.load.what]


class Group(NamedTuple):
    """Cases that take turns: a ladder, or our step with and without an option of the engine, which is its name."""

    name: str
    cases: list[Case]

    @property
    def is_ladder(self) -> bool:
        return self.name == LADDER

    def same_work(self) -> list[list[Case]]:
        """Cases that compute the same, together; allocator and kernel of Adam change nothing there."""
        found: dict[tuple[bool, tuple[str, ...], str], list[Case]] = {}
        for case in self.cases:
            again = case.extra if case.extra in ("checkpoint_activations", "accumulate") else ""
            found.setdefault((case.published, case.working_layers, again), []).append(case)
        return list(found.values())


def plan_groups(opt: Namespace, *, can_keep: bool, on_cpu: bool) -> list[Group]:
    """What is measured, in this order; see ``ladder`` for ``can_keep`` and ``on_cpu``."""
    groups = []
    batches = dict.fromkeys(KINDS, [opt.batch]) | {"inference": opt.infer_batches}
    loads = [Load(what, size, batch) for what in opt.what for size in opt.sizes for batch in batches.get(what, [])]
    for load in loads:
        cases = ladder(load, opt.precisions, baseline=opt.baseline == "published", can_keep=can_keep, on_cpu=on_cpu)
        groups.append(Group(LADDER, cases))
        if load.what == "train":
            groups += [Group(extra, with_extra(our_cases(cases), extra)) for extra in opt.extras]
    return groups


def ladder(load: Load, precisions: list[str], *, baseline: bool, can_keep: bool, on_cpu: bool) -> list[Case]:
    """The rows from the published step to ours, each with one change more, then ours in the other precisions.

    Args:
        load: what they work on.
        precisions: the first one is that of the steps of the ladder.
        baseline: whether to begin with the published step; only ours otherwise.
        can_keep: whether this machine's allocator can keep memory.
        on_cpu: whether it runs there; some layers differ there alone.
    """
    if load.what in WITHOUT_NETWORKS:
        precisions = ["fp32"]
    if not baseline:
        return _in_precisions(Case("", load, keep_memory=can_keep), precisions)
    cases = [Case("published", load, published=True, layers=(), fused=False)]
    for title, change in changes(load, on_cpu=on_cpu):
        if can_keep or "keep_memory" not in change:
            cases.append(replace(cases[-1], title=title, before=cases[-1].title, **change))
    cases = [*cases[:-1], *_in_precisions(cases[-1], precisions, f" ({cases[-1].title})")]
    # PyTorch's own default on such a GPU is TF32 in convolutions, so the published code has it too.
    if "tf32" in precisions:
        cases.append(replace(cases[0], title="published, tf32", precision="tf32"))
    return cases


def changes(load: Load, *, on_cpu: bool) -> list[tuple[str, dict[str, Any]]]:
    """Title of each row after the published one, and what is different from the row before."""
    if load.what in WITHOUT_NETWORKS:
        return CHANGES[load.what]
    rows = [name for name in OUR_LAYERS if on_cpu or name not in CPU_LAYERS]
    upto = {name: OUR_LAYERS[: OUR_LAYERS.index(name) + 1] for name in rows} | {rows[-1]: OUR_LAYERS}
    return CHANGES[load.what] + [(LAYER_TITLES[name], {"layers": upto[name]}) for name in rows]


def with_extra(ours: list[Case], extra: str) -> list[Case]:
    """Our cases, and each of them with one option of the engine."""
    flag = f"--{extra} {ACCUMULATE}" if extra == "accumulate" else f"--{extra}"
    return [
        *ours,
        *(replace(case, title=f"{flag}, {case.precision}", extra=extra, before=case.title) for case in ours),
    ]


def our_cases(cases: list[Case]) -> list[Case]:
    """Those of a ladder that have all optimisations."""
    last = [case for case in cases if not case.published and case.layers == OUR_LAYERS]
    return [case for case in last if case.keep_memory == last[-1].keep_memory]


def _in_precisions(ours: Case, precisions: list[str], remark: str = "") -> list[Case]:
    """Ours in each precision; the others are compared with the first, whose title has the remark."""
    first, *others = precisions
    root = replace(ours, title=f"ours, {first}{remark}", precision=first)
    return [root, *(replace(ours, title=f"ours, {name}", precision=name, before=root.title) for name in others)]
