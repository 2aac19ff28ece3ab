"""The two programs from end to end, on a data set and networks of a few pixels."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import test as test_program
import train as train_program
from data.depth_files import read_depth_mm
from evaluation.scores import References
from models.colon2depth_model import Colon2depthModel
from tests.tiny_run import FRAME, call, scene, tiny_args, write_clip, write_data_set, write_png
from util.checkpoint import load_checkpoint, saved_epochs
from util.errors import SAVED_STOP_CODE
from util.video_files import VideoWriter

ROOT = Path(__file__).parents[1]
SCHEDULE = ["--niter=1", "--niter_decay=3", "--video_start_epoch=1", "--d_every=2"]  # 3 iterations an epoch


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("set") / "data")


@pytest.fixture
def own_data(tmp_path):
    """A data set that a test may spoil."""
    return write_data_set(tmp_path / "data")


def train(dataroot, checkpoints, *more, name="demo"):
    args = tiny_args(dataroot, *SCHEDULE, f"--checkpoints_dir={checkpoints}", f"--name={name}", *more)
    return call(train_program.main, *args)


def run_test(checkpoints, *more, name="demo"):
    results = f"--results_dir={Path(checkpoints).parent / 'results'}"
    return call(test_program.main, f"--checkpoints_dir={checkpoints}", f"--name={name}", "--gpu_ids=-1", results, *more)


@pytest.fixture(scope="module")
def trained(dataroot, tmp_path_factory):
    """A finished run and how it ended: (outcome, folder of checkpoints)."""
    checkpoints = tmp_path_factory.mktemp("runs") / "checkpoints"
    freq = ["--print_freq=2", "--display_freq=6", "--save_epoch_freq=2", "--eval_epoch_freq=2"]
    return train(dataroot, checkpoints, *freq), checkpoints


def assert_one_error(outcome, *words):
    """Code 2, and a single line on stderr beside the progress, without a traceback."""
    assert outcome.code == 2, outcome.err
    assert len(outcome.errors) == 1, outcome.err
    assert outcome.errors[0].startswith("error: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert str(word) in outcome.errors[0]


# Training


def test_training_ends_with_a_report(trained):
    outcome, checkpoints = trained
    assert outcome.code == 0, outcome.err
    report = json.loads((checkpoints / "demo" / "report.json").read_text(), parse_constant=pytest.fail)
    assert set(report["test"]) == {"ours", "constant", "brightness"}
    for scores in report["test"].values():
        assert {"abs_rel", "rmse", "delta1"} <= set(scores)
        assert all(isinstance(value, float) for value in scores.values())
    assert set(report["video"]) >= {"temporal_grad", "temporal_grad_rel", "temporal_rel"}
    assert report["seconds"] > 0
    assert report["command"].startswith("train.py --model=colon2depth")
    assert report["iterations"] == 12
    assert report["versions"]["torch"] == torch.__version__
    for words in ("Test split, unaligned", "constant depth", f"--name demo --checkpoints_dir {checkpoints}"):
        assert words in outcome.out


def test_run_folder_holds_what_the_summary_names(trained):
    folder = trained[1] / "demo"
    names = {path.name for path in folder.iterdir()}
    assert {"2.pth", "4.pth", "best.pth", "latest.pth", "latest_net_G.pth", "latest_net_D.pth"} <= names
    assert {"opt.yaml", "loss_log.txt", "report.json", "web", "tensorboard"} <= names
    assert not {"1.pth", "3.pth"} & names
    assert load_checkpoint(folder / "2.pth")["iteration"] == 6
    assert load_checkpoint(folder / "latest.pth")["streams"] == {"synthetic": 12, "video": 9}
    assert (folder / "web" / "index.html").read_text().count("<article") == 2


def test_log_has_the_discriminator_on_every_line_and_the_scores(trained):
    lines = (trained[1] / "demo" / "loss_log.txt").read_text().splitlines()
    losses = [line for line in lines if line.startswith("(epoch")]
    assert len(losses) == 6
    assert all("G_GAN:" in line and "G_FM:" in line and "D_real:" in line for line in losses)
    assert ["G_video:" in line for line in losses] == [False, True, True, True, True, True]
    scores = [line for line in lines if line.startswith("eval at iteration")]
    assert [line.split(":")[0] for line in scores] == ["eval at iteration 6", "eval at iteration 12"]
    assert "abs_rel 0." in scores[0]


def test_rate_of_the_optimisers_follows_the_schedule(trained):
    states = [load_checkpoint(trained[1] / "demo" / f"{epoch}.pth")["updaters"]["G"]["optimizer"] for epoch in (2, 4)]
    assert [state["param_groups"][0]["lr"] for state in states] == pytest.approx([5e-5, 5e-5 / 3])


def test_method_is_told_the_epoch_the_iteration_and_the_passes_over_the_video(dataroot, tmp_path, monkeypatch):
    """3 triplets, one a batch, from the second epoch of 3 iterations on: a pass ends with each of its epochs."""
    seen = []

    def video_update(method, video, depth, progress):
        seen.append((progress.epoch, progress.iteration, progress.passes["video"]))
        return original(method, video, depth, progress)

    original = Colon2depthModel.video_update
    monkeypatch.setattr(Colon2depthModel, "video_update", video_update)
    assert train(dataroot, tmp_path, "--max_steps=8", "--no_report", "--no_html").code == 0
    assert seen == [(2, 4, 0), (2, 5, 0), (2, 6, 0), (3, 7, 1), (3, 8, 1)]


@pytest.mark.parametrize("workers", [0, 1])
def test_stopped_and_continued_equals_undisturbed_to_the_bit(dataroot, tmp_path, workers):
    """From the middle of an epoch in which the video stream is active."""
    more = [f"--nThreads={workers}", "--no_report", "--no_html", "--ema=0.9"]
    assert train(dataroot, tmp_path, *more, "--max_steps=7", name="whole").code == 0
    assert train(dataroot, tmp_path, *more, "--max_steps=5", name="parts").code == 0
    assert not (tmp_path / "parts" / "2.pth").exists()
    assert train(dataroot, tmp_path, *more, "--max_steps=7", "--continue_train", name="parts").code == 0
    whole, parts = (load_checkpoint(tmp_path / name / "latest.pth") for name in ("whole", "parts"))
    assert parts["streams"] == {"synthetic": 7, "video": 4}
    for part in ("networks", "ema", "updaters", "random", "streams", "iteration", "facts"):
        assert_equal(whole[part], parts[part], part)


def assert_equal(a, b, where):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f"{where}[{index}]")
    else:
        assert a == b, where


def test_run_that_ends_within_an_epoch_has_no_checkpoint_of_that_epoch(dataroot, tmp_path):
    train(dataroot, tmp_path, "--max_steps=4", "--save_epoch_freq=1", "--no_report")
    assert saved_epochs(tmp_path / "demo") == ["1", "best", "latest"]


def test_finished_run_can_be_continued_for_its_report_alone(trained, dataroot, tmp_path):
    shutil.copytree(trained[1], tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "demo" / "report.json").unlink()
    before = (tmp_path / "checkpoints" / "demo" / "latest.pth").read_bytes()
    assert train(dataroot, tmp_path / "checkpoints", "--continue_train").code == 0
    assert (tmp_path / "checkpoints" / "demo" / "report.json").is_file()
    assert (tmp_path / "checkpoints" / "demo" / "latest.pth").read_bytes() == before


def test_fine_tuning_starts_from_the_weights_of_another_run(trained, dataroot, tmp_path):
    args = ["--max_steps=1", "--lr=1e-12", "--no_report", f"--load_pretrain={trained[1] / 'demo'}"]
    assert train(dataroot, tmp_path, *args).code == 0
    ours, theirs = (load_checkpoint(run / "demo" / "latest.pth")["networks"] for run in (tmp_path, trained[1]))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


# Stopping


class StopAfter:
    """A Ctrl-C that comes during the given reading of ``requested``."""

    def __init__(self, readings):
        self.readings = readings

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    @property
    def requested(self):
        self.readings -= 1
        return self.readings < 0


def test_what_is_due_at_the_end_of_an_epoch_comes_first_when_a_run_that_was_stopped_there_goes_on(
    dataroot, tmp_path, monkeypatch
):
    often, log = ["--save_epoch_freq=1", "--eval_epoch_freq=1"], tmp_path / "demo" / "loss_log.txt"
    with monkeypatch.context() as patch:
        patch.setattr(train_program, "StopRequest", lambda **settings: StopAfter(2))
        outcome = train(dataroot, tmp_path, *often)
    assert outcome.code == SAVED_STOP_CODE
    assert "stopped: saved at iteration 3; go on with --continue_train" in outcome.err
    assert "eval at" not in log.read_text()  # who ends a job does not wait for scores
    assert saved_epochs(tmp_path / "demo") == ["latest"]
    assert train(dataroot, tmp_path, *often, "--max_steps=5", "--continue_train", "--no_report").code == 0
    assert re.findall(r"eval at iteration (\d+)", log.read_text()) == ["3", "5"]
    assert load_checkpoint(tmp_path / "demo" / "1.pth")["iteration"] == 3


def test_ctrl_c_saves_and_continue_train_goes_on(dataroot, tmp_path):
    """With loader processes, which get the signal too, as they do from a terminal."""
    args = tiny_args(dataroot, f"--checkpoints_dir={tmp_path}", "--name=demo", "--nThreads=1", "--print_freq=1")
    command = [sys.executable, "train.py", *args, "--niter=100000", "--no_report"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log, deadline = tmp_path / "demo" / "loss_log.txt", time.monotonic() + 60
    while not (log.is_file() and log.read_text().count("(epoch") > 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == SAVED_STOP_CODE, err
    assert "Traceback" not in err
    iteration = load_checkpoint(tmp_path / "demo" / "latest.pth")["iteration"]
    assert f"stopped: saved at iteration {iteration}; go on with --continue_train" in err
    more = ["--niter=100000", f"--max_steps={iteration + 2}", "--no_report", "--continue_train"]
    assert call(train_program.main, *args, *more).code == 0
    assert load_checkpoint(tmp_path / "demo" / "latest.pth")["iteration"] == iteration + 2


# Testing


def test_split_is_tested_with_references_and_a_gallery(trained, dataroot):
    outcome = run_test(trained[1])
    assert outcome.code == 0, outcome.err
    folder = trained[1].parent / "results" / "demo" / "test_latest"
    metrics = json.loads((folder / "metrics.json").read_text())
    report = json.loads((trained[1] / "demo" / "report.json").read_text())
    assert metrics["tables"]["Not aligned"] == report["test"]
    assert read_depth_mm(folder / "depth" / "020.png").shape == FRAME
    assert (folder / "index.html").read_text().count("<article") == 3
    for words in ("3 frames, 3 with a truth to score", "Not aligned", f"gallery     {folder}/index.html"):
        assert words in outcome.out


def test_clips_folders_pictures_and_videos_are_tested(trained, tmp_path):
    write_clip(tmp_path / "frames", 2)
    with VideoWriter(tmp_path / "film.avi", 10) as video:
        for number in range(3):
            video.write(scene(number)[0])
    inputs = [["--phase=video_test"], ["--input", tmp_path / "frames", "--temporal", "--save_npy"]]
    inputs += [["--input", tmp_path / "frames" / "0001.png"], ["--input", tmp_path / "film.avi"]]
    for args in inputs:
        outcome = run_test(trained[1], *args)
        assert outcome.code == 0, outcome.err
    results = trained[1].parent / "results" / "demo"
    for name, count in (("video_test", 3), ("frames", 2), ("0001", 1), ("film", 3)):
        assert json.loads((results / f"{name}_latest" / "metrics.json").read_text())["frames"] == count
    assert len(list((results / "film_latest").glob("depth.*"))) == 1
    assert np.load(results / "frames_latest" / "npy" / "0000.npy").shape == FRAME


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_bare_weights_are_tested_as_they_are(trained, dataroot, tmp_path, prefix):
    weights = torch.load(trained[1] / "demo" / "latest_net_G.pth", weights_only=True)
    (tmp_path / "checkpoints" / "released").mkdir(parents=True)
    released = {prefix + key: value for key, value in weights.items()}
    torch.save(released, tmp_path / "checkpoints" / "released" / "latest_net_G.pth")
    network = ["--ngf=4", "--n_downsample_global=2", "--n_blocks_global=1", "--loadSize=32", "--dataroot", dataroot]
    outcome = run_test(tmp_path / "checkpoints", *network, name="released")
    assert outcome.code == 0, outcome.err
    metrics = json.loads((tmp_path / "results" / "released" / "test_latest" / "metrics.json").read_text())
    report = json.loads((trained[1] / "demo" / "report.json").read_text())
    assert metrics["tables"]["Not aligned"] == {"ours": report["test"]["ours"]}


def test_broken_frame_keeps_the_results_of_before(trained, tmp_path):
    shutil.copytree(trained[1], tmp_path / "checkpoints")
    write_clip(tmp_path / "frames", 2)
    assert run_test(tmp_path / "checkpoints", "--input", tmp_path / "frames").code == 0
    truncate(tmp_path / "frames" / "0001.png")
    assert_one_error(run_test(tmp_path / "checkpoints", "--input", tmp_path / "frames"), "0001.png is truncated")
    assert [path.name for path in (tmp_path / "results" / "demo").iterdir()] == ["frames_latest"]
    assert (tmp_path / "results" / "demo" / "frames_latest" / "depth" / "0001.png").is_file()


# Mistakes of users


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def spoil_rgb_depth(root):
    write_png(root / "train_B" / "003.png", scene(3)[0])


def spoil_size(root):
    write_png(root / "train_B" / "003.png", scene(3)[1][:-2])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: truncate(root / "train_A" / "003.png"), ["train_A/003.png is truncated"]),
        (lambda root: truncate(root / "video_train" / "clip" / "0002.png"), ["clip/0002.png is truncated"]),
        (spoil_size, ["train_B/003.png is 34x44 pixels, its frame 36x44", "--no_check"]),
        (spoil_rgb_depth, ["train_B/003.png is a colour picture"]),
        (lambda root: (root / "train_B" / "003.png").unlink(), ["1 frames", "have no depth map", "train_A/003.png"]),
        (lambda root: (root / "eval_A" / "010.png").unlink(), ["eval_B/010.png"]),
        (lambda root: (root / "test_B" / "020.png").unlink(), ["test_A/020.png"]),
        (lambda root: shutil.rmtree(root / "train_B"), ["there is no folder", "train_B"]),
        (lambda root: shutil.rmtree(root), ["there is no data set", "data"]),
    ],
    ids=["frame", "clip", "size", "colour", "orphan", "eval orphan", "test orphan", "no depth", "no data"],
)
def test_wrong_data_ends_in_one_line_before_a_run_is_made(own_data, tmp_path, spoil, words):
    spoil(own_data)
    assert_one_error(train(own_data, tmp_path / "checkpoints"), *words)
    assert not (tmp_path / "checkpoints").exists()


def test_broken_file_met_by_a_loader_process_ends_in_one_line(own_data, tmp_path, monkeypatch):
    fitted = References(90.0, 60.0)  # fitting reads all files of a small set
    monkeypatch.setattr(References, "fit", lambda dataset, skip_bad=False: fitted)
    truncate(own_data / "train_A" / "003.png")
    outcome = train(own_data, tmp_path, "--nThreads=1", "--no_report", "--no_check")
    assert_one_error(outcome, f"error: {own_data}/train_A/003.png is truncated")


def test_overwrite_keeps_the_run_when_the_new_one_cannot_begin(trained, tmp_path):
    shutil.copytree(trained[1], tmp_path / "checkpoints")
    assert_one_error(train(tmp_path / "missing", tmp_path / "checkpoints", "--overwrite"), "there is no data set")
    assert (tmp_path / "checkpoints" / "demo" / "latest.pth").is_file()


def test_folder_of_a_run_is_not_reused_unasked(trained, dataroot):
    assert_one_error(train(dataroot, trained[1]), "already holds a run (2, 4, best, latest, latest_1)", "--overwrite")


def test_continuing_what_cannot_be_continued(trained, dataroot, tmp_path):
    outcome = train(dataroot, tmp_path / "none", "--continue_train")
    assert_one_error(outcome, "--continue_train: there is no checkpoint in")
    assert not (tmp_path / "none").exists()
    options = (trained[1] / "demo" / "opt.yaml").read_text()
    for args, words in (
        (["--which_epoch=3"], ["run 'demo' has no checkpoint '3'; it has: 2, 4, best, latest"]),
        (
            ["--ngf=8"],
            ["latest.pth (net_G)", "model.1.weight is (4, 3, 7, 7) in the file, (8, 3, 7, 7) here"],
        ),
        (["--batchSize=3"], ["trained with --batch_size 2 (now 3)", "--load_pretrain"]),
    ):
        assert_one_error(train(dataroot, trained[1], "--continue_train", *args), *words)
    assert (trained[1] / "demo" / "opt.yaml").read_text() == options


@pytest.mark.parametrize("program", ["train", "test"])
def test_damaged_checkpoint_is_named(trained, dataroot, tmp_path, program):
    shutil.copytree(trained[1], tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "demo" / "latest_1.pth").unlink()  # with it the run would go on
    for content, words in (
        ((trained[1] / "demo" / "latest.pth").read_bytes()[:5000], "is no PyTorch file of weights, is damaged"),
        (b"hello", "is no PyTorch file of weights, is damaged"),
        ((trained[1] / "demo" / "latest_net_G.pth").read_bytes(), "is no checkpoint of a run"),
    ):
        (tmp_path / "checkpoints" / "demo" / "latest.pth").write_bytes(content)
        run = train(dataroot, tmp_path / "checkpoints", "--continue_train") if program == "train" else None
        outcome = run or run_test(tmp_path / "checkpoints")
        assert outcome.code == 2
        assert f"latest.pth {words}" in outcome.err
        assert len(outcome.errors) == 1


def test_mistakes_in_testing_end_in_one_line(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    for args, words in (
        (["--name=frist"], ["no run 'frist'", "runs there: demo"]),
        (["--which_epoch=7"], ["has no checkpoint '7'; it has: 2, 4, best, latest"]),
        (["--ngf=8"], ["--ngf 8 (the checkpoint has 4)"]),
        (["--loadSize=64"], ["--load_size 64 (the checkpoint has 32)"]),
        (["--input", tmp_path / "empty"], ["no frames in"]),
        (["--input", tmp_path / "none"], ["there is no such file or folder"]),
        (["--save_ply"], ["points need a pinhole camera"]),
        (["--phase=validation"], ["no folder", "validation_A"]),
    ):
        outcome = run_test(trained[1], *args)
        assert_one_error(outcome, *words)


def test_weights_of_another_architecture_say_what_differs_and_which_option_fits(trained, dataroot):
    bare = trained[1] / "demo" / "latest_net_G.pth"
    network = ["--ngf=4", "--n_downsample_global=2", "--n_blocks_global=2", "--dataroot", dataroot]
    outcome = run_test(trained[1], "--checkpoint", bare, *network)
    assert_one_error(outcome, "latest_net_G.pth", "missing from the file", "--n_blocks_global 1, here it is 2")


def test_set_in_its_published_layout_is_trained_scored_and_tested(dataroot, tmp_path):
    """Three camera paths of UCL: one to learn from, one to score on meanwhile, one for testing."""
    for path, first in ((1, 0), (2, 10), (3, 20)):
        for number in range(3):
            rgb, stored = scene(first + number)
            name = f"T1_L1_{path}_resized_{{}}_{number:04d}.png"
            write_png(tmp_path / "ucl" / name.format("FrameBuffer"), rgb)
            write_png(tmp_path / "ucl" / name.format("Depth"), stored)
    video = f"--video_root={dataroot / 'video_train'}"
    outcome = train(tmp_path / "ucl", tmp_path / "checkpoints", "--dataset=ucl", video, "--max_steps=3")
    assert outcome.code == 0, outcome.err
    assert "eval at iteration 3" in outcome.err
    tested = run_test(tmp_path / "checkpoints")
    assert tested.code == 0, tested.err
    assert "3 frames, 3 with a truth to score" in tested.out
    (metrics,) = (tmp_path / "results").rglob("metrics.json")
    assert [row["name"] for row in json.loads(metrics.read_text())["per_image"]] == [
        f"T1_L1_3_resized_FrameBuffer_{number:04d}" for number in range(3)
    ]
