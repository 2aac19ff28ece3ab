"""Made-up SfM on disk, and frames of it in a test beside their dense truth."""

from argparse import Namespace

import numpy as np
import pytest

from data import simulate_sfm
from data.phantom.prepare import make_up_sfm
from data.sfm import simulated_split
from data.sfm.find import open_sfm_clips
from data.sfm.simulate import Simulation
from data.sfm.simulated_split import sfm_split, splits_with_truth, write_split
from evaluation.sfm_source import sfm_source
from tests.data.sfm.truth_clip import VIEWS, wall_depth, write_truth_clip
from tests.tiny_run import call
from util.errors import UserError

EXACT = Simulation(points=60, noise=0.0, outliers=0.0)


def test_a_split_is_written_beside_its_clips_and_read_back(tmp_path):
    write_truth_clip(tmp_path)
    assert splits_with_truth(tmp_path) == ["video_train"]
    out = sfm_split(tmp_path, "video_train")
    assert write_split(tmp_path, "video_train", out, EXACT) == 1
    clip = open_sfm_clips(tmp_path / "sfm_train")["a"]
    assert len(clip) == VIEWS
    assert [file.name for file in clip.frames] == [f"{view:06d}.png" for view in range(VIEWS)]
    assert 10 < len(clip.points) <= EXACT.points


def test_frames_of_such_clips_come_with_points_and_dense_truth(tmp_path):
    write_truth_clip(tmp_path)
    write_split(tmp_path, "video_train", sfm_split(tmp_path, "video_train"), EXACT)
    source = sfm_source(Namespace(sfm_root=None, dataroot=tmp_path, max_gap=30), "train")
    frames = list(source.frames())
    assert source.count == len(frames) == VIEWS
    np.testing.assert_allclose(frames[0].gt_mm, wall_depth(0.0), atol=0.01)
    sparse = frames[3].sparse
    ratios = frames[3].gt_mm[tuple(sparse.pixels.T)] / sparse.depth
    np.testing.assert_allclose(ratios, np.median(ratios), rtol=0.01)


def test_what_is_there_is_not_overwritten_and_nothing_half_made_stays(tmp_path):
    write_truth_clip(tmp_path)
    theirs = tmp_path / "sfm_train" / "theirs"
    theirs.parent.mkdir()
    theirs.touch()
    with pytest.raises(UserError, match="sfm_train exists and is not empty"):
        write_split(tmp_path, "video_train", tmp_path / "sfm_train", EXACT)
    theirs.unlink()
    theirs.parent.rmdir()
    (tmp_path / "truth" / "video_train" / "a" / "poses.json").unlink()
    with pytest.raises(UserError, match="has no poses"):
        write_split(tmp_path, "video_train", tmp_path / "sfm_train", EXACT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["truth", "video_train"]


def test_of_two_that_make_it_up_at_once_the_second_takes_what_the_first_made(tmp_path, monkeypatch, capsys):
    write_truth_clip(tmp_path)
    out = tmp_path / "sfm_train"

    def made_by_another(folder, *_):
        folder.mkdir(parents=True)
        out.mkdir()
        (out / "theirs").touch()

    monkeypatch.setattr(simulated_split, "_write_clip", made_by_another)
    make_up_sfm(tmp_path)
    assert "another training has made up" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["theirs"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sfm_train", "truth", "video_train"]


def test_the_command_says_what_it_wrote(tmp_path):
    write_truth_clip(tmp_path)
    outcome = call(simulate_sfm.main, tmp_path, "--points=50")
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'sfm_train'}: 1 clips\n")


def test_a_folder_without_true_clips_is_an_error(tmp_path):
    outcome = call(simulate_sfm.main, tmp_path)
    assert outcome.code == 2
    assert "has no video_<phase> with truth" in outcome.errors[0]
