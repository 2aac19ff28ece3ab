"""Damaged checkpoints are noticed and got around; files that mean harm are refused."""

import pytest
import torch

from tests.damage import Hostile, flip_weight
from tests.test_train_and_test import assert_one_error
from util.checkpoint import generations

AROUND = "`latest_1`: the training goes on from it, and ends as the undisturbed one to the bit; and `latest.damaged`"


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("fault", "damage"),
    [("`latest.pth` is cut off", cut_off), ("one byte of `latest.pth` is another", flip_weight)],
)
def test_damaged_checkpoint_gives_way_to_the_one_before(begun, goes_on_to_the_bit, tell, fault, damage):
    damage(begun / "latest.pth")
    damaged = (begun / "latest.pth").read_bytes()
    outcome = goes_on_to_the_bit()
    (line,) = [line for line in outcome.errors if "going on from" in line]
    assert line.endswith("; going on from latest_1.pth, iteration 4")
    assert "latest.pth is damaged and was put aside as latest.damaged" in outcome.errors
    assert (begun / "latest.damaged").read_bytes() == damaged
    tell(fault, line, AROUND, None)


def test_nothing_goes_on_when_all_are_damaged(train, begun, tell):
    for path in generations(begun / "latest.pth"):
        flip_weight(path)
    before = {path: path.read_bytes() for path in begun.glob("*.pth")}
    outcome = train("--continue_train")
    assert_one_error(outcome, "latest.pth is damaged", "no older one is whole either")
    assert {path: path.read_bytes() for path in begun.glob("*.pth")} == before
    assert train("--continue_train", "--which_epoch=best").code == 0
    kept = "all files as they are; `--which_epoch` takes another checkpoint of the run"
    tell("all checkpoints called latest are damaged", outcome.errors[0], kept, 2)


def test_nothing_in_a_hostile_file_is_run(train, checkpoints, tmp_path, tell):
    """All ways in are in ``test_hostile_files.py``."""
    made = tmp_path / "made"
    torch.save({"format": 2, "networks": {}, "options": {}, "x": Hostile(f"touch {made}")}, tmp_path / "theirs.pth")
    outcome = train(f"--load_pretrain={tmp_path / 'theirs.pth'}")
    assert_one_error(outcome, "theirs.pth", "Python objects, which are never loaded")
    assert not made.exists()
    assert not (checkpoints / "demo").exists()
    seen = outcome.errors[0].replace(f"{tmp_path}/", "")
    tell("a file of weights that runs a command when it is unpickled", seen, "all; nothing in it is run", 2)
