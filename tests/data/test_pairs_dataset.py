"""Samples of pairs: range, unit, validity, and every fault of a folder before training."""

import numpy as np
import pytest
import torch

from data.formats import FolderFormat
from data.pairs_dataset import PairsDataset
from data.transforms import Preprocessing
from util.errors import UserError

AS_IT_IS = Preprocessing("none", flip=False)


def open_split(root, phase="train", preprocessing=AS_IT_IS, **settings):
    depth_format = settings.pop("depth_format", "auto")
    return PairsDataset(FolderFormat(root, depth_format), phase, preprocessing, **settings)


def test_a_sample_is_what_the_files_say(tmp_path, save):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3))
    depth = np.array([[0, 51, 255, 102, 1, 2, 3]] * 5)
    save(tmp_path / "train_A" / "FrameBuffer_1.png", rgb)
    save(tmp_path / "train_B" / "Depth_1.png", depth)
    sample = open_split(tmp_path)[0]
    torch.testing.assert_close(sample["image"], torch.from_numpy(rgb / 127.5 - 1).permute(2, 0, 1).float())
    torch.testing.assert_close(sample["depth_mm"], torch.from_numpy(depth / 255 * 200).float()[None])
    assert sample["valid"].dtype == torch.bool
    torch.testing.assert_close(sample["valid"], torch.from_numpy(depth > 0)[None])
    assert open_split(tmp_path).raw(0)[0] == "FrameBuffer_1"


def test_frame_and_depth_get_their_size_together(tiny_set):
    sample = open_split(tiny_set, preprocessing=Preprocessing("resize", load_size=16))[0]
    assert {name: tuple(tensor.shape) for name, tensor in sample.items()} == {
        "image": (3, 16, 16),
        "depth_mm": (1, 16, 16),
        "valid": (1, 16, 16),
    }


def test_a_key_with_a_seed_is_augmented_the_same_way_every_time(tiny_set):
    dataset = open_split(tiny_set, preprocessing=Preprocessing("crop", fine_size=9))
    plain, first, again = dataset[2], dataset[2, 11], dataset[2, 11]
    assert plain["image"].shape[-2:] == (20, 28)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert len({float(dataset[2, seed]["image"].sum()) for seed in range(10)}) > 5


def test_the_files_of_a_sample_are_the_frame_and_its_depth(tiny_set):
    assert open_split(tiny_set).files(3) == [tiny_set / "train_A" / "0003.png", tiny_set / "train_B" / "0003.png"]


def test_max_size_takes_the_first_pairs(tiny_set):
    assert len(open_split(tiny_set)) == 6
    assert [item.image.name for item in open_split(tiny_set, max_size=2).items] == ["0000.png", "0001.png"]


def test_orphans_on_either_side_are_an_error_that_names_them(tiny_set):
    (tiny_set / "train_B" / "0003.png").unlink()
    (tiny_set / "train_A" / "0005.png").unlink()
    with pytest.raises(UserError, match=r"1 frames .*1 depth maps .*A/0003\.png, .*B/0005\.png; python -m data\.check"):
        open_split(tiny_set)


@pytest.mark.parametrize("folder", ["train_A", "train_B"])
def test_a_missing_folder_is_an_error_that_names_it(tiny_set, folder):
    (tiny_set / folder).rename(tiny_set / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"{folder}; --dataroot"):
        open_split(tiny_set)


def test_empty_folders_are_an_error(tmp_path):
    (tmp_path / "train_A").mkdir()
    (tmp_path / "train_B").mkdir()
    with pytest.raises(FileNotFoundError, match="no frames of the split train in .*; is --dataroot right"):
        open_split(tmp_path)


def test_a_depth_map_of_another_size_is_an_error_that_names_both(tiny_set, save):
    save(tiny_set / "train_B" / "0001.png", np.ones((28, 20)))
    with pytest.raises(UserError, match=r"A/0001\.png is 20x28 pixels, but its depth map .*B/0001\.png 28x20"):
        open_split(tiny_set)[1]


def test_simcol3d_samples_open_as_they_are(shared_data):
    folder = shared_data / "simcol3d"
    dataset = PairsDataset(FolderFormat(folder), ".", Preprocessing("resize", load_size=64))
    assert len(dataset) == 6
    sample = dataset[0]
    assert sample["valid"].all()
    assert sample["depth_mm"].min() > 6
    assert sample["depth_mm"].max() < 133
    assert -1 <= sample["image"].min() < sample["image"].mean() < sample["image"].max() <= 1
