"""The soak test finds what is broken, and a run that is killed again and again is not."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data.image_files import write_picture
from scripts import soak_check
from tests.damage import flip_weight
from util.checkpoint import save_checkpoint
from util.files import write_text

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("soak", ROOT / "scripts" / "soak.py")
    module = sys.modules["soak"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    """Files of all kinds that a run writes, all of them whole, and flow of a clip of 5 frames."""
    weights = {"networks": {"net_G": {"w": torch.arange(500.0)}}, "options": {"model": "toy"}}
    save_checkpoint(tmp_path, "latest", weights)
    write_picture(tmp_path / "web" / "images" / "1.png", np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8))
    write_text(tmp_path / "web" / "index.html", '<html><img src="images/1.png"></html>\n')
    write_text(tmp_path / "web" / "entries.json", "[1]\n")
    write_text(tmp_path / "opt.yaml", "lr: 1.0\nmodel: toy\n")
    write_text(tmp_path / "loss_log.txt", "half a li")
    clip = tmp_path / "flow_cache" / "clip"
    write_text(clip / "source.json", "{}\n")
    for name in ("flow", "mask"):
        np.save(clip / f"{name}.npy", np.zeros((4, 2)))
    return tmp_path


@pytest.fixture
def files():
    return soak_check.WholeFiles({"clip": 4})


def shorten(path):
    path.write_bytes(path.read_bytes()[:-12])


def rename_picture(path):
    path.with_name("images").rename(path.with_name("pictures"))
    path.write_text(path.read_text() + " ")


def shorten_flow(path):
    np.save(path.with_name("flow.npy"), np.zeros((3, 2)))


DAMAGE = {
    "checkpoint cut off": ("latest.pth", shorten),
    "checkpoint with another byte": ("latest.pth", flip_weight),
    "bare weights cut off": ("latest_net_G.pth", shorten),
    "picture cut off": ("web/images/1.png", shorten),
    "page cut off": ("web/index.html", shorten),
    "page without its picture": ("web/index.html", rename_picture),
    "list cut off": ("web/entries.json", lambda path: path.write_text("[1, {")),
    "options cut off": ("opt.yaml", shorten),
    "flow of another length": ("flow_cache/clip/source.json", shorten_flow),
    "flow cut off": ("flow_cache/clip/flow.npy", shorten),
    "flow without masks": ("flow_cache/clip/source.json", lambda path: path.with_name("mask.npy").unlink()),
    "file of no known kind": ("notes.txt", Path.touch),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(run, files, kind):
    assert files.damage(run) == []
    name, spoil = DAMAGE[kind]
    spoil(run / name)
    os.utime(run / name, ns=(1, 1))  # looked at again even where the clock is coarse
    (found,) = files.damage(run)
    assert found.startswith(f"{run / name}: ")
    assert files.damage(run) == [found]  # and again


def test_files_that_have_not_changed_are_not_looked_at_again(run, files):
    files.damage(run)
    checked = files.checked
    assert checked == 9
    files.damage(run)
    assert files.checked == checked


def test_half_written_files_claim_nothing(run, files):
    half = run / "web" / "images" / ".2.123.partial.png"
    half.write_bytes(b"half")
    assert files.damage(run) == []
    assert soak_check.leftovers(run) == [half]


def test_states_differ_where_a_bit_does():
    state = {"a": [torch.zeros(3), 1.5], "b": {"c": (1, None)}}
    other = {"a": [torch.tensor([0.0, 0.0, 1e-38]), 1.5], "b": {"c": (1, None)}}
    assert soak_check.differences(state, {**state}, "x") == []
    assert soak_check.differences(state, other, "x") == ["x/a/0"]
    assert soak_check.differences(state, {"a": state["a"], "b": {"c": (1,)}}, "x") == ["x/b/c"]


@pytest.mark.parametrize(
    ("name", "iterated", "expected"),
    [
        ("flow_cache/.flow.7.partial.npy", False, "computing flow"),
        ("demo/.latest_1.7.partial.pth", True, "saving a checkpoint"),
        ("demo/web/.index.7.partial.html", True, "pictures and page"),
        (None, True, "training"),
        (None, False, "starting"),
    ],
)
def test_what_a_kill_interrupted_is_known_by_what_it_left(soak, name, iterated, expected):
    assert soak.phase([Path(name)] if name else [], iterated) == expected


def test_lost_progress_is_noticed(soak, run, files):
    """Iterations 5 to 9 were done, so 8 should be saved, and the checkpoint is of 4."""

    class Began:
        pid = 7

        def iterations(self):
            return [5, 6, 7, 8, 9]

    save_checkpoint(run, "latest", {"networks": {}, "options": {}, "iteration": 4})
    with pytest.raises(soak.Broken, match="iteration 9 was done, 8 should be saved, and 4 is"):
        soak.look_after(Began(), run, run / "flow_cache", files, soak.Tally(saved=4))


def test_killed_run_ends_as_the_undisturbed_one(tmp_path):
    command = [sys.executable, "scripts/soak.py", "--kills=4", "--seed=1", f"--folder={tmp_path}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^4 kills in .*, to iteration \d+$", ended.stdout, re.M)
    assert ended.stdout.endswith("verdict: passed\n")
    assert list(tmp_path.iterdir()) == []
