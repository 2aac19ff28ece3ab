"""SC-Depth through the two programs, on a data set of a few pixels: versions, resume, validation, what is written."""

import json
import shutil

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

import test as test_program
import train as train_program
from tests.test_train_and_test import assert_equal, assert_one_error
from tests.tiny_run import call, tiny_args, write_data_set
from util.checkpoint import load_checkpoint

STATE = ("networks", "ema", "updaters", "random", "streams", "iteration")


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    """With a camera and poses for the clip that is tested on."""
    root = write_data_set(tmp_path_factory.mktemp("set") / "data")
    camera = {"width": 44, "height": 36, "fx": 30.0, "fy": 30.0, "cx": 21.5, "cy": 17.5}
    for split in ("video_train", "video_test"):
        (root / split / "clip" / "intrinsics.json").write_text(json.dumps(camera))
    return root


@pytest.fixture(scope="module")
def video_only(dataroot, tmp_path_factory):
    """Nothing to be judged by: checkpoints are large, and here is none called best."""
    root = tmp_path_factory.mktemp("video") / "data"
    for folder in ("video_train", "pseudo_depth"):
        shutil.copytree(dataroot / folder, root / folder)
    return root


def train(dataroot, checkpoints, *more):
    args = tiny_args(dataroot, "--epoch_size=2", "--niter=2", f"--checkpoints_dir={checkpoints}", model="sc_depth")
    return call(train_program.main, *args, "--name=demo", *more)


@pytest.fixture(scope="module")
def trained(dataroot, tmp_path_factory):
    """How a training of V1 ended, and the folder of its checkpoints."""
    checkpoints = tmp_path_factory.mktemp("runs") / "checkpoints"
    return train(dataroot, checkpoints, "--print_freq=2", "--display_freq=4", "--eval_epoch_freq=1"), checkpoints


def test_training_writes_a_report_without_mm_before_an_alignment(trained):
    outcome, checkpoints = trained
    assert outcome.code == 0, outcome.err
    report = json.loads((checkpoints / "demo" / "report.json").read_text())
    assert report["test"] is None
    assert set(report["test_median"]) == {"ours", "constant", "brightness"}
    assert report["iterations"] == 4
    assert "median-scaled" in outcome.out
    assert "unaligned" not in outcome.out


def test_best_is_chosen_by_median_scaled_depth(trained):
    _, checkpoints = trained
    best = load_checkpoint(checkpoints / "demo" / "best.pth")["best"]
    assert set(best) == {"abs_rel"}
    assert 0 < best["abs_rel"] < 5


def test_flow_is_not_computed(trained, dataroot):
    assert not (dataroot / "flow_cache").exists()


def test_training_page_shows_frames_masks_and_depth(trained):
    _, checkpoints = trained
    page = (checkpoints / "demo" / "web" / "index.html").read_text()
    for caption in ("frame", "warped neighbour", "prediction", "seen", "in view", "kept", "disagreement"):
        assert caption in page


def test_depth_files_of_a_test_claim_no_mm(trained, dataroot, tmp_path):
    _, checkpoints = trained
    args = [f"--checkpoints_dir={checkpoints}", "--name=demo", "--gpu_ids=-1", f"--results_dir={tmp_path}"]
    outcome = call(test_program.main, *args, "--input", dataroot / "video_test" / "clip", "--temporal")
    assert outcome.code == 0, outcome.err
    facts = json.loads((tmp_path / "demo" / "clip_latest" / "depth" / "depth.json").read_text())
    assert facts["relative"] is True
    assert " mm" not in outcome.out


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_stopped_run_goes_on_to_the_bit(version, video_only, tmp_path):
    """Random rotations and pairs of points are drawn anew in each iteration."""
    flags = [f"--sc_version={version}", "--learn_intrinsics", "--no_report", "--no_html", "--keep_last=1"]
    assert train(video_only, tmp_path / "whole", *flags, "--max_steps=2").code == 0
    assert train(video_only, tmp_path / "parts", *flags, "--max_steps=1").code == 0
    assert train(video_only, tmp_path / "parts", *flags, "--max_steps=2", "--continue_train").code == 0
    whole, parts = (load_checkpoint(tmp_path / name / "demo" / "latest.pth") for name in ("whole", "parts"))
    for part in STATE:
        assert_equal(whole[part], parts[part], part)


@pytest.mark.parametrize("changed", ["--learn_intrinsics", "--sc_version=2"])
def test_a_run_cannot_go_on_with_other_networks(changed, video_only, tmp_path):
    assert train(video_only, tmp_path, "--max_steps=1", "--no_report").code == 0
    outcome = train(video_only, tmp_path, "--continue_train", changed)
    assert_one_error(outcome, "has the networks net_depth, net_pose", "--load_pretrain")


def test_photometric_validation_needs_no_depth(tmp_path):
    root = write_data_set(tmp_path / "data")
    for folder in ("train_A", "train_B", "eval_A", "eval_B", "test_A", "test_B", "pseudo_depth", "video_test"):
        shutil.rmtree(root / folder)
    (root / "video_train").rename(root / "video_eval")
    shutil.copytree(root / "video_eval", root / "video_train")
    outcome = train(root, tmp_path / "runs", "--val_mode=photo", "--eval_epoch_freq=1")
    assert outcome.code == 0, outcome.err
    best = load_checkpoint(tmp_path / "runs" / "demo" / "best.pth")["best"]
    assert set(best) == {"total"}
    assert "photo" in outcome.err


def test_photometric_validation_without_clips_is_an_error_that_says_what_to_give(dataroot, tmp_path):
    assert_one_error(train(dataroot, tmp_path, "--val_mode=photo"), "video_eval", "--val_video_root")


def test_v3_without_pseudo_depth_is_an_error_that_says_how_to_make_it(dataroot, tmp_path):
    outcome = train(dataroot, tmp_path, "--sc_version=3", f"--pseudo_depth={tmp_path}")
    assert_one_error(outcome, "have no pseudo-depth", "python -m data.pseudo_depth")


def test_encoder_weights_that_are_not_there_are_an_error(dataroot, tmp_path):
    assert_one_error(train(dataroot, tmp_path, f"--encoder_weights={tmp_path / 'no.pth'}"), "no.pth")


def test_encoder_weights_of_a_file_begin_all_encoders_of_that_size(video_only, tmp_path):
    torch.manual_seed(5)
    weights = resnet18().state_dict()
    torch.save(weights, tmp_path / "resnet18.pth")
    flags = [f"--encoder_weights={tmp_path / 'resnet18.pth'}", "--lr=1e-12", "--max_steps=1", "--no_report"]
    assert train(video_only, tmp_path, *flags).code == 0
    networks = load_checkpoint(tmp_path / "demo" / "latest.pth")["networks"]
    key = "layer2.0.conv1.weight"
    for name in ("net_depth", "net_pose"):
        np.testing.assert_allclose(networks[name][f"encoder.{key}"], weights[key], atol=1e-6)
    first = networks["net_pose"]["encoder.conv1.weight"]
    np.testing.assert_allclose(first, weights["conv1.weight"].repeat(1, 2, 1, 1) / 2, atol=1e-6)
