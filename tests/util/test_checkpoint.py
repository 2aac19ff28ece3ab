"""Checkpoints: whole or not at all, and refusals that say which file and what to do."""

import os
import resource
from contextlib import contextmanager

import pytest
import torch

from util.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint, saved_epochs
from util.errors import UserError
from util.weight_files import read_weights


def state(value=1.0, size=8):
    return {"networks": {"net_G": {"w": torch.full((size,), value)}}, "options": {"model": "toy"}, "iteration": 3}


@contextmanager
def file_size_limit(size):
    """The disk is full after ``size`` bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_checkpoint_and_bare_weights_come_back(tmp_path):
    save_checkpoint(tmp_path, "latest", state(2.0))
    loaded = load_checkpoint(tmp_path / "latest.pth")
    assert loaded["iteration"] == 3
    assert loaded["versions"]["torch"] == torch.__version__
    assert torch.equal(loaded["networks"]["net_G"]["w"], torch.full((8,), 2.0))
    assert torch.equal(read_weights(tmp_path / "latest_net_G.pth")["w"], torch.full((8,), 2.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.pth", "latest_net_G.pth"]


def test_full_disk_keeps_the_checkpoint_of_before_and_leaves_no_rest(tmp_path):
    save_checkpoint(tmp_path, "latest", state(2.0))
    with file_size_limit(10_000), pytest.raises(UserError, match=r"could not write .*latest\.pth .*is the disk full"):
        save_checkpoint(tmp_path, "latest", state(3.0, size=100_000))
    assert load_checkpoint(tmp_path / "latest.pth")["networks"]["net_G"]["w"][0] == 2.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.pth", "latest_net_G.pth"]


class Hostile:
    """Makes a folder when it is unpickled the ordinary way."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("legacy", [True, False])
def test_hostile_file_is_refused_and_runs_nothing(tmp_path, legacy):
    hostile = {"networks": {}, "options": {}, "format": 1, "extra": Hostile(tmp_path / "made")}
    torch.save(hostile, tmp_path / "latest.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"latest\.pth .*holds Python objects, which are never loaded"):
        load_checkpoint(tmp_path / "latest.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("legacy", [True, False])
def test_truncated_checkpoint_is_refused_wherever_it_ends(tmp_path, legacy):
    path = tmp_path / "latest.pth"
    torch.save({"format": 1, **state()}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for share in range(20):
        path.write_bytes(whole[: len(whole) * share // 20])
        with pytest.raises(UserError, match=r"latest\.pth"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": torch.zeros(3)}, "is no checkpoint of a run"),
        ([1, 2], "is no checkpoint of a run"),
        ({"format": 99, **state()}, "has the checkpoint format 99, this version reads 1"),
    ],
)
def test_what_is_no_checkpoint_of_ours_is_named(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=rf"x\.pth {message}"):
        load_checkpoint(tmp_path / "x.pth")


def test_wrong_name_lists_the_runs_and_wrong_epoch_lists_the_epochs(tmp_path):
    for run, epochs in (("first", ("10", "9", "latest", "best")), ("second", ("latest",))):
        for epoch in epochs:
            save_checkpoint(tmp_path / run, epoch, state())
    (tmp_path / "tensorboard").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no run 'frist' in .*; runs there: first, second$"):
        find_checkpoint(tmp_path, "frist", "latest")
    with pytest.raises(FileNotFoundError, match=r"run 'first' has no checkpoint '7'; it has: 9, 10, best, latest$"):
        find_checkpoint(tmp_path, "first", "7")
    assert find_checkpoint(tmp_path, "first", "9") == tmp_path / "first" / "9.pth"


def test_no_runs_at_all_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="runs there: none"):
        find_checkpoint(tmp_path / "nowhere", "x", "latest")


def test_half_written_files_count_as_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".latest.77.partial.pth").write_bytes(b"half")
    assert saved_epochs(tmp_path / "run") == []
    with pytest.raises(FileNotFoundError, match="runs there: none"):
        find_checkpoint(tmp_path, "run", "latest")


def test_run_of_bare_weights_alone_lists_them(tmp_path):
    (tmp_path / "run").mkdir()
    torch.save({}, tmp_path / "run" / "20_net_G.pth")
    with pytest.raises(FileNotFoundError, match=r"it has: 20_net_G\.pth"):
        find_checkpoint(tmp_path, "run", "latest")
