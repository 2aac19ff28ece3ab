"""``train.py`` and ``test.py`` of sfm_depth as a user runs them, on clips of a few frames."""

import json

import numpy as np
import pytest
import trimesh

import test as test_program
import train as train_program
from data.phantom.writer import write_flow
from tests.data.sfm.tiny_clip import SIZE
from tests.data.sfm.truth_clip import write_truth_clip
from tests.tiny_run import TINY_DATA, TINY_NETWORKS, call, write_data_set, write_sfm_clip

SHORT = ["--niter=1", "--epoch_size=2", "--min_gap=2", "--max_gap=3", "--print_freq=1"]
FLAGS = ["--model=sfm_depth", *TINY_DATA, *TINY_NETWORKS["sfm_depth"], *SHORT]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_of_one_clip_is_cut_trained_on_and_tested_on_its_last_part(here):
    write_sfm_clip(here / "clip")
    trained = call(train_program.main, *FLAGS, "--name=a", "--sfm_root=clip")
    assert trained.code == 0, trained.err
    assert "sfm_test: at the points of structure from motion, median-scaled" in trained.out
    report = json.loads((here / "checkpoints" / "a" / "report.json").read_text())
    assert report["sfm_sparse"].keys() == {"ours", "constant", "smooth_brightness"}
    assert report["test"] is report["video"] is None

    tested = call(test_program.main, "--name=a", "--gpu_ids=-1", "--save_ply", "--flow=dis")
    assert tested.code == 0, tested.err
    folder = here / "results" / "a" / "sfm_test_latest"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["frames"] == 2  # a fifth of eight
    assert metrics["input"] == "clip"
    ours = metrics["tables"]["At the points of structure from motion, median-scaled"]["ours"]
    assert ours["abs_rel"] == pytest.approx(report["sfm_sparse"]["ours"]["abs_rel"], rel=1e-4)
    assert len(list(folder.rglob("*.ply"))) == 2
    assert len(list(folder.rglob("*_sfm_points.png"))) == 2


def test_a_data_set_with_truth_is_scored_against_it_and_against_its_points(here):
    dataroot = write_data_set(here / "data")
    trained = call(train_program.main, *FLAGS, "--name=a", f"--dataroot={dataroot}")
    assert trained.code == 0, trained.err
    report = json.loads((here / "checkpoints" / "a" / "report.json").read_text())
    assert report["test"] is None  # nothing in mm
    assert {"ours", "constant"} <= report["test_median"].keys()
    assert report["sfm_sparse"]["ours"]["num_points"] > 0
    tested = call(test_program.main, "--name=a", "--gpu_ids=-1", "--phase=sfm_test", "--flow=dis")
    assert tested.code == 0, tested.err


def test_an_eval_split_gives_a_best_checkpoint(here):
    write_sfm_clip(here / "clip")
    (here / "clip" / "splits").mkdir()
    for phase, frames in (("train", "100-103"), ("eval", "104-107")):
        (here / "clip" / "splits" / f"{phase}.txt").write_text(f"clip {frames}\n")
    trained = call(train_program.main, *FLAGS, "--name=a", "--sfm_root=clip", "--eval_epoch_freq=1", "--no_report")
    assert trained.code == 0, trained.err
    assert (here / "checkpoints" / "a" / "best.pth").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sfm_root=nowhere"], "there is no folder nowhere with clips"),
        (["--sfm_root=clip", "--max_gap=7"], "use a smaller --max_gap"),
        (["--sfm_root=."], "clip lacks structure.ply"),
    ],
)
def test_what_is_missing_is_said_in_one_line(here, flags, message):
    write_sfm_clip(here / "clip")
    if flags == ["--sfm_root=."]:
        (here / "clip" / "structure.ply").unlink()
    outcome = call(train_program.main, *FLAGS, "--name=a", *flags)
    assert outcome.code == 2
    assert len(outcome.errors) == 1
    assert message in outcome.errors[0]


def test_testing_a_split_that_the_clips_do_not_have_is_an_error(here):
    write_sfm_clip(here / "clip")
    assert call(train_program.main, *FLAGS, "--name=a", "--sfm_root=clip", "--no_report").code == 0
    outcome = call(test_program.main, "--name=a", "--gpu_ids=-1", "--phase=sfm_eval")
    assert outcome.code == 2
    assert "has no clip for the split eval" in outcome.errors[0]


def write_wall(file):
    """The wall of ``truth_clip`` [mm], with bumps far from what is seen, so that its size is known."""
    x, y = np.meshgrid(np.linspace(-400, 600, 41), np.linspace(-400, 400, 33))
    far = np.maximum(np.abs(x - 45), np.abs(y)) > 280
    z = 200 + 0.2 * x + far * 5 * np.sin(x / 15) * np.cos(y / 15)
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    trimesh.Trimesh(np.stack([x, y, z], -1).reshape(-1, 3), faces, process=False).export(file)


def test_clouds_of_frames_are_registered_to_the_surface_of_their_clip(here):
    write_sfm_clip(here / "clip")
    assert call(train_program.main, *FLAGS, "--name=a", "--sfm_root=clip", "--no_report").code == 0
    _, truth = write_truth_clip(here / "data")
    seen = np.ones(SIZE, bool)
    for stem in truth.stems[:-1]:
        write_flow(truth.folder / "flow_fwd" / f"{stem}.png", np.zeros((*SIZE, 2)), seen, seen)
    (here / "surfaces").mkdir()
    write_wall(here / "surfaces" / "a.ply")
    flags = ["--name=a", "--gpu_ids=-1", "--phase=video_train", "--dataroot=data", "--flow=dis", "--how_many=1"]
    tested = call(test_program.main, *flags, "--protocol=registration", "--surface=surfaces/{clip}.ply")
    assert tested.code == 0, tested.err
    folder = here / "results" / "a" / "video_train_latest"
    table = json.loads((folder / "metrics.json").read_text())["tables"][
        "Registered to the surface, by one similarity a frame"
    ]
    assert {"ours", "truth", "constant"} <= table.keys()
    assert table["truth"]["residual_mm"] < 0.1
    assert len(list((folder / "registration").rglob("*_residual.ply"))) == 1
    assert len(list((folder / "registration").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--protocol=registration"], "--protocol registration and --surface belong together"),
        (["--surface=wall.ply"], "--protocol registration and --surface belong together"),
        (["--protocol=registration", "--surface=nowhere.ply"], "nowhere.ply"),
    ],
)
def test_a_registration_without_a_surface_is_an_error(here, flags, message):
    write_sfm_clip(here / "clip")
    assert call(train_program.main, *FLAGS, "--name=a", "--sfm_root=clip", "--no_report").code == 0
    outcome = call(test_program.main, "--name=a", "--gpu_ids=-1", *flags)
    assert outcome.code == 2
    assert message in outcome.errors[0]
