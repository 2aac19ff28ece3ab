"""Clips on disk: folders of frames and side-by-side files, in the order of their names, and nothing half right."""

import numpy as np
import pytest

from data.clips import VIDEO_SUFFIXES, VIEW_FILE, find_clips, list_clips, write_clip_view
from util.errors import UserError


def grey(level, size=(12, 15)):
    return np.full((*size, 3), level)


@pytest.fixture
def root(tmp_path, save):
    for number in (10, 2, 1):
        save(tmp_path / "b" / f"frame{number}.png", grey(number))
    save(tmp_path / "a" / "0.png", grey(100))
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    save(tmp_path / ".hidden" / "0.png", grey(0))
    return tmp_path


def levels(frames):
    return [round(float(frame.mean()) * 255) for frame in frames]


def test_each_folder_with_frames_is_a_clip_in_natural_order(root):
    clips = find_clips(root)
    assert [(clip.name, len(clip)) for clip in clips] == [("a", 1), ("b", 3)]
    assert levels(clips[1].read(0, 3)) == [1, 2, 10]
    assert clips[1].place == root / "b"


def test_frames_are_read_from_a_start_with_a_step(tmp_path, save):
    for number in range(7):
        save(tmp_path / "clip" / f"{number}.png", grey(number))
    (clip,) = find_clips(tmp_path)
    assert levels(clip.read(1, 3, step=2)) == [1, 3, 5]
    assert levels(clip.read(6, 1)) == [6]


def test_a_side_by_side_file_is_two_frames_left_first(tmp_path, save):
    path = save(tmp_path / "pair_0001.png", np.concatenate([grey(10), grey(20)], axis=1))
    (clip,) = find_clips(tmp_path)
    assert (clip.name, len(clip), clip.place) == ("pair_0001", 2, path)
    assert levels(clip.read(0, 2)) == [10, 20]
    assert levels(clip.read(1, 1)) == [20]
    assert clip.read(0, 2)[0].shape == (12, 15, 3)


@pytest.mark.parametrize("size", [(480, 640), (446, 446), (1080, 1920), (480, 561), (60, 101)])
def test_a_single_frame_is_not_cut_into_two(tmp_path, save, size):
    save(tmp_path / "single.png", np.zeros((*size, 3)))
    with pytest.raises(UserError, match=r"single\.png .* two frames side by side; single frames belong in one folder"):
        find_clips(tmp_path)[0].read(0, 2)


@pytest.mark.parametrize("suffix", [*VIDEO_SUFFIXES, ".MP4"])
def test_films_are_refused_with_the_command_that_cuts_them(root, suffix):
    (root / f"film{suffix}").touch()
    with pytest.raises(UserError, match="python -m data.prepare_video") as caught:
        find_clips(root)
    assert f"{root}/film{suffix} --out {root}" in str(caught.value)
    assert [clip.name for clip in list_clips(root)] == ["a", "b"]


def test_frames_of_different_size_are_an_error_that_names_the_clip(root, save):
    save(root / "b" / "frame2.png", grey(5, size=(12, 16)))
    with pytest.raises(UserError, match=r"clip .*/b differ in size: \[\(12, 15, 3\), \(12, 16, 3\)\]"):
        find_clips(root)[1].read(0, 3)


def test_two_clips_of_one_name_are_an_error_since_their_flow_would_mix(tmp_path, save):
    for name in ("a.png", "a.jpg", "b.png"):
        save(tmp_path / name, np.zeros((8, 20, 3)))
    with pytest.raises(UserError, match="more than one clip called a;"):
        find_clips(tmp_path)


def test_no_folder_and_an_empty_one_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        find_clips(tmp_path / "nowhere")
    (tmp_path / "clip").mkdir()
    with pytest.raises(FileNotFoundError, match="no clips in"):
        find_clips(tmp_path)


def test_what_the_frames_show_lies_beside_them(root):
    view = np.arange(12 * 15).reshape(12, 15) % 7 > 0
    write_clip_view(root / "b" / VIEW_FILE, view)
    first, second = find_clips(root)
    assert first.view() is None
    np.testing.assert_array_equal(second.view(), view)
    assert len(second) == 3


@pytest.mark.parametrize("content", [b"", b"no array", np.zeros((3, 4)), np.zeros((2, 3, 4), bool)])
def test_a_view_that_is_none_is_an_error_that_names_the_file(root, content):
    file = root / "b" / VIEW_FILE
    file.write_bytes(content) if isinstance(content, bytes) else np.save(file, content)
    with pytest.raises(UserError, match=r"b/view\.npy .*prepare the film again"):
        find_clips(root)[1].view()
