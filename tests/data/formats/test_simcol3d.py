"""SimCol3D: 65280 is 200 mm, Unity's poses in our axes, the challenge's split."""

import json

import numpy as np
import pytest

from data.formats import Simcol3dFormat
from util.errors import UserError


def write(save, root, trajectory, count=2, poses=True):
    for number in range(count):
        save(
            root / f"Frames_{trajectory}" / f"FrameBuffer_{number:04d}.png",
            np.full((3, 3, 4), 256 * 7),
            dtype=np.uint16,
        )
        depth = [[0, 256, 65280], [32640, 1, 2], [3, 4, 5]]
        save(root / f"Frames_{trajectory}" / f"Depth_{number:04d}.png", depth, dtype=np.uint16)
    if poses:
        (root / f"SavedPosition_{trajectory}.txt").write_text("1 2 3\n" * count)
        (root / f"SavedRotationQuaternion_{trajectory}.txt").write_text("0 0 0 1\n" * count)


@pytest.fixture
def root(save, tmp_path):
    for trajectory in ("S1", "S4", "S5"):
        write(save, tmp_path / "SyntheticColon_I", trajectory)
    (tmp_path / "SyntheticColon_I" / "cam.txt").write_text("227.60416 0 227.60416\n0 237.5 237.5\n0 0 1\n")
    write(save, tmp_path / "SyntheticColon_III", "O1")
    return tmp_path


def test_depth_is_200_mm_at_65280_and_frames_are_16_bit_rgba(root):
    source = Simcol3dFormat(root)
    item = source.items("train")[0]
    assert (item.name, item.sequence) == ("S1_FrameBuffer_0000", "S1")
    expected = np.array([[0, 0.7843137, 200], [100, 0.003063725, 0.00612745], [0.009191177, 0.0122549, 0.01531863]])
    np.testing.assert_allclose(source.read_depth_mm(item), expected, rtol=1e-6)
    np.testing.assert_allclose(source.read_frame(item.image), np.full((3, 3, 3), 7 / 255), rtol=1e-6)


def test_split_is_the_challenges(root, save):
    for number in range(2, 16):
        write(save, root / "SyntheticColon_II", f"B{number}", count=1)
    split = Simcol3dFormat(root).split
    assert split == {
        "train": ["B2", "B3", "B6", "B7", "B8", "B11", "B12", "B13", "S1"],
        "eval": ["B4", "B9", "B14", "S4"],
        "test": ["B5", "B10", "B15", "O1", "S5"],
    }


def test_camera_is_of_cam_txt_above_the_frames(root):
    source = Simcol3dFormat(root)
    camera = source.camera(source.items("train")[0], (3, 3))
    np.testing.assert_array_equal(camera.K, [[227.60416, 0, 227.60416], [0, 237.5, 237.5], [0, 0, 1]])
    assert camera.size == (475, 475)
    assert source.camera(source.items("test")[0], (3, 3)) is None  # O1, whose folder has no cam.txt


@pytest.mark.parametrize(
    ("quaternion", "forward", "down"),
    [
        ("0 0 0 1", [0, 0, 1], [0, 1, 0]),
        ("0 0.70710678 0 0.70710678", [1, 0, 0], [0, 1, 0]),  # a quarter turn round Unity's up: looks to the right
        ("0.70710678 0 0 0.70710678", [0, 1, 0], [0, 0, -1]),  # round its right: looks down
    ],
)
def test_unitys_poses_in_our_axes(root, quaternion, forward, down):
    folder = root / "SyntheticColon_I"
    (folder / "SavedRotationQuaternion_S1.txt").write_text("0 0 0 1\n" + quaternion + "\n")
    (folder / "SavedPosition_S1.txt").write_text("0 0 0\n1.5 2 3\n")
    source = Simcol3dFormat(root)
    first, second = (source.pose(item) for item in source.items("train"))
    np.testing.assert_array_equal(first, np.eye(4))
    np.testing.assert_allclose(second[:3, 3], [15, -20, 30], atol=1e-6)  # mm, and y points down
    np.testing.assert_allclose(second[:3, :3] @ [0, 0, 1], forward, atol=1e-6)
    np.testing.assert_allclose(second[:3, :3] @ [0, 1, 0], down, atol=1e-6)
    assert np.linalg.det(second[:3, :3]) == pytest.approx(1)


def test_without_poses_there_is_none(save, tmp_path):
    write(save, tmp_path, "S1", poses=False)
    source = Simcol3dFormat(tmp_path)
    assert source.pose(source.items("train")[0]) is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("SavedPosition_S1.txt", "1 2 3\n", r"has 1 lines, but .*SavedRotationQuaternion_S1\.txt 2"),
        ("SavedPosition_S1.txt", "1 2 3\n1 2\n", r"SavedPosition_S1\.txt, line 2: expected 3 finite numbers, got 2"),
        ("SavedPosition_S1.txt", "1 2 3\n1 2 nan\n", r"line 2: expected 3 finite numbers"),
        ("SavedPosition_S1.txt", "1 2 3\na b c\n", r"holds something that is no number"),
        ("SavedPosition_S1.txt", "", r"SavedPosition_S1\.txt is empty"),
    ],
)
def test_damaged_files_of_poses_are_named(root, name, text, words):
    (root / "SyntheticColon_I" / name).write_text(text)
    source = Simcol3dFormat(root)
    with pytest.raises(UserError, match=words):
        source.pose(source.items("train")[1])


def test_frames_beyond_the_poses_are_named(root, save):
    write(save, root / "SyntheticColon_I", "S1", count=3, poses=False)
    source = Simcol3dFormat(root)
    with pytest.raises(UserError, match=r"SavedPosition_S1\.txt has 2 lines, but there is a frame .*FrameBuffer_0002"):
        source.pose(source.items("train")[2])


def test_trajectories_are_clips_with_their_camera(root):
    (clip,) = Simcol3dFormat(root).clips("train")
    assert (clip.name, len(clip)) == ("S1", 2)
    assert clip.camera.K[0, 0] == pytest.approx(227.60416)
    assert all("FrameBuffer" in file.name for file in clip.files)


def test_the_real_frames(shared_data, tmp_path):
    """Units and camera of the published files: the median of the depth, and what its README says of the steps."""
    (tmp_path / "Frames_S1").symlink_to(shared_data / "simcol3d")
    fields = json.loads((shared_data / "simcol3d" / "intrinsics.json").read_text())
    source = Simcol3dFormat(tmp_path)
    items = source.items("train")
    depths = np.stack([source.read_depth_mm(item) for item in items])
    assert (len(items), depths.shape[1:], fields["width"]) == (6, (475, 475), 475)
    assert 5 < depths.min() < 7
    assert 130 < depths.max() < 135
    assert 16 < np.median(depths) < 18
    steps = depths / (200 / 255)
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
