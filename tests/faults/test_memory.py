"""Memory that is full: one line with flags and sizes, whenever it comes, and nothing is lost."""

import torch

from tests.faults import children as faults
from tests.faults.conftest import flags
from tests.test_train_and_test import assert_one_error
from util.checkpoint import load_checkpoint, saved_epochs

FLAGS = ["--precision bf16", "--checkpoint_activations", "--batch_size 1"]


def fill_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_first_iteration_that_does_not_fit(train, checkpoints, monkeypatch, tell):
    faults.at_step(monkeypatch, 1, fill_memory)
    outcome = train()
    assert_one_error(outcome, "out of memory on the CPU", *FLAGS, "nothing was saved yet")
    assert saved_epochs(checkpoints / "demo") == []
    tell("memory is full in the first iteration", outcome.errors[0], "nothing was there yet", 2)


def test_later_iteration_that_does_not_fit(train, begun, goes_on_to_the_bit, monkeypatch, tell):
    with monkeypatch.context() as patch:
        faults.at_step(patch, 7, fill_memory)
        outcome = train("--continue_train", "--save_latest_freq=2")
    assert_one_error(outcome, "out of memory on the CPU", *FLAGS, "as they were; --continue_train goes on from latest")
    assert load_checkpoint(begun / "latest.pth")["iteration"] == 6
    goes_on_to_the_bit()
    tell("memory is full in a later iteration", outcome.errors[0], "`latest` of the last save", 2)


def test_limit_of_the_system_is_told_in_the_same_way(children, dataroot, checkpoints, tmp_path):
    """The allocator itself fails: the process may take 1 MiB more when the first batch of video comes."""
    args = flags(dataroot, checkpoints, "--max_steps=4", "--loadSize=256", "--save_latest_freq=1", "--no_html")
    outcome = children.train(args, tmp_path / "err", faults.little_memory, 4, 2**20)
    assert_one_error(outcome, "out of memory on the CPU", *FLAGS, "goes on from latest")
    assert load_checkpoint(checkpoints / "demo" / "latest.pth")["iteration"] == 3
