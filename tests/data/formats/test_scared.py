"""SCARED: z of float points, frames by number, the left camera."""

import json

import cv2
import numpy as np
import pytest

from data.formats import ScaredFormat
from util.errors import UserError

SIZE = (4, 5)


def points(z, size=SIZE):
    """x = -1, y = -2, z as given, in mm."""
    xyz = np.stack([np.full(size, -1.0), np.full(size, -2.0), np.broadcast_to(z, size)], axis=-1)
    return xyz.astype(np.float32)


def write(save, data, numbers=(0, 1), frames="left_finalpass", offset=0, xyz=None):
    for number in numbers:
        save(data / frames / f"frame_data{number + offset:06d}.png", np.full((*SIZE, 3), number))
        (data / "scene_points").mkdir(parents=True, exist_ok=True)
        stored = (points(50.0 + number) if xyz is None else xyz)[..., ::-1]  # OpenCV writes B, G, R
        assert cv2.imwrite(str(data / "scene_points" / f"scene_points{number:06d}.tiff"), stored)


def test_depth_is_z_of_the_points_and_0_or_nan_is_invalid(save, tmp_path):
    xyz = points(np.array([[10.0, 0.0, np.nan, -3.0, 250.5]]))
    write(save, tmp_path / "dataset_1" / "keyframe_2" / "data", numbers=[0], xyz=xyz)
    source = ScaredFormat(tmp_path)
    (item,) = source.items("train")
    assert item.sequence == "dataset_1/keyframe_2"
    np.testing.assert_array_equal(source.read_depth_mm(item)[0], [10, 0, 0, 0, 250.5])


def test_of_two_views_above_each_other_the_upper_one_counts(save, tmp_path):
    both = np.concatenate([points(20.0), points(99.0)])
    write(save, tmp_path / "dataset1" / "keyframe1" / "data", numbers=[0], xyz=both)
    source = ScaredFormat(tmp_path)
    depth = source.read_depth_mm(source.items("train")[0])
    assert depth.shape == SIZE
    assert (depth == 20).all()


@pytest.mark.parametrize("offset", [0, 1])
def test_frames_counted_from_1_belong_to_the_points_before(save, tmp_path, offset):
    write(save, tmp_path / "dataset1" / "keyframe1" / "data", numbers=(0, 1, 2), offset=offset)
    source = ScaredFormat(tmp_path)
    for number, item in enumerate(source.items("train")):
        assert source.read_depth_mm(item)[0, 0] == 50 + number
        assert source.read_frame(item.image)[0, 0, 0] == pytest.approx(number / 255)


def test_last_two_data_sets_are_for_testing(save, tmp_path):
    for number in (1, 7, 8, 9):
        write(save, tmp_path / f"dataset_{number}" / "keyframe_1" / "data", numbers=[0])
    split = ScaredFormat(tmp_path).split
    assert {phase: [name[8] for name in names] for phase, names in split.items()} == {
        "train": ["1"],
        "eval": ["7"],
        "test": ["8", "9"],
    }


def test_camera_of_each_frame(save, tmp_path):
    data = tmp_path / "dataset_1" / "keyframe_1" / "data"
    write(save, data)
    (data / "frame_data").mkdir()
    for number in (0, 1):
        K = [[1000 + number, 0, 600], [0, 1000, 500], [0, 0, 1]]
        content = {"camera-calibration": {"KL": K}, "camera-pose": np.eye(4).tolist()}
        (data / "frame_data" / f"frame_data{number:06d}.json").write_text(json.dumps(content))
    source = ScaredFormat(tmp_path)
    cameras = [source.camera(item, SIZE) for item in source.items("train")]
    assert [camera.K[0, 0] for camera in cameras] == [1000, 1001]
    (data / "frame_data" / "frame_data000000.json").write_text("{}")
    with pytest.raises(UserError, match=r"frame_data000000\.json has no camera-calibration KL"):
        source.camera(source.items("train")[0], SIZE)


def test_missing_frames_and_wrong_points_are_named(save, tmp_path):
    data = tmp_path / "dataset_1" / "keyframe_1" / "data"
    write(save, data)
    (data / "left_finalpass" / "frame_data000001.png").unlink()
    with pytest.raises(UserError, match=r"1 depth maps no frame, e\.g\. .*scene_points000001\.tiff"):
        ScaredFormat(tmp_path).items("train")
    save(data / "scene_points" / "scene_points000000.tiff", np.zeros(SIZE), dtype=np.uint16)
    (data / "scene_points" / "scene_points000001.tiff").unlink()
    source = ScaredFormat(tmp_path)
    with pytest.raises(UserError, match="expected float32 points"):
        source.read_depth_mm(source.items("train")[0])
