"""SC-Depth's trained networks, tested from end to end by whatever file they come in."""

import json
import runpy
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch

import test as test_program
from models.networks.sc_depth_weights import ours_from_published
from options.base_options import to_plain
from tests.evaluation.moving_camera import spiral, write_moving_clip
from tests.models.networks.slow_sc_depth import random_weights
from tests.tiny_run import call, tiny_options, write_clip
from util.checkpoint import save_checkpoint

ROOT = Path(__file__).parents[1]
PUBLISHED = ("depth_net", "pose_net")
PATHS = "Camera path, aligned by one similarity a clip"


@pytest.fixture(scope="module")
def published():
    """Weights by network, in the published names."""
    return {name: random_weights(name, seed) for seed, name in enumerate(PUBLISHED)}


@pytest.fixture(scope="module")
def lightning(published, tmp_path_factory):
    """A file as Lightning writes it, with the options of its project."""
    file = tmp_path_factory.mktemp("published") / "kitti_scv1" / "epoch=99-val_loss=0.1411.ckpt"
    file.parent.mkdir()
    state = {f"{name}.{key}": value for name, weights in published.items() for key, value in weights.items()}
    hparams = Namespace(resnet_layers=18, batch_size=4, seed=7, model_version="v1")
    content = {"epoch": 99, "state_dict": state, "hyper_parameters": {"hparams": hparams}, "hparams_name": "kwargs"}
    torch.save(content, file)
    return file


@pytest.fixture(scope="module")
def run(published, tmp_path_factory):
    """The folder of runs with ``demo``, which has these weights, and clips with poses to test on."""
    root = tmp_path_factory.mktemp("run")
    write_moving_clip(root / "data", spiral(4))
    opt = tiny_options("--name=demo", model="sc_depth", dataroot=root / "data")
    state = {"model": "sc_depth", "options": to_plain(opt), "networks": ours_from_published(published)}
    state |= {"inference_networks": ["net_depth", "net_pose"], "facts": {}, "ema": {}, "iteration": 3}
    save_checkpoint(root / "runs" / "demo", "latest", state)
    return root / "runs"


@pytest.fixture
def run_test(run, tmp_path):
    """Test, and give back the folder of the results, the metrics and float32 depth by frame."""

    def run_test(*args, where="results"):
        outcome = call(test_program.main, "--gpu_ids=-1", f"--results_dir={tmp_path / where}", "--save_npy", *args)
        assert outcome.code == 0, outcome.err
        (metrics,) = (tmp_path / where).rglob("metrics.json")
        depths = {path.name: path.read_bytes() for path in metrics.parent.rglob("npy/**/*.npy")}
        told = json.loads(metrics.read_text())
        assert told.pop("checkpoint")
        return str(metrics.parent.relative_to(tmp_path / where)), told, depths

    return run_test


@pytest.fixture
def of_the_run(run, run_test):
    """What the run itself gives on its clips."""
    folder, metrics, depths = run_test(f"--checkpoints_dir={run}", "--name=demo", "--phase=video_test", where="run")
    assert folder == "demo/video_test_latest"
    assert len(depths) == 4
    assert metrics["tables"][PATHS]["ours"]["ate_mm"] > 0
    return metrics, depths


def test_exported_file_tests_to_the_bit_as_the_run(run, run_test, of_the_run, tmp_path):
    file = tmp_path / "sc.safetensors"
    export = runpy.run_path(str(ROOT / "scripts" / "export_weights.py"))["main"]
    outcome = call(export, "--name=demo", f"--checkpoints_dir={run}", "--out", file)
    assert "net_depth, net_pose of latest.pth" in outcome.out
    folder, metrics, depths = run_test("--checkpoint", file, "--phase=video_test")
    assert folder == "sc/video_test_exported"
    assert (metrics, depths) == of_the_run


def test_folder_and_file_of_a_run_are_tested_under_its_name(run, run_test, of_the_run):
    for where, checkpoint in (("folder", run / "demo"), ("file", run / "demo" / "latest.pth")):
        folder, metrics, depths = run_test(f"--checkpoint={checkpoint}", "--phase=video_test", where=where)
        assert folder == "demo/video_test_latest"
        assert (metrics, depths) == of_the_run


def test_lightning_file_gives_the_depth_and_the_path_of_its_weights(run, run_test, of_the_run, lightning):
    flags = ["--model=sc_depth", "--load_size=32", f"--dataroot={run.parent / 'data'}", "--phase=video_test"]
    folder, metrics, depths = run_test("--checkpoint", lightning, *flags)
    assert folder == "epoch=99-val_loss=0.1411/video_test_lightning"
    assert (metrics, depths) == of_the_run


def test_lightning_file_is_tested_on_a_folder_of_frames(run_test, lightning, tmp_path):
    write_clip(tmp_path / "frames", 3)
    flags = ["--model=sc_depth", "--load_size=96", "--input", tmp_path / "frames"]
    folder, metrics, depths = run_test("--checkpoint", lightning, *flags)
    assert (Path(folder).name, metrics["frames"], len(depths)) == ("frames_lightning", 3, 3)


def test_bare_weights_of_all_networks_are_found_by_the_name_of_their_run(run, run_test, of_the_run, tmp_path):
    released = tmp_path / "runs" / "released"
    released.mkdir(parents=True)
    flags = [f"--checkpoints_dir={released.parent}", "--name=released", "--model=sc_depth", "--load_size=32"]
    flags += [f"--dataroot={run.parent / 'data'}", "--phase=video_test"]
    shutil.copy(run / "demo" / "latest_net_depth.pth", released)
    folder, metrics, depths = run_test(*flags, where="alone")
    assert folder == "released/video_test_latest"
    assert depths == of_the_run[1]
    assert PATHS not in metrics["tables"]
    shutil.copy(run / "demo" / "latest_net_pose.pth", released)
    _, metrics, depths = run_test(*flags, where="both")
    assert (metrics, depths) == of_the_run


def test_weights_without_options_that_do_not_fit_say_what_would(lightning, tmp_path):
    flags = [f"--checkpoint={lightning}", f"--input={tmp_path}", "--gpu_ids=-1"]
    write_clip(tmp_path, 1)
    for more, words in (
        (["--model=sc_depth", "--resnet_layers=50"], "fits --resnet_layers 18, here it is 50"),
        (["--model=sc_depth", "--use_ema"], "holds no averaged weights"),
        (["--model=sc_depth", "--load_size=0"], "--load_size 0: must be at least 1"),
        ([], "holds depth_net, pose_net, but the method has net_G"),
    ):
        outcome = call(test_program.main, *flags, *more)
        assert (outcome.code, len(outcome.errors)) == (2, 1), outcome.err
        assert words in outcome.errors[0]
