"""Finding clips: either layout, nested as published, names that are unique, and what is left alone."""

import numpy as np
import pytest

from data.sfm.find import find_sfm_clips, open_sfm_clip, open_sfm_clips
from tests.data.sfm.sfm_files import (
    NUMBERS,
    assert_same,
    tiny_clip,
    write_colmap_binary,
    write_colmap_text,
    write_frames,
    write_published_files,
)
from util.errors import UserError


def write_colmap_clip(folder, place="sparse/0"):
    write_colmap_text(folder / place)
    write_frames(folder / "images", [f"frame_{number:03d}.png" for number in NUMBERS])
    return folder


def test_either_layout_is_opened(tmp_path):
    published, colmap = write_published_files(tmp_path / "a"), write_colmap_clip(tmp_path / "b")
    assert_same(open_sfm_clip(published), tiny_clip(published))
    assert open_sfm_clip(colmap).frames[0] == colmap / "images" / "frame_002.png"


@pytest.mark.parametrize("left", ["structure.ply", "motion.yaml"])
def test_half_a_published_clip_is_one_and_told_what_it_lacks(tmp_path, left):
    folder = write_published_files(tmp_path / "a")
    other = {"structure.ply": "motion.yaml", "motion.yaml": "structure.ply"}[left]
    (folder / other).unlink()
    with pytest.raises(UserError, match=f"a lacks {other}"):
        open_sfm_clip(folder)


def test_a_folder_with_both_layouts_is_read_as_published(tmp_path):
    folder = write_published_files(tmp_path / "a")
    write_colmap_binary(folder / "sparse" / "0")
    (folder / "sparse" / "0" / "points3D.bin").write_bytes(b"damaged")
    assert_same(open_sfm_clip(folder), tiny_clip(folder))


def test_a_folder_without_sfm_is_told_both_layouts(tmp_path):
    (tmp_path / "images.txt").write_text("a list of something\n")
    with pytest.raises(UserError, match=r"no SfM results; .*motion\.yaml, structure\.ply.*; or, of COLMAP, .*points3D"):
        open_sfm_clip(tmp_path)


def test_a_clip_of_which_no_frame_is_there_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match="of 4 registered frames none is there"):
        open_sfm_clip(write_published_files(tmp_path / "a", frames=["00000099.jpg"]))


def test_a_root_that_is_a_clip_is_the_only_one(tmp_path):
    folder = write_published_files(tmp_path / "a")
    write_published_files(folder / "inner")
    assert find_sfm_clips(folder) == {"a": folder}
    assert list(open_sfm_clips(folder)) == ["a"]


def test_clips_are_found_at_any_depth_in_natural_order_under_names_of_their_own(tmp_path):
    nested = "bag_1/_start_004259_end_004629_stride_25_segment_13"
    for name in ("clip_10", nested, "clip_2"):
        write_published_files(tmp_path / name)
    write_colmap_clip(tmp_path / "clip_3", "sparse")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "images.txt").write_text("no model\n")
    found = find_sfm_clips(tmp_path)
    assert found == {
        nested.replace("/", "_"): tmp_path / nested,
        **{name: tmp_path / name for name in ("clip_2", "clip_3", "clip_10")},
    }
    assert list(found) == [nested.replace("/", "_"), "clip_2", "clip_3", "clip_10"]
    clips = open_sfm_clips(tmp_path)
    assert [clip.name for clip in clips.values()] == list(clips) == list(found)
    assert [clip.folder for clip in clips.values()] == list(found.values())


def test_the_model_of_a_clip_is_no_clip_of_its_own(tmp_path):
    write_colmap_clip(tmp_path / "clip" / "a")
    write_colmap_text(tmp_path / "clip" / "a" / "sparse" / "1")
    assert list(find_sfm_clips(tmp_path)) == ["clip_a"]


def test_hidden_folders_are_left_out_and_links_are_followed(tmp_path):
    write_published_files(tmp_path / "root" / ".clip.partial")
    write_published_files(tmp_path / "elsewhere" / "clip")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere")
    assert find_sfm_clips(tmp_path / "root") == {"linked_clip": tmp_path / "root" / "linked" / "clip"}


def test_links_that_go_round_end(tmp_path):
    write_published_files(tmp_path / "a" / "clip")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "y").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    assert list(find_sfm_clips(tmp_path)) == ["a_clip", "b_y_clip"]


def test_two_clips_of_one_name_are_an_error(tmp_path):
    write_published_files(tmp_path / "a" / "b_c")
    write_published_files(tmp_path / "a_b" / "c")
    with pytest.raises(UserError, match=r"a/b_c and .*a_b/c would both be called a_b_c; rename one"):
        find_sfm_clips(tmp_path)


def test_a_root_without_clips_is_told_both_layouts(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no clip of SfM results in .*motion\.yaml.*; or, of COLMAP, .*points3D"
    ):
        find_sfm_clips(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_sfm_clips(tmp_path / "nowhere")


def test_the_real_clip_is_found_and_opened(shared_data):
    (clip,) = open_sfm_clips(shared_data / "sinus_sfm").values()
    assert (clip.name, len(clip)) == ("sinus_sfm", 35)
    np.testing.assert_array_equal(clip.numbers[[0, -1]], [4584, 4618])
