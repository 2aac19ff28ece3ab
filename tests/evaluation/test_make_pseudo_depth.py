"""Pseudo-depth from a trained network to a training that learns from it, on a tiny set."""

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

import train as train_program
from data.clips import Clip
from data.formats import open_clips
from data.image_files import read_picture
from data.pseudo_depth import PseudoDepth, default_folder
from evaluation import make_pseudo_depth as program
from evaluation.predictor import trained_predictor
from tests.tiny_run import FRAME, call, scene, tiny_args, write_clip, write_data_set, write_png
from util.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
FRAMES = 5  # of the tiny set's clip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of runs with ``demo``, a colon2depth network with averages, and the data set it was trained on."""
    root = tmp_path_factory.mktemp("made")
    args = ["--name=demo", f"--checkpoints_dir={root / 'runs'}", "--max_steps=3", "--ema=0.5", "--no_report"]
    outcome = call(train_program.main, *tiny_args(write_data_set(root / "data"), *args, "--no_html"))
    assert outcome.code == 0, outcome.err
    return root / "runs"


@pytest.fixture
def clips(tmp_path):
    """A folder of two clips, without pseudo-depth."""
    root = tmp_path / "set" / "video_train"
    write_clip(root / "a", FRAMES)
    write_clip(root / "b", FRAMES + 1, seed=1)
    return root


def make(checkpoint, video_root, *more):
    return call(program.main, f"--checkpoint={checkpoint}", f"--video_root={video_root}", "--gpu_ids=-1", *more)


def files_of(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def assert_one_error(outcome, *words):
    assert outcome.code == 2, outcome.err
    assert len(outcome.errors) == 1, outcome.err
    assert outcome.errors[0].startswith("error: ")
    for word in words:
        assert str(word) in outcome.errors[0]


def test_files_are_what_the_network_says_of_the_frames_up_to_their_scale(runs, clips):
    outcome = make(runs / "demo", clips)
    assert outcome.code == 0, outcome.err
    folder = clips.parent / "pseudo_depth" / "video_train"
    assert folder == default_folder(clips)
    assert f"{folder}: 11 frames of 2 clips, 11 of them made now" in outcome.out
    found = open_clips(clips)
    assert set(files_of(folder)) == {Path(c.name, f"{t:04d}.png") for c in found for t in range(len(c))}
    opt = program.PseudoDepthOptions().parse([f"--checkpoint={runs / 'demo'}", f"--video_root={clips}", "--gpu_ids=-1"])
    predictor, _ = trained_predictor(opt)
    reader = PseudoDepth(folder)
    reader.require(found, clips)
    assert reader.kind == "depth"
    for clip in found:
        for index, depth in enumerate(predictor([clip.read(index, 1)[0] for index in range(len(clip))])):
            assert depth.shape == FRAME
            # Half a step of 16 bits, and the rounding of batches of other sizes.
            np.testing.assert_allclose(reader.read(clip, index), depth / depth.max(), atol=0.6 / 65535)
    assert read_picture(folder / "a" / "0000.png").dtype == np.uint16


def test_json_says_what_it_was_made_by(runs, clips):
    make(runs / "demo", clips)
    told = json.loads((default_folder(clips) / "pseudo_depth.json").read_text())
    assert (told["kind"], told["model"], told["weights"]) == ("depth", "colon2depth", "last")
    assert told["checkpoint"] == str(runs / "demo" / "latest.pth")
    assert (told["options"]["ngf"], told["options"]["load_size"]) == (4, 32)


def test_a_second_call_makes_what_is_missing_or_older_than_its_frame_and_nothing_else(runs, clips):
    make(runs / "demo", clips)
    folder = default_folder(clips)
    before = files_of(folder)
    (folder / "a" / "0003.png").unlink()
    newer = (folder / "b" / "0001.png").stat().st_mtime + 5
    os.utime(clips / "b" / "0001.png", (newer, newer))
    outcome = make(runs / "demo", clips)
    assert "11 frames of 2 clips, 2 of them made now" in outcome.out
    assert " 9/11 " in outcome.err  # the bar begins with what is there
    changed = {path for path, time in files_of(folder).items() if before[path] != time}
    assert changed == {Path("a/0003.png"), Path("b/0001.png")}


def test_a_broken_frame_ends_in_one_line_and_what_is_made_is_kept(runs, clips):
    frame = clips / "b" / "0005.png"  # in the second batch of 8
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-40])
    assert_one_error(make(runs / "demo", clips), "b/0005.png is truncated")
    kept = files_of(default_folder(clips))
    assert len(kept) == 8
    frame.write_bytes(whole)
    assert "3 of them made now" in make(runs / "demo", clips).out
    assert files_of(default_folder(clips)).items() >= kept.items()


def test_the_depth_of_two_networks_is_never_mixed(runs, clips):
    assert make(runs / "demo", clips).code == 0
    folder = default_folder(clips)
    before = files_of(folder)
    averaged = make(runs / "demo", clips, "--use_ema")
    assert_one_error(averaged, folder, "averaged weights and others", "--overwrite makes it anew, --out FOLDER keeps")
    bare = [runs / "demo" / "latest_net_G.pth", clips, "--ngf=4", "--n_downsample_global=2", "--n_blocks_global=1"]
    other = make(*bare, "--load_size=40")
    assert_one_error(other, f"{runs / 'demo' / 'latest.pth'}, not by {bare[0]} (other weights, other options)")
    assert files_of(folder) == before
    shutil.rmtree(clips / "b")
    anew = make(runs / "demo", clips, "--use_ema", "--overwrite")
    assert anew.code == 0, anew.err
    assert {path.parts[0] for path in files_of(folder)} == {"a"}  # b's would be of the network before
    assert json.loads((folder / "pseudo_depth.json").read_text())["weights"] == "averaged"


def test_the_same_weights_in_another_place_go_on(runs, clips, tmp_path):
    make(runs / "demo", clips)
    shutil.copytree(runs / "demo", tmp_path / "moved")
    assert "0 of them made now" in make(tmp_path / "moved" / "latest.pth", clips).out


def test_weights_that_do_not_fit_leave_what_was_made(runs, clips):
    make(runs / "demo", clips)
    before = files_of(default_folder(clips))
    outcome = make(runs / "demo" / "latest_net_G.pth", clips, "--ngf=8", "--overwrite")
    assert_one_error(outcome, "latest_net_G.pth", "do not fit")
    assert files_of(default_folder(clips)) == before


def test_what_another_program_has_made_is_left_alone(runs, clips):
    folder = default_folder(clips)
    write_png(folder / "a" / "0000.png", scene(0)[1])
    for told in (None, '{"kind": "inverse"}', "{"):
        if told:
            (folder / "pseudo_depth.json").write_text(told)
        assert_one_error(make(runs / "demo", clips, "--overwrite"), folder, "holds a/ and was not made by this program")
    assert set(files_of(folder)) == {Path("a/0000.png")}
    outcome = make(runs / "demo", clips, f"--out={clips.parent / 'ours'}")
    assert f"--video_root {clips} --pseudo_depth {clips.parent / 'ours'}" in outcome.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--video_root=nowhere"], ["there is no folder nowhere with clips"]),
        ([], ["--video_root is missing"]),
        (["--video_root={clips}", "--checkpoint=nowhere.pth"], ["no file of weights at nowhere.pth"]),
        (["--video_root={clips}", "--checkpoint={runs}"], ["no run 'runs' in"]),
        (["--video_root={clips}", "--which_epoch=7"], ["run 'demo' has no checkpoint '7'; it has: best, latest"]),
        (["--video_root={clips}", "--ngf=8"], ["--ngf 8 (the checkpoint has 4)"]),
        (["--video_root={clips}", "--load_size=64"], ["--load_size 64 (the checkpoint has 32)"]),
        (["--video_root={clips}", "--seg_mask=x"], ["unrecognized arguments: --seg_mask=x"]),
    ],
)
def test_mistakes_end_in_one_line(runs, clips, flags, words):
    flags = [flag.format(clips=clips, runs=runs) for flag in flags]
    outcome = call(program.main, f"--checkpoint={runs / 'demo'}", "--gpu_ids=-1", *flags)
    assert_one_error(outcome, *words)
    assert not default_folder(clips).exists()


def test_frames_that_would_share_a_file_are_named(runs, clips):
    write_png(clips / "a" / "0001.bmp", scene(0)[0])
    assert_one_error(make(runs / "demo", clips), "clip", clips / "a", "more than one frame called 0001")


def test_two_frames_side_by_side_have_a_file_each(runs, tmp_path):
    root = tmp_path / "set" / "video_train"
    rgb = scene(1)[0]
    write_png(root / "pair.png", np.concatenate([rgb, rgb[:, ::-1]], axis=1))
    assert "2 frames of 1 clips" in make(runs / "demo", root).out
    folder = default_folder(root)
    assert set(files_of(folder)) == {Path("pair/pair_0.png"), Path("pair/pair_1.png")}
    assert "0 of them made now" in make(runs / "demo", root).out
    left, right = (PseudoDepth(folder).read(open_clips(root)[0], index) for index in (0, 1))
    assert not np.array_equal(left, right)


def test_depth_of_0_everywhere_is_an_error_that_names_the_frame(tmp_path):
    clip = Clip("a", (write_png(tmp_path / "a" / "7.png", scene(0)[0]),))
    with pytest.raises(program.UserError, match=r"depth of .*a, frame 0, is 0 everywhere"):
        program.make_pseudo_depth(lambda frames: [np.zeros(FRAME, np.float32)], [clip], tmp_path / "out")


def test_checksum_is_of_all_files_that_a_name_stands_for(tmp_path):
    for network in ("depth", "pose"):
        torch.save({"w": torch.zeros(1)}, tmp_path / f"latest_net_{network}.pth")
    both = program.checksum(tmp_path / "latest_net_*.pth")
    assert both != program.checksum(tmp_path / "latest_net_depth.pth")
    torch.save({"w": torch.ones(1)}, tmp_path / "latest_net_pose.pth")
    assert program.checksum(tmp_path / "latest_net_*.pth") != both


def test_the_command_says_nothing_but_progress(runs, clips):
    command = [sys.executable, "-m", "data.pseudo_depth", "--checkpoint", runs / "demo", "--video_root", clips]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--gpu_ids=-1"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all("pseudo-depth:" in line for line in done.stderr.splitlines()), done.stderr
    assert len(files_of(default_folder(clips))) == 11


def test_sc_depth_v3_learns_from_it(runs, clips, tmp_path):
    write_data_set(tmp_path / "pairs")
    args = [f"--video_root={clips}", "--sc_version=3", "--max_steps=2", "--no_report", "--no_html", "--name=v3"]
    training = tiny_args(tmp_path / "pairs", *args, f"--checkpoints_dir={tmp_path / 'runs'}", model="sc_depth")
    missing = call(train_program.main, *training)
    assert_one_error(missing, "11 frames have no pseudo-depth", f"--video_root {clips}")
    assert make(runs / "demo", clips).code == 0
    outcome = call(train_program.main, *training)
    assert outcome.code == 0, outcome.err
    state = load_checkpoint(tmp_path / "runs" / "v3" / "latest.pth")
    assert state["iteration"] == 2
    assert Namespace(**state["options"]).video_parts == ["intrinsics", "view", "pseudo_depth"]
    assert all(torch.isfinite(weight).all() for weight in state["networks"]["net_depth"].values())
