"""Finding trained weights by the name of a run, and bare weights of several networks as one."""

import pytest
import torch

from util.checkpoint import save_checkpoint
from util.errors import UserError
from util.trained_weights import find_trained, read_trained, weight_files_of

STATE = {"options": {"lr": 1.0}, "networks": {"net_depth": {"w": torch.ones(1)}, "net_pose": {"w": torch.zeros(2)}}}


@pytest.fixture
def run(tmp_path):
    """A run with the checkpoints ``latest`` and ``20``, and bare weights of both."""
    for epoch in ("latest", "20"):
        save_checkpoint(tmp_path / "demo", epoch, STATE)
    return tmp_path / "demo"


def test_a_checkpoint_comes_before_bare_weights(run):
    assert find_trained(run.parent, "demo", "20") == run / "20.pth"
    assert read_trained(run)["options"] == {"lr": 1.0}


def test_bare_weights_of_an_epoch_are_found_together(run):
    for epoch in ("latest", "20"):
        (run / f"{epoch}.pth").unlink()
    together = find_trained(run.parent, "demo", "20")
    assert together == run / "20_net_*.pth"
    assert weight_files_of(together) == [run / "20_net_depth.pth", run / "20_net_pose.pth"]
    held = read_trained(together)
    assert (held["options"], held["facts"]) == ({}, {})
    assert {name: state["w"].shape for name, state in held["networks"].items()} == {"net_depth": (1,), "net_pose": (2,)}
    assert read_trained(run)["networks"].keys() == {"net_depth", "net_pose"}


def test_bare_weights_of_one_network_are_its_file(run):
    for name in ("latest.pth", "latest_net_pose.pth"):
        (run / name).unlink()
    assert find_trained(run.parent, "demo", "latest") == run / "latest_net_depth.pth"
    assert read_trained(run / "latest_net_depth.pth")["networks"].keys() == {"net_depth"}


def test_network_is_what_follows_the_last_part_of_the_epochs_name(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "resnet_a_net_G.pth")
    assert read_trained(tmp_path / "resnet_a_net_G.pth")["networks"].keys() == {"net_G"}


def test_what_is_not_there_is_named(run):
    with pytest.raises(FileNotFoundError, match=r"run 'demo' has no checkpoint '7'; it has: 20, latest"):
        find_trained(run.parent, "demo", "7")
    with pytest.raises(FileNotFoundError, match=r"7_net_\*\.pth"):
        read_trained(run / "7_net_*.pth")


def test_damaged_one_of_several_is_named(run):
    file = run / "20_net_pose.pth"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"20_net_pose\.pth is no PyTorch file of weights, is damaged"):
        read_trained(run / "20_net_*.pth")
