"""This project's layout: two folders a split, one folder a split, or the root alone."""

import json

import numpy as np
import pytest

from data.formats import FolderFormat


@pytest.fixture
def pair(save, tmp_path):
    def pair(frame, depth):
        save(tmp_path / frame, np.full((2, 3, 3), 9))
        save(tmp_path / depth, np.full((2, 3), 51))

    return pair


def test_splits_of_all_three_layouts(pair, tmp_path):
    pair("train_A/1.png", "train_B/1.png")
    pair("eval/1_color.png", "eval/1_depth.png")
    pair("2_color.png", "2_depth.png")
    source = FolderFormat(tmp_path)
    assert source.phases() == [".", "eval", "train"]
    assert [[item.name for item in source.items(phase)] for phase in source.phases()] == [
        ["2_color"],
        ["1_color"],
        ["1"],
    ]


def test_clips_and_caches_are_no_splits(pair, save, tmp_path):
    pair("train_A/1.png", "train_B/1.png")
    save(tmp_path / "video_train" / "clip" / "0.png", np.zeros((2, 3, 3)))
    (tmp_path / "flow_cache").mkdir()
    assert FolderFormat(tmp_path).phases() == ["train"]


def test_depth_beside_its_frame_by_stem(save, tmp_path):
    save(tmp_path / "train" / "a.jpg", np.full((2, 3, 3), 200))
    save(tmp_path / "train" / "a.png", np.full((2, 3), 51))
    save(tmp_path / "train" / "b.png", np.full((2, 3, 3), 200))
    np.save(tmp_path / "train" / "b.npy", np.full((2, 3), 7.0, np.float32))
    source = FolderFormat(tmp_path)
    items = source.items("train")
    assert [(item.image.name, item.depth.name) for item in items] == [("a.jpg", "a.png"), ("b.png", "b.npy")]
    assert [float(source.read_depth_mm(item)[0, 0]) for item in items] == pytest.approx([40, 7])


def test_two_pictures_of_one_stem_are_two_frames_and_not_a_pair(save, tmp_path):
    for suffix in ("jpg", "png"):
        save(tmp_path / "train" / f"a.{suffix}", np.random.default_rng(0).integers(0, 255, (2, 3, 3)))
    found = FolderFormat(tmp_path).find("train")
    assert found.items == []
    assert len(found.frames_alone) == 2


def test_sequence_is_the_name_without_its_number(pair, tmp_path):
    pair("train_A/left_0007.png", "train_B/left_0007.png")
    pair("train_A/right-8.png", "train_B/right-8.png")
    assert [item.sequence for item in FolderFormat(tmp_path).items("train")] == ["left", "right"]


def test_camera_lies_beside_the_frames(pair, tmp_path):
    pair("train_A/1.png", "train_B/1.png")
    source = FolderFormat(tmp_path)
    item = source.items("train")[0]
    assert not source.has_camera(item)
    fields = {"width": 3, "height": 2, "fx": 4, "fy": 5, "cx": 1, "cy": 0.5}
    (tmp_path / "train_A" / "intrinsics.json").write_text(json.dumps(fields))
    assert source.camera(item, (2, 3)).size == (2, 3)


def test_missing_split_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*train_A; --dataroot must hold <phase>_A and <phase>_B"):
        FolderFormat(tmp_path).find("train")
