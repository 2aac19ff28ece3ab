"""Checkpoints: whole or not at all, and refusals that say which file and what to do."""

import multiprocessing
import os
import random
import resource
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.damage import Hostile, flip_weight
from util.checkpoint import (
    DamagedFile,
    find_checkpoint,
    generations,
    load_checkpoint,
    load_latest,
    networks_of,
    put_damaged_aside,
    read_undamaged,
    save_checkpoint,
    saved_epochs,
)
from util.errors import UserError
from util.weight_files import read_weights


def state(value=1.0, size=8, iteration=3):
    networks = {"net_G": {"w": torch.full((size,), value)}}
    return {"networks": networks, "options": {"model": "toy"}, "iteration": iteration}


def save_iterations(folder, *iterations, keep=2):
    for iteration in iterations:
        save_checkpoint(folder, "latest", state(iteration=iteration), keep=keep)


def iterations(folder):
    """Of the checkpoints in the folder, by file."""
    files = [file for file in folder.glob("*.pth") if "_net_" not in file.name]
    return {file.name: load_checkpoint(file)["iteration"] for file in files}


def flip_byte(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def tensor_bytes(path, value):
    """Places of the values ``value`` (float32) in a file."""
    content, pattern = path.read_bytes(), torch.tensor(value).numpy().tobytes()
    return [place for place in range(len(content)) if content.startswith(pattern * 4, place)]


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
    with (
        file_size_limit(10_000),
        pytest.raises(UserError, match=r"could not write .*latest_net_G\.pth .*is the disk full"),
    ):
        save_checkpoint(tmp_path, "latest", state(3.0, size=100_000))
    assert load_checkpoint(tmp_path / "latest.pth")["networks"]["net_G"]["w"][0] == 2.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.pth", "latest_net_G.pth"]


@pytest.mark.parametrize("legacy", [True, False])
def test_hostile_file_is_refused_and_runs_nothing(tmp_path, legacy):
    hostile = {"networks": {}, "options": {}, "format": 2, "extra": Hostile(f"touch {tmp_path / 'made'}")}
    torch.save(hostile, tmp_path / "latest.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"latest\.pth .*holds Python objects, which are never loaded"):
        load_checkpoint(tmp_path / "latest.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("legacy", [True, False])
def test_truncated_checkpoint_is_refused_wherever_it_ends(tmp_path, legacy):
    path = tmp_path / "latest.pth"
    torch.save({"format": 2, **state()}, path, _use_new_zipfile_serialization=not legacy)
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
        ({"format": 1, **state()}, "has the checkpoint format 1, this version reads 2"),
        ({"format": 99, **state()}, "has the checkpoint format 99, this version reads 2; the bare weights"),
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


def test_hidden_folders_are_no_runs(tmp_path):
    save_checkpoint(tmp_path / ".trash", "latest", state())
    with pytest.raises(FileNotFoundError, match="runs there: none"):
        find_checkpoint(tmp_path, "run", "latest")


def test_averages_replace_the_weights_of_the_networks_that_have_them():
    held = {"networks": {"net_G": {"w": 1}, "net_D": {"w": 2}}, "ema": {"net_G": {"w": 3}}}
    assert networks_of(held, Path("a.pth")) == held["networks"]
    assert networks_of(held, Path("a.pth"), ema=True) == {"net_G": {"w": 3}, "net_D": {"w": 2}}


@pytest.mark.parametrize("without", [{}, {"ema": {}}])
def test_averages_that_are_not_there_are_an_error(without):
    with pytest.raises(UserError, match=r"a\.pth holds no averaged weights.*--ema.*leave --use_ema out"):
        networks_of({"networks": {}} | without, Path("a.pth"), ema=True)


# The ones before


def test_ones_before_move_one_name_on_and_the_oldest_goes(tmp_path):
    expected = {
        1: {"latest.pth": 1},
        2: {"latest.pth": 2, "latest_1.pth": 1},
        3: {"latest.pth": 3, "latest_1.pth": 2, "latest_2.pth": 1},
        4: {"latest.pth": 4, "latest_1.pth": 3, "latest_2.pth": 2},
    }
    for iteration, files in expected.items():
        save_iterations(tmp_path, iteration, keep=3)
        assert iterations(tmp_path) == files
    assert [file.name for file in generations(tmp_path / "latest.pth")] == list(expected[4])
    assert not list(tmp_path.glob(".*"))


def test_keeping_fewer_than_before_removes_the_rest(tmp_path):
    save_iterations(tmp_path, 1, 2, 3, 4, keep=4)
    save_iterations(tmp_path, 5, keep=2)
    assert iterations(tmp_path) == {"latest.pth": 5, "latest_1.pth": 4}
    save_iterations(tmp_path, 6, keep=1)
    assert iterations(tmp_path) == {"latest.pth": 6}


def test_other_names_are_no_older_ones(tmp_path):
    for name in ("latest_net_G", "latest_x", "my_latest_1", "latest_1_2"):
        torch.save({}, tmp_path / f"{name}.pth")
    save_iterations(tmp_path, 1, keep=1)
    assert generations(tmp_path / "latest.pth") == [tmp_path / "latest.pth"]
    assert len(list(tmp_path.iterdir())) == 5


def refuse_hard_link(path, target):
    """As file systems do that have none."""
    raise PermissionError(1, "Operation not permitted", str(path))


def test_without_hard_links_it_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", refuse_hard_link)
    save_iterations(tmp_path, 1, 2, 3, keep=2)
    assert iterations(tmp_path) == {"latest.pth": 3, "latest_1.pth": 2}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("full_at", [1, 2])
def test_full_disk_rotates_nothing(tmp_path, monkeypatch, full_at):
    """In writing the content, or in syncing it, when a file system is found to be full only then."""
    save_iterations(tmp_path, 1, 2)
    with monkeypatch.context() as patch:
        if full_at == 1:
            with file_size_limit(10_000), pytest.raises(UserError, match="is the disk full"):
                save_checkpoint(tmp_path, "latest", state(size=100_000), keep=2)
        else:
            patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(UserError, match="No space left on device.*is the disk full"):
                save_iterations(tmp_path, 3)
    assert iterations(tmp_path) == {"latest.pth": 2, "latest_1.pth": 1}


def test_missing_latest_is_the_one_before(tmp_path):
    save_iterations(tmp_path / "run", 1, 2, 3, keep=3)
    (tmp_path / "run" / "latest.pth").unlink()
    assert find_checkpoint(tmp_path, "run", "latest") == tmp_path / "run" / "latest_1.pth"
    path, held, trouble = load_latest(tmp_path / "run")
    assert (path.name, held["iteration"], trouble) == ("latest_1.pth", 2, "latest.pth is missing")
    with pytest.raises(FileNotFoundError, match="it has: latest_1, latest_2$"):
        find_checkpoint(tmp_path, "run", "best")


# Damage


def test_every_changed_byte_of_a_tensor_is_noticed(tmp_path):
    """PyTorch itself would load the changed number."""
    save_checkpoint(tmp_path, "latest", state(0.7251, size=100))
    path = tmp_path / "latest.pth"
    whole = path.read_bytes()
    for place in (tensor_bytes(path, 0.7251)[0], tensor_bytes(path, 0.7251)[-1] + 15):
        flip_byte(path, place)
        weights = torch.load(path, weights_only=True)["networks"]["net_G"]["w"]
        assert not torch.equal(weights, torch.full((100,), 0.7251))
        with pytest.raises(DamagedFile, match=r"latest\.pth is damaged: .*checksum") as error:
            load_checkpoint(path)
        assert error.value.reason == "a checksum differs"
        path.write_bytes(whole)


def test_changed_byte_anywhere_is_noticed_or_changes_nothing(tmp_path):
    save_checkpoint(tmp_path, "latest", state(0.7251, size=100))
    path = tmp_path / "latest.pth"
    whole, noticed = path.read_bytes(), 0
    for place in range(0, len(whole), 13):
        flip_byte(path, place)
        try:
            held = load_checkpoint(path)
        except UserError:
            noticed += 1
        else:  # padding between the records, and other fields that nobody reads
            assert torch.equal(held["networks"]["net_G"]["w"], torch.full((100,), 0.7251))
            assert (held["iteration"], held["options"]) == (3, {"model": "toy"})
        path.write_bytes(whole)
    assert noticed > 50


def test_damage_of_bare_weights_is_noticed(tmp_path):
    save_checkpoint(tmp_path, "latest", state(0.7251, size=100))
    flip_byte(tmp_path / "latest_net_G.pth", tensor_bytes(tmp_path / "latest_net_G.pth", 0.7251)[0])
    with pytest.raises(DamagedFile, match=r"latest_net_G\.pth is damaged"):
        read_undamaged(tmp_path / "latest_net_G.pth")


def test_file_that_was_written_as_it_is_is_not_called_damaged(tmp_path):
    torch.save({"extra": Hostile(f"touch {tmp_path / 'made'}")}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="holds Python objects") as error:
        read_undamaged(tmp_path / "a.pth")
    assert not isinstance(error.value, DamagedFile)


def test_latest_is_the_newest_whole_one(tmp_path):
    save_iterations(tmp_path, 1, 2, 3, keep=3)
    flip_weight(tmp_path / "latest.pth")
    (tmp_path / "latest_1.pth").write_bytes((tmp_path / "latest_1.pth").read_bytes()[:-200])
    path, held, trouble = load_latest(tmp_path)
    assert (path.name, held["iteration"]) == ("latest_2.pth", 1)
    assert trouble == (
        "latest.pth is damaged (a checksum differs); latest_1.pth is damaged (it is cut off, or was never a checkpoint)"
    )


def test_when_all_are_damaged_the_first_is_named(tmp_path):
    save_iterations(tmp_path, 1, 2)
    for name in ("latest.pth", "latest_1.pth"):
        flip_weight(tmp_path / name)
    with pytest.raises(DamagedFile, match=r"latest\.pth is damaged: .*; no older one is whole either$"):
        load_latest(tmp_path)


def test_latest_of_another_kind_is_not_passed_over(tmp_path):
    save_iterations(tmp_path, 1, 2)
    torch.save({"w": torch.zeros(3)}, tmp_path / "latest.pth")
    with pytest.raises(UserError, match=r"latest\.pth is no checkpoint of a run"):
        load_latest(tmp_path)


def test_damaged_ones_are_put_aside_and_the_whole_ones_stay(tmp_path):
    save_iterations(tmp_path, 1, 2, 3, keep=3)
    flip_weight(tmp_path / "latest.pth")
    damaged = (tmp_path / "latest.pth").read_bytes()
    assert put_damaged_aside(tmp_path / "latest.pth") == ["latest.pth is damaged and was put aside as latest.damaged"]
    assert put_damaged_aside(tmp_path / "latest.pth") == []
    assert iterations(tmp_path) == {"latest_1.pth": 2, "latest_2.pth": 1}
    assert (tmp_path / "latest.damaged").read_bytes() == damaged
    save_iterations(tmp_path, 4, keep=3)
    assert iterations(tmp_path) == {"latest.pth": 4, "latest_1.pth": 2, "latest_2.pth": 1}


# Kills


def save_for_ever(folder, saved, hard_links):
    """What a run does that is then killed: ``saved`` is the last iteration whose saving has come to its end."""
    if not hard_links:
        Path.hardlink_to = refuse_hard_link
    while True:
        save_checkpoint(folder, "latest", state(size=200_000, iteration=saved.value + 1), keep=2)
        saved.value += 1


@pytest.mark.slow
@pytest.mark.parametrize("hard_links", [True, False])
def test_killed_at_any_moment_a_run_has_a_checkpoint_at_most_one_save_behind(tmp_path, hard_links):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["util.checkpoint"])  # imported once, and not by each of the processes
    rng, saved = random.Random(0), processes.Value("q", 0, lock=False)
    for kill in range(10):
        process = processes.Process(target=save_for_ever, args=(tmp_path, saved, hard_links))
        before = saved.value
        process.start()
        wait_until(lambda before=before: saved.value > before)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.join()
        state_of_latest = load_latest(tmp_path)[1]
        assert saved.value <= state_of_latest["iteration"] <= saved.value + 1, kill
        assert torch.equal(state_of_latest["networks"]["net_G"]["w"], torch.ones(200_000))
        saved.value = state_of_latest["iteration"]


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
