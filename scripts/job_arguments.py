"""Print the arguments of ``train.py`` with which a job of a queue begins its run or goes on with it, NUL after each.

A run whose checkpoint ``latest`` is there is gone on with. What an argument says about the beginning alone
(``--overwrite``, ``--load_pretrain``, ...) counts when the job starts for the first time, not when it was requeued.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from options.train_options import TrainOptions  # noqa: E402 - the project's root has to be on the path first
from util.checkpoint import LATEST, generations  # noqa: E402
from util.errors import run_cli  # noqa: E402

BEGINNING = {"--continue_train": 0, "--overwrite": 0, "--load_pretrain": 1, "--which_epoch": 1}  # and their values


def main() -> None:
    arguments = sys.argv[1:]
    opt = TrainOptions().parse(arguments)  # mistakes end here, on one machine
    saved = bool(generations(opt.checkpoints_dir / opt.name / f"{LATEST}.pth"))
    requeued = int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0
    for argument in job_arguments(arguments, saved=saved, requeued=requeued):
        print(argument, end="\0")


def job_arguments(arguments: list[str], *, saved: bool, requeued: bool) -> list[str]:
    """
    Args:
        arguments: of the job.
        saved: whether the run has a checkpoint ``latest``.
        requeued: whether the job started before.
    """
    told = {"--continue_train", "--overwrite"} & set(arguments)
    if not saved or (told and not requeued):
        return arguments
    return [*without_beginning(arguments), "--continue_train"]


def without_beginning(arguments: list[str]) -> list[str]:
    """The arguments but those that say how a run begins, and their values."""
    kept, left_out = [], 0
    for argument in arguments:
        flag, *value = argument.split("=", 1)
        if left_out:
            left_out -= 1
        elif flag in BEGINNING:
            left_out = BEGINNING[flag] - len(value)
        else:
            kept.append(argument)
    return kept


if __name__ == "__main__":
    run_cli(main)
