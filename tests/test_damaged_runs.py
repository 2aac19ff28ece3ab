"""Runs whose files were damaged, or that somebody else is training, through the two programs."""

import pytest
import torch

import test as test_program
import train as train_program
from tests.damage import flip_weight
from tests.tiny_run import call, tiny_args, write_data_set
from util.checkpoint import load_checkpoint
from util.run_lock import RunLock

SCHEDULE = ["--niter=1", "--niter_decay=3", "--video_start_epoch=1", "--no_report", "--no_html"]


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("set") / "data")


def train(dataroot, checkpoints, *more, name="demo"):
    args = tiny_args(dataroot, *SCHEDULE, f"--checkpoints_dir={checkpoints}", f"--name={name}", *more)
    return call(train_program.main, *args)


def test_run_that_goes_on_from_the_one_before_ends_as_the_undisturbed_run_to_the_bit(dataroot, tmp_path):
    assert train(dataroot, tmp_path, "--max_steps=6", name="whole").code == 0
    assert train(dataroot, tmp_path, "--max_steps=5", "--save_latest_freq=2").code == 0
    latest = tmp_path / "demo" / "latest.pth"
    flip_weight(latest)
    torch.load(latest, weights_only=True)  # PyTorch alone would not notice
    outcome = call(test_program.main, f"--checkpoints_dir={tmp_path}", "--name=demo", "--gpu_ids=-1")
    assert outcome.code == 2
    assert f"error: {latest} is damaged" in outcome.err
    outcome = train(dataroot, tmp_path, "--max_steps=6", "--continue_train")
    assert outcome.code == 0, outcome.err
    assert "latest.pth is damaged (a checksum differs); going on from latest_1.pth, iteration 4\n" in outcome.err
    assert "latest.pth is damaged and was put aside as latest.damaged\n" in outcome.err
    whole, parts = (load_checkpoint(tmp_path / name / "latest.pth") for name in ("whole", "demo"))
    assert parts["iteration"] == 6
    for network, weights in whole["networks"].items():
        for key, value in weights.items():
            assert torch.equal(parts["networks"][network][key], value), (network, key)
    names = {path.name for path in latest.parent.glob("latest*")}
    assert {"latest.pth", "latest_1.pth", "latest.damaged"} <= names
    assert load_checkpoint(latest.with_name("latest_1.pth"))["iteration"] == 4


@pytest.mark.parametrize("flags", [[], ["--continue_train"], ["--overwrite"]])
def test_run_that_is_being_trained_is_not_touched(dataroot, tmp_path, flags):
    assert train(dataroot, tmp_path, "--max_steps=1").code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with RunLock(tmp_path / "demo"):
        outcome = train(dataroot, tmp_path, *flags)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: run 'demo' in {tmp_path}/ is being trained by process ")
    assert outcome.err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_averages_of_a_run_are_tested_and_exported(dataroot, tmp_path):
    assert train(dataroot, tmp_path, "--max_steps=3", "--ema=0.9").code == 0
    held = load_checkpoint(tmp_path / "demo" / "latest.pth")
    assert held["ema"].keys() == set(held["inference_networks"]) == {"net_G"}
    results = f"--results_dir={tmp_path / 'results'}"
    args = [f"--checkpoints_dir={tmp_path}", "--name=demo", "--gpu_ids=-1", results]
    assert call(test_program.main, *args, "--use_ema").code == 0
    assert call(test_program.main, *args).code == 0
    maps = [(tmp_path / "results" / "demo" / f"test_latest{end}" / "depth" / "020.png") for end in ("", "_ema")]
    assert maps[0].read_bytes() != maps[1].read_bytes()


def test_options_that_change_the_state_of_a_run_are_refused(dataroot, tmp_path):
    assert train(dataroot, tmp_path, "--max_steps=1", "--ema=0.9").code == 0
    outcome = train(dataroot, tmp_path, "--continue_train", "--max_steps=2")
    assert outcome.code == 2
    assert "was trained with --ema 0.9 (now 0.0), so how to go on with its averages is not known here" in outcome.err
    outcome = train(dataroot, tmp_path, "--continue_train", "--max_steps=2", "--ema=0.9", "--niter_decay=4")
    assert outcome.code == 0, outcome.err
    assert "options changed since the checkpoint: niter_decay 3 -> 4\n" in outcome.err
