"""``python -m data.check``: a good set has no fault, and of a bad one every fault is listed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.check import main


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_good_set_is_summed_up_without_a_fault(tiny_set, save, capsys):
    save(tiny_set / "test_B" / "0000.png", np.full((20, 28), 255))
    save(tiny_set / "test_B" / "0001.png", np.repeat([[51], [0]], 10, axis=0) * np.ones(28))
    assert main([str(tiny_set)]) == 0
    eval_line, test_line, train_line, video_line, last = lines_of(capsys)
    assert eval_line.split()[:4] == ["eval", "2", "pairs", "20x28"]
    assert test_line.endswith("20x28        40.0 to 200.0 mm, 25.00% invalid")
    assert train_line.split()[:3] == ["train", "6", "pairs"]
    assert video_line.split() == ["video_train", "9", "frames", "20x28"]
    assert last == "no faults"


def test_every_fault_of_a_bad_set_is_listed_at_once(tiny_set, save, capsys):
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

    assert main([str(tiny_set)]) == 1
    lines = lines_of(capsys)
    faults = lines[lines.index("15 faults") + 1 :]
    expected = [
        (A / "0000.png", "is truncated"),
        (B / "0001.png", "cannot be read as a picture (0 bytes)"),
        (B / "0002.png", "is 28x20 pixels, its frame 20x28"),
        (B / "0003.png", "has no valid pixel"),
        (A / "0004.png", "has no depth map"),
        (B / "0099.png", "has no frame"),
        (B / "0005.png", "has 16 bits and no depth.json"),
        (tiny_set / "eval_B", "is missing"),
        (tiny_set / "test_B" / "0000.png", "is a colour picture"),
        (video / "film.mp4", "data.extract_frames"),
        (video / "first" / "0002.png", "cannot be read as a picture"),
        (video / "second", "differ in size: 20x28, 20x30"),
        (video / "third", "has 1 frame, at least 2 are needed"),
        (video / "third" / "intrinsics.json", "opencv_fisheye"),
        (video / "lonely.png", "does not hold two frames side by side"),
    ]
    for path, what in expected:
        assert [fault for fault in faults if str(path) in fault and what in fault], (path, what)
    assert len(faults) == len(expected)


def test_one_folder_of_frames_and_depth_is_checked_too(tmp_path, save, capsys):
    save(tmp_path / "FrameBuffer_1.png", np.ones((4, 5, 3)))
    save(tmp_path / "Depth_1.png", np.full((4, 5), 65280), np.uint16)
    assert main([str(tmp_path), "--depth_format", "simcol3d"]) == 0
    assert "200.0 to 200.0 mm, 0.00% invalid" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 1


def test_a_folder_with_nothing_in_it_is_a_fault(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "holds neither <phase>_A and <phase>_B, nor video_<phase>, nor pictures" in capsys.readouterr().out


def test_a_missing_folder_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        main([str(tmp_path / "nowhere")])


def test_the_command_exits_with_1_when_there_is_a_fault(tiny_set):
    (tiny_set / "train_B" / "0000.png").unlink()
    command = [sys.executable, "-m", "data.check", str(tiny_set)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"1 faults\n  {tiny_set}/train_A/0000.png has no depth map\n" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("folder", ["simcol3d", "c3vd_trans_t1_a"])
def test_the_samples_have_no_fault(shared_data, folder, capsys):
    assert main([str(shared_data / folder)]) == 0
    assert "no faults" in capsys.readouterr().out
