"""The truth of clips: KITTI's flow encoding, channel by channel."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.clip_truth import ClipTruth, read_kitti_flow
from data.clips import Clip
from util.errors import UserError


def test_flow_and_mask_by_hand(tmp_path, save):
    u, v = np.array([[0.5, -3.25, 511.0]]), np.array([[-0.015625, 2.0, -512.0]])
    seen = np.array([[1, 0, 1]])
    save(tmp_path / "flow.png", np.dstack([u * 64 + 2**15, v * 64 + 2**15, seen]), np.uint16)
    flow, mask = read_kitti_flow(tmp_path / "flow.png")
    assert flow.dtype == np.float32
    np.testing.assert_array_equal(flow, np.stack([u, v]))
    np.testing.assert_array_equal(mask, seen.astype(bool))


@pytest.mark.parametrize(("shape", "dtype"), [((4, 5, 3), np.uint8), ((4, 5), np.uint16), ((4, 5, 4), np.uint16)])
def test_another_picture_is_no_flow(tmp_path, save, shape, dtype):
    with pytest.raises(UserError, match=r"flow\.png is no flow in KITTI's encoding"):
        read_kitti_flow(save(tmp_path / "flow.png", np.ones(shape), dtype))


def test_truth_belongs_to_the_frame_of_the_same_name(tmp_path, save):
    folder = tmp_path / "truth" / "video_test" / "clip"
    for number in (3, 8):
        save(folder / "depth" / f"{number:06d}.png", np.full((2, 3), 256 * number), np.uint16)
        save(folder / "flow_fwd" / f"{number:06d}.png", np.full((2, 3, 3), 2**15 + 64 * number), np.uint16)
    (folder / "depth" / "depth.json").write_text(json.dumps({"mm_per_unit": 1 / 256}))
    frames = tuple(tmp_path / "video_test" / "clip" / f"{number:06d}.jpg" for number in (3, 8))
    truth = ClipTruth(tmp_path, "video_test", Clip("clip", frames))
    assert truth.exists()
    assert [truth.depth_mm(index).mean() for index in (0, 1)] == [3.0, 8.0]
    assert [truth.flow_fwd(index)[0].mean() for index in (0, 1)] == [3.0, 8.0]
    assert not ClipTruth(tmp_path, "video_train", Clip("clip", frames)).exists()


# Poses

POSES = np.tile(np.eye(4), (2, 1, 1))
FIRST_FRAMES = (Path("clip/0.png"), Path("clip/1.png"))


def truth_with(tmp_path, content):
    file = tmp_path / "truth" / "video_test" / "clip" / "poses.json"
    file.parent.mkdir(parents=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return ClipTruth(tmp_path, "video_test", Clip("clip", FIRST_FRAMES))


def test_poses_are_one_a_frame_in_mm(tmp_path):
    poses = POSES.copy()
    poses[1, :3, 3] = 1, 2, 3
    read = truth_with(tmp_path, {"world_from_cam": poses.tolist(), "unit": "mm"}).poses()
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, poses)


def test_a_set_without_poses_has_none(tmp_path):
    assert ClipTruth(tmp_path, "video_test", Clip("clip", FIRST_FRAMES)).poses() is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"poses\.json does not hold poses"),
        ({"poses": []}, r"poses\.json does not hold poses .*it needs world_from_cam, 4x4 for each frame"),
        ({"world_from_cam": [[1, 2], [3]]}, "does not hold poses"),
        ({"world_from_cam": POSES[:, :3].tolist()}, r"finite and \(frames, 4, 4\), got \(2, 3, 4\)"),
        ({"world_from_cam": POSES[:1].tolist()}, "has 1 poses, but the clip has 2 frames"),
        ({"world_from_cam": (POSES + np.eye(4)[::-1]).tolist()}, "the last row of a pose must be 0 0 0 1"),
        ({"world_from_cam": POSES.tolist(), "unit": "m"}, "poses must be in mm, got 'm'"),
    ],
)
def test_what_are_no_poses_is_an_error_that_names_the_file(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        truth_with(tmp_path, content).poses()
