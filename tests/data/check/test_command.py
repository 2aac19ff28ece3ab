"""``python -m data.check``: a good set has no fault, and of a bad one every fault is listed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.check import main
from util.errors import UserError


@pytest.fixture
def run(tmp_path, capsys):
    """Check a folder; returns the code, the lines that are printed and the report."""

    def run(folder, *more):
        code = main([str(folder), f"--out={tmp_path / 'out'}", *map(str, more)])
        return code, capsys.readouterr().out.splitlines(), json.loads((tmp_path / "out" / "report.json").read_text())

    return run


def test_a_good_set_is_summed_up_without_a_fault(tiny_set, save, run):
    flat = np.tile(np.arange(28) * 7 + 66, (20, 1))
    save(tiny_set / "test_B" / "0000.png", flat)
    save(tiny_set / "test_B" / "0001.png", np.where(np.arange(20)[:, None] < 10, flat, 0))
    code, lines, report = run(tiny_set)
    assert code == 0
    eval_line, test_line, train_line, video_line, faults, *_ = lines
    assert eval_line.split()[:4] == ["eval", "2", "pairs", "20x28"]
    assert test_line.endswith("20x28        51.8 to 200.0 mm, median 125.9, 25.00% invalid")
    assert train_line.split()[:3] == ["train", "6", "pairs"]
    assert video_line.split() == ["video_train", "9", "frames", "20x28"]
    assert faults == "no faults"
    assert lines[-1].startswith("report  ")
    assert (report["faults"], report["dataset"]) == (0, "folder")
    assert [summary["name"] for summary in report["summaries"]] == ["eval", "test", "train", "video_train"]
    assert sum(report["summaries"][1]["histogram"]) == 20 * 28 * 1.5


def test_every_fault_of_a_bad_set_is_listed_at_once(tiny_set, save, run):
    A, B, video = tiny_set / "train_A", tiny_set / "train_B", tiny_set / "video_train"
    (A / "0000.png").write_bytes((A / "0000.png").read_bytes()[:-40])
    (B / "0001.png").write_bytes(b"")
    save(B / "0002.png", np.ones((28, 20)))
    save(B / "0003.png", np.zeros((20, 28)))
    (B / "0004.png").unlink()
    save(B / "0099.png", np.ones((20, 28)))
    save(B / "0005.png", np.arange(560).reshape(20, 28), np.uint16)
    (tiny_set / "eval_B").rename(tiny_set / "eval_elsewhere")
    save(tiny_set / "test_A" / "0000.png", np.ones((20, 28, 3)))
    save(tiny_set / "test_B" / "0000.png", np.random.default_rng(0).integers(0, 255, (20, 28, 3)))
    (video / "film.mp4").touch()
    (video / "first" / "0002.png").write_bytes(b"no picture")
    save(video / "second" / "0003.png", np.ones((20, 30, 3)))
    save(video / "third" / "0000.png", np.ones((20, 28, 3)))
    save(video / "lonely.png", np.ones((20, 28, 3)))
    (video / "third" / "intrinsics.json").write_text('{"model": "opencv_fisheye"}')

    code, lines, report = run(tiny_set)
    assert code == 1
    faults = lines[lines.index("15 faults") + 1 :]
    expected = [
        (A / "0000.png", "is truncated"),
        (B / "0001.png", "cannot be read as a picture (0 bytes)"),
        (B / "0002.png", "is 28x20 pixels, its frame 20x28"),
        (B / "0003.png", "has no valid pixel"),
        (A / "0004.png", "has no depth map"),
        (B / "0099.png", "has no frame"),
        (B / "0005.png", "has 16 bits and no depth.json"),
        (tiny_set / "eval_B", "there is no folder"),
        (tiny_set / "test_B" / "0000.png", "is a colour picture"),
        (video / "film.mp4", "data.prepare_video"),
        (video / "first" / "0002.png", "cannot be read as a picture"),
        (video / "second", "differ in size: 20x28, 20x30"),
        (video / "third", "has 1 frame, at least 2 are needed"),
        (video / "third" / "intrinsics.json", "opencv_fisheye"),
        (video / "lonely.png", "does not hold two frames side by side"),
    ]
    for path, what in expected:
        assert [fault for fault in faults if str(path) in fault and what in fault], (path, what)
    assert (len(expected), report["faults"]) == (15, 15)


def test_one_folder_of_frames_and_depth_is_checked_too(tmp_path, save, run):
    save(tmp_path / "set" / "FrameBuffer_1.png", np.ones((4, 5, 3)))
    save(tmp_path / "set" / "Depth_1.png", np.arange(20).reshape(4, 5) * 1000 + 46280, np.uint16)
    code, lines, _ = run(tmp_path / "set", "--depth_format", "simcol3d")
    assert code == 0
    assert "141.8 to 200.0 mm, median 170.9, 0.00% invalid" in lines[0]
    assert run(tmp_path / "set")[0] == 1


def test_another_format_is_checked_by_its_name(tmp_path, save, run):
    for path in (1, 2, 3):
        rng = np.random.default_rng(path)
        depth = rng.integers(30, 256, (9, 9))
        save(
            tmp_path / "ucl" / f"T1_L1_{path}_resized_FrameBuffer_0.png",
            rng.random((9, 9, 3)) * 255,
        )
        save(tmp_path / "ucl" / f"T1_L1_{path}_resized_Depth_0.png", depth)
    code, lines, report = run(tmp_path / "ucl", "--dataset=ucl")
    assert (code, report["dataset"]) == (0, "ucl")
    assert [line.split()[:2] for line in lines[:3]] == [["train", "1"], ["eval", "1"], ["test", "1"]]


def test_a_folder_that_is_no_data_set_is_told_apart_from_one_with_faults(tmp_path, run):
    with pytest.raises(UserError, match=r"is no data set that --dataset folder knows: .*other layouts: folder, "):
        run(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run(tmp_path / "nowhere")


def test_orphans_are_listed_up_to_ten_a_side_and_counted(tiny_set, save, run):
    for number in range(100, 112):
        save(tiny_set / "train_A" / f"{number}.png", np.ones((20, 28, 3)))
    _, lines, report = run(tiny_set)
    assert sum("has no depth map" in line for line in lines) == 10
    assert "  ... and 2 more of the kind 'frame without depth'" in lines
    assert sum(finding["kind"] == "frame without depth" for finding in report["findings"]) == 12


@pytest.mark.parametrize(("damage", "code"), [(None, 0), ("fault", 1), ("no set", 2)])
def test_the_commands_exit_code(tiny_set, tmp_path, damage, code):
    if damage == "fault":
        (tiny_set / "train_B" / "0000.png").unlink()
    folder = tmp_path if damage == "no set" else tiny_set
    command = [sys.executable, "-m", "data.check", str(folder), f"--out={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if damage == "fault":
        assert f"1 fault\n  {tiny_set}/train_A/0000.png has no depth map; add it" in done.stdout


@pytest.mark.parametrize("folder", ["simcol3d", "c3vd_trans_t1_a"])
def test_the_samples_have_no_fault(shared_data, folder, run):
    code, lines, report = run(shared_data / folder)
    assert (code, lines[1]) == (0, "no faults")
    assert report["findings"] == []
