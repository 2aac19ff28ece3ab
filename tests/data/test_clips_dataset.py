"""Samples of video: which frames, which flow, which camera."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch

from data.clips import find_clips, write_clip_view
from data.clips_dataset import ClipsDataset
from data.flow_cache import FlowCache
from data.transforms import Preprocessing
from util.errors import UserError

SIZE = (12, 18)


class StillEstimator:
    name = fingerprint = "still"

    def __call__(self, src, tgt):
        return torch.zeros(1, 2, *src.shape[-2:])


@pytest.fixture
def open_set(tmp_path, save):
    """Opens a dataset on clips of the given lengths; frame i of a clip is grey of level 40 + i."""

    def open_set(lengths=(5, 3), length=3, step=1, preprocessing=None):
        for clip, count in enumerate(lengths):
            for number in range(count):
                save(tmp_path / "video" / f"clip{clip}" / f"{number}.png", np.full((*SIZE, 3), 40 + number))
        preprocessing = preprocessing or Preprocessing("none", flip=False)
        clips, cache = find_clips(tmp_path / "video"), FlowCache(tmp_path / "cache", preprocessing, step)
        cache.fill(clips, StillEstimator(), torch.device("cpu"))
        return ClipsDataset(clips, preprocessing, cache, length, step)

    return open_set


def levels(frames):
    return [round(float((frame.mean() + 1) / 2 * 255)) - 40 for frame in frames]


@pytest.mark.parametrize(
    ("length", "step", "windows"),
    [
        (3, 1, [(0, [0, 1, 2]), (0, [1, 2, 3]), (0, [2, 3, 4]), (1, [0, 1, 2])]),
        (2, 2, [(0, [0, 2]), (0, [1, 3]), (0, [2, 4]), (1, [0, 2])]),
        (3, 2, [(0, [0, 2, 4])]),
    ],
)
def test_every_window_of_every_clip_is_a_sample(open_set, length, step, windows):
    dataset = open_set(length=length, step=step)
    assert len(dataset) == len(windows)
    for index, (clip, expected) in enumerate(windows):
        sample = dataset[index]
        assert dataset.windows[index][0] == clip
        assert levels(sample["frames"]) == expected
        assert sample["frames"].shape == (length, 3, *SIZE)
        assert sample["flow_fwd"].shape == sample["flow_bwd"].shape == (length - 1, 2, *SIZE)
        assert sample["mask_fwd"].shape == sample["mask_bwd"].shape == (length - 1, 1, *SIZE)
        assert "intrinsics" not in sample
        assert [file.parent.name for file in dataset.files(index)] == [f"clip{clip}"] * length
        assert [file.stem for file in dataset.files(index)] == [str(number) for number in expected]


def test_a_clip_that_is_too_short_is_left_out_beside_longer_ones(open_set):
    assert {clip for clip, _ in open_set(lengths=(2, 4, 1)).windows} == {1}


def test_only_short_clips_are_an_error_that_says_what_to_do(open_set):
    with pytest.raises(
        UserError, match=r"no clip has 5 frames \(the longest of 2 has 4\).*--clip_length or --frame_step"
    ):
        open_set(lengths=(4, 2), length=3, step=2)


def test_intrinsics_belong_to_the_size_in_their_file_and_follow_the_frames(open_set, tmp_path):
    for clip in ("clip0", "clip1"):
        (tmp_path / "video" / clip).mkdir(parents=True)
        camera = {"width": 36, "height": 36, "fx": 30.0, "fy": 33.0, "cx": 17.5, "cy": 10.0}
        (tmp_path / "video" / clip / "intrinsics.json").write_text(json.dumps(camera))
    sample = open_set(preprocessing=Preprocessing("resize", load_size=9, flip=False))[0]
    assert sample["frames"].shape[-2:] == (9, 9)
    # 36 x 36 in the file, 12 x 18 on disk, 9 x 9 for the network: a quarter; cx' = s (cx + 1/2) - 1/2
    expected = torch.tensor([[7.5, 0, 4.0], [0, 8.25, 2.125], [0, 0, 1]])
    torch.testing.assert_close(sample["intrinsics"], expected)


def test_intrinsics_of_some_clips_only_are_left_out_of_all(open_set, tmp_path):
    (tmp_path / "video" / "clip0").mkdir(parents=True)
    camera = {"width": 18, "height": 12, "fx": 30.0, "fy": 33.0, "cx": 9.0, "cy": 6.0}
    (tmp_path / "video" / "clip0" / "intrinsics.json").write_text(json.dumps(camera))
    dataset = open_set()
    assert not any("intrinsics" in dataset[index] for index in range(len(dataset)))


def test_the_same_key_gives_the_same_augmentation_and_another_one_another(open_set):
    dataset = open_set(preprocessing=Preprocessing("crop", fine_size=7))
    assert dataset[0, 5]["frames"].shape[-2:] == (7, 7)
    torch.testing.assert_close(dataset[0, 5], dataset[0, 5], rtol=0, atol=0)


def test_side_by_side_files_are_clips_of_two(tmp_path, save):
    left, right = (np.full((*SIZE, 3), level) for level in (40, 41))
    save(tmp_path / "video" / "pair.png", np.concatenate([left, right], axis=1))
    clips, preprocessing = find_clips(tmp_path / "video"), Preprocessing("none")
    cache = FlowCache(tmp_path / "cache", preprocessing)
    cache.fill(clips, StillEstimator(), torch.device("cpu"))
    dataset = ClipsDataset(clips, preprocessing, cache, length=2)
    assert levels(dataset[0]["frames"]) == [0, 1]
    assert dataset.files(0) == [tmp_path / "video" / "pair.png"]
    with pytest.raises(UserError, match="no clip has 3 frames"):
        ClipsDataset(clips, preprocessing, cache, length=3)


def make_options(dataroot, **changes):
    given = {
        "dataroot": dataroot,
        "dataset": "folder",
        "depth_format": "auto",
        "undistort": False,
        "video_root": None,
        "video_dataset": "folder",
        "phase": "train",
        "video_parts": ["flow"],
        "fov": None,
        "pseudo_depth": None,
        "pseudo_depth_kind": "auto",
        "flow": "dis",
        "flow_weights": None,
        "flow_cache": None,
        "gpu_ids": [],
        "clip_length": 2,
        "frame_step": 1,
        "resize_or_crop": "resize",
        "load_size": 16,
        "load_height": None,
        "fine_size": 16,
        "flip": True,
    }
    return Namespace(**given | changes)


def test_options_open_the_clips_of_the_phase_and_keep_flow_beside_them(tiny_set):
    dataset = ClipsDataset.from_options(make_options(tiny_set))
    assert len(dataset) == 4 + 3
    folder = tiny_set / "flow_cache" / "video_train" / "dis_resize16_step1"
    assert np.load(folder / "first" / "flow.npy").shape == (4, 2, 2, 16, 16)
    assert dataset[0]["flow_fwd"].shape == (1, 2, 16, 16)


def test_flow_is_not_made_for_a_method_that_does_not_read_it(tiny_set):
    dataset = ClipsDataset.from_options(make_options(tiny_set, video_parts=[]))
    assert set(dataset[0]) == {"frames"}
    assert not (tiny_set / "flow_cache").exists()


def test_view_of_a_clip_is_where_its_frames_are_not_black_and_follows_size_and_augmentation(tmp_path, save):
    corner = np.zeros(SIZE, bool)
    corner[:4, :6] = True
    for number in range(4):
        frame = np.random.default_rng(number).integers(60, 255, (*SIZE, 3))
        save(tmp_path / "set" / "video_train" / "clip" / f"{number}.png", np.where(corner[..., None], 5, frame))
    options = make_options(tmp_path / "set", video_parts=["view"], resize_or_crop="none", clip_length=3)
    dataset = ClipsDataset.from_options(options)
    view = dataset[0]["view"]
    assert torch.equal(view, torch.from_numpy(~corner)[None])
    for seed in range(4):
        sample = dataset[0, seed]
        black = sample["frames"].amax(dim=(0, 1)) < -0.9
        assert torch.equal(sample["view"][0], ~black)
    half = ClipsDataset.from_options(make_options(tmp_path / "set", video_parts=["view"], load_size=9, load_height=6))
    assert torch.equal(half[0]["view"], torch.from_numpy(~corner[::2, ::2])[None])


def test_view_file_of_a_prepared_clip_is_left_out_too(tmp_path, save):
    folder = tmp_path / "set" / "video_train" / "clip"
    for number in range(3):
        save(folder / f"{number}.png", np.random.default_rng(number).integers(60, 255, (*SIZE, 3)))
    overlay = np.ones(SIZE, bool)
    overlay[5:8, 10:] = False
    write_clip_view(folder / "view.npy", overlay)
    options = make_options(tmp_path / "set", video_parts=["view"], resize_or_crop="none", clip_length=3)
    assert torch.equal(ClipsDataset.from_options(options)[0]["view"], torch.from_numpy(overlay)[None])


def test_camera_is_guessed_from_the_field_of_view_only_where_there_is_none(tiny_set):
    camera = {"width": 28, "height": 20, "fx": 21.0, "fy": 22.0, "cx": 13.0, "cy": 9.0}
    (tiny_set / "video_train" / "first" / "intrinsics.json").write_text(json.dumps(camera))
    options = make_options(tiny_set, video_parts=["intrinsics"], fov=90.0, resize_or_crop="none")
    dataset = ClipsDataset.from_options(options)
    first, second = (dataset.windows.index((which, 0)) for which in (0, 1))
    assert torch.equal(dataset[first]["intrinsics"], torch.tensor([[21.0, 0, 13], [0, 22, 9], [0, 0, 1]]))
    torch.testing.assert_close(dataset[second]["intrinsics"], torch.tensor([[14.0, 0, 13.5], [0, 14, 9.5], [0, 0, 1]]))


def test_a_missing_camera_is_an_error_that_says_what_to_do(tiny_set):
    with pytest.raises(
        UserError, match=r"2 of 2 clips have no camera, e\.g\. .*first; write an intrinsics.json.*--fov"
    ):
        ClipsDataset.from_options(make_options(tiny_set, video_parts=["intrinsics"]))


def test_a_guess_takes_the_place_of_a_camera_that_bends_lines(tiny_set):
    fisheye = {"model": "fisheye", "width": 28, "height": 20, "fx": 21.0, "fy": 22.0, "cx": 13.0, "cy": 9.0}
    (tiny_set / "video_train" / "first" / "intrinsics.json").write_text(json.dumps(fisheye))
    with pytest.raises(UserError, match="fisheye camera"):
        ClipsDataset.from_options(make_options(tiny_set, video_parts=["intrinsics"]))
    options = make_options(tiny_set, video_parts=["intrinsics"], fov=90.0, resize_or_crop="none")
    assert ClipsDataset.from_options(options)[0]["intrinsics"][0, 0] == 14
    assert "intrinsics" not in ClipsDataset.from_options(make_options(tiny_set, video_parts=[]))[0]


def test_frames_of_two_sizes_in_a_clip_are_an_error_that_names_it(tiny_set, save):
    save(tiny_set / "video_train" / "first" / "0002.png", np.full((9, 9, 3), 90))
    dataset = ClipsDataset.from_options(make_options(tiny_set, video_parts=["view"]))
    with pytest.raises(UserError, match=r"clip .*first differ in size \(9x9 and 20x28\)"):
        dataset[0]


def test_a_damaged_frame_spoils_only_the_samples_that_it_is_in(tiny_set):
    damaged = tiny_set / "video_train" / "first" / "0004.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    dataset = ClipsDataset.from_options(make_options(tiny_set, video_parts=["view"]))
    assert dataset[0]["view"].any()
    with pytest.raises(UserError, match=r"0004\.png"):
        dataset[3]


def test_a_view_file_of_another_size_is_resized(tmp_path, save):
    folder = tmp_path / "set" / "video_train" / "clip"
    for number in range(3):
        save(folder / f"{number}.png", np.random.default_rng(number).integers(60, 255, (*SIZE, 3)))
    overlay = np.ones((2 * SIZE[0], 2 * SIZE[1]), bool)
    overlay[:8, :10] = False
    write_clip_view(folder / "view.npy", overlay)
    options = make_options(tmp_path / "set", video_parts=["view"], resize_or_crop="none", clip_length=3)
    assert torch.equal(ClipsDataset.from_options(options)[0]["view"], torch.from_numpy(overlay[::2, ::2])[None])


def test_pseudo_depth_of_a_packed_set_is_refused(tiny_set):
    (tiny_set / "packed.json").write_text("{}")
    with pytest.raises(UserError, match=r"packed"):
        ClipsDataset.from_options(make_options(tiny_set, video_parts=["pseudo_depth"]))


def test_pseudo_depth_is_that_of_the_middle_frame(tiny_set, save):
    for clip, count in (("first", 5), ("second", 4)):
        for number in range(count):
            stored = np.full((20, 28), 1000)
            stored[:, 14:] = 2000 + 1000 * number
            save(tiny_set / "pseudo_depth" / "video_train" / clip / f"{number:04d}.png", stored, np.uint16)
    options = make_options(tiny_set, video_parts=["pseudo_depth"], clip_length=3, resize_or_crop="none")
    dataset = ClipsDataset.from_options(options)
    for number in range(3):
        depth = dataset[number]["pseudo_depth"]
        assert depth[0, 3, 3] == pytest.approx(1 / (3 + number))  # of the largest
        assert depth[0, 3, 20] == 1
    small = ClipsDataset.from_options(
        make_options(tiny_set, video_parts=["pseudo_depth"], load_size=14, load_height=10)
    )
    assert small[0]["pseudo_depth"].shape == (1, 10, 14)


def test_a_phase_and_a_folder_of_their_own_can_be_opened(tiny_set):
    dataset = ClipsDataset.from_options(make_options(tiny_set), "eval", tiny_set / "video_train")
    assert len(dataset) == 4 + 3


def test_sequences_of_a_data_set_are_clips_with_its_camera(save, tmp_path):
    """SimCol3D's trajectories of the training split; depth beside the frames is no frame."""
    root = tmp_path / "simcol"
    for trajectory, count in (("S1", 4), ("S2", 3), ("S5", 5)):
        for number in range(count):
            frame = np.random.default_rng(number).integers(0, 255, (*SIZE, 3))
            save(root / f"Frames_{trajectory}" / f"FrameBuffer_{number:04d}.png", frame)
            save(root / f"Frames_{trajectory}" / f"Depth_{number:04d}.png", np.ones(SIZE), np.uint16)
    (root / "cam.txt").write_text("227.5 0 237 0 237.5 237 0 0 1")
    dataset = ClipsDataset.from_options(make_options(root, video_dataset="simcol3d", dataset="simcol3d"))
    assert [(clip.name, len(clip)) for clip in dataset.clips] == [("S1", 4), ("S2", 3)]
    assert len(dataset) == 3 + 2
    # 475 px become 16: fx scales, and the centre of the picture stays its centre.
    expected = torch.tensor([[227.5 * 16 / 475, 0, 7.5], [0, 8.0, 7.5], [0, 0, 1]])
    torch.testing.assert_close(dataset[0]["intrinsics"], expected, atol=1e-4, rtol=0)
    assert all("FrameBuffer" in file.name for file in dataset.files(0))
