"""UCL: names, 8-bit depth of 200 mm, and paths that are in one split whatever their texture."""

import numpy as np
import pytest

from data.formats import UclFormat
from util.errors import UserError


def write(save, root, sequence, count=2, depth=51):
    for number in range(count):
        save(root / f"{sequence}_resized_FrameBuffer_{number:04d}.png", np.full((4, 6, 3), 10 * number + 5))
        save(root / f"{sequence}_resized_Depth_{number:04d}.png", np.full((4, 6), depth))


@pytest.fixture
def root(save, tmp_path):
    for texture, light in ((1, 1), (1, 2), (3, 3)):
        for path in (1, 2, 3):
            write(save, tmp_path / f"T{texture}", f"T{texture}_L{light}_{path}")
    return tmp_path


def test_depth_is_200_mm_at_255(save, tmp_path):
    save(tmp_path / "T1_L1_1_resized_FrameBuffer_0294.png", np.full((1, 3, 3), 9))
    save(tmp_path / "T1_L1_1_resized_Depth_0294.png", [[0, 51, 255]])
    source = UclFormat(tmp_path)
    (item,) = source.items("train")
    assert (item.name, item.sequence) == ("T1_L1_1_resized_FrameBuffer_0294", "T1_L1_1")
    np.testing.assert_allclose(source.read_depth_mm(item), [[0, 40, 200]], rtol=1e-6)


def test_all_textures_and_lights_of_a_path_are_in_one_split(root):
    source = UclFormat(root)
    assert source.phases() == ["train", "eval", "test"]
    assert source.split == {
        "train": ["T1_L1_1", "T1_L2_1", "T3_L3_1"],
        "eval": ["T1_L1_2", "T1_L2_2", "T3_L3_2"],
        "test": ["T1_L1_3", "T1_L2_3", "T3_L3_3"],
    }
    assert len(source.items("test")) == 6
    assert {item.depth.name.replace("Depth", "FrameBuffer") == item.image.name for item in source.items("test")} == {
        True
    }


def test_names_with_a_letter_before_and_frames_as_people_count(save, tmp_path):
    for number in (10, 9):
        save(tmp_path / f"C_T3_L2_3_resized_FrameBuffer_{number}.png", np.zeros((2, 2, 3)))
        save(tmp_path / f"C_T3_L2_3_resized_Depth_{number}.png", np.ones((2, 2)))
    items = UclFormat(tmp_path).items("train")
    assert [item.name[-2:] for item in items] == ["_9", "10"]
    assert {item.sequence for item in items} == {"C_T3_L2_3"}


def test_frame_without_depth_is_named(root):
    (root / "T1" / "T1_L1_1_resized_Depth_0001.png").unlink()
    with pytest.raises(UserError, match=r"1 frames of the split train .*T1_L1_1_resized_FrameBuffer_0001\.png"):
        UclFormat(root).items("train")


def test_two_files_of_one_name_are_an_error(root, save):
    write(save, root / "copy", "T1_L1_1", count=1)
    with pytest.raises(
        UserError, match=r"two frames have the name T1_L1_1_resized_FrameBuffer_0000: .*T1.* and .*copy"
    ):
        UclFormat(root).items("train")


def test_own_lists_choose_the_split(root):
    (root / "splits").mkdir()
    (root / "splits" / "test.txt").write_text("T1_L1_1\n")
    source = UclFormat(root)
    assert source.phases() == ["test"]
    with pytest.raises(
        FileNotFoundError, match=r"no sequence for the split train \(test: T1_L1_1\).*splits/train\.txt"
    ):
        source.items("train")


def test_later_16_bit_release_is_read_when_it_is_said(save, tmp_path):
    save(tmp_path / "T1_L1_1_resized_FrameBuffer_0.png", np.zeros((1, 1, 3)))
    save(tmp_path / "T1_L1_1_resized_Depth_0.png", [[65535]], dtype=np.uint16)
    source = UclFormat(tmp_path, "ucl16")
    assert source.read_depth_mm(source.items("train")[0]) == 200
    source = UclFormat(tmp_path)
    with pytest.raises(UserError, match="has 16 bits, but ucl8 files have 8"):
        source.read_depth_mm(source.items("train")[0])


def test_folder_of_something_else_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no files like T3_L1_1_resized_FrameBuffer_0294\.png"):
        UclFormat(tmp_path).phases()
