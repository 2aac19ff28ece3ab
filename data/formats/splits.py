"""Which sequence belongs to which split: whole sequences only, so that no test frame has a neighbour in training."""

from collections.abc import Callable, Sequence
from pathlib import Path

from util.errors import UserError

PHASES = ("train", "eval", "test")
TEST_SHARE, EVAL_SHARE = 0.2, 0.1


def read_split(root: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """What ``<root>/splits/<phase>.txt`` say, by split; empty where there are no such files.

    A line is the name of a sequence; empty lines and those that begin with # are left out.

    Raises:
        UserError: a name is of no sequence, or a sequence is in two splits.
    """
    files = {phase: root / "splits" / f"{phase}.txt" for phase in PHASES}
    split = {phase: _lines(file) for phase, file in files.items() if file.is_file()}
    if not split:
        return {}
    seen: dict[str, str] = {}
    for phase, members in split.items():
        for name in members:
            if name not in names:
                raise UserError(f"{files[phase]} names {name!r}, which is no sequence here; there are {_some(names)}")
            if name in seen:
                raise UserError(
                    f"the sequence {name} is in {files[seen[name]]} and in {files[phase]}: results would leak"
                )
            seen[name] = phase
    return {phase: split.get(phase, []) for phase in PHASES}


def split_by_share(names: Sequence[str], group: Callable[[str], str] = str) -> dict[str, list[str]]:
    """Of the groups that the sequences belong to, in their order, the last fifth is for testing and a tenth before it
    for evaluation, at least one each; with fewer than three groups all is for training.

    Args:
        names: of the sequences, in order.
        group: what sequences have in common that must not be in two splits, e.g. the camera's path.
    """
    groups = list(dict.fromkeys(map(group, names)))
    if len(groups) < len(PHASES):
        return {"train": list(names)}
    num_test, num_eval = (max(1, round(share * len(groups))) for share in (TEST_SHARE, EVAL_SHARE))
    num_train = len(groups) - num_test - num_eval
    phase_of = dict(zip(groups, ["train"] * num_train + ["eval"] * num_eval + ["test"] * num_test, strict=True))
    return {phase: [name for name in names if phase_of[group(name)] == phase] for phase in PHASES}


def _lines(file: Path) -> list[str]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
