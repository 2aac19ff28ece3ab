"""Every kind of input of a test, with truth and without."""

import json

import numpy as np
import pytest

from evaluation.sources import open_source
from tests.evaluation.moving_camera import spiral, write_moving_clip
from tests.tiny_run import FRAME, MM_PER_UNIT8, scene, write_png
from util.errors import UserError
from util.video_files import VideoWriter

RGB, STORED = scene(7)


def read_all(source):
    return list(source.frames())


def write_frames(folder, names=("a", "b")):
    for name in names:
        write_png(folder / f"{name}.png", RGB)
    return folder


def flow_picture(u, v, visible):
    stored = np.zeros((*FRAME, 3), np.uint16)
    stored[..., 0], stored[..., 1] = np.round(u * 64 + 2**15), np.round(v * 64 + 2**15)
    stored[..., 2] = visible
    return stored


def write_truth(dataroot, split, clip, stems):
    folder = dataroot / "truth" / split / clip
    for stem in stems:
        write_png(folder / "depth" / f"{stem}.png", np.full(FRAME, 25600, np.uint16))
        write_png(folder / "flow_fwd" / f"{stem}.png", flow_picture(-2.0, -1.0, visible=1))
    (folder / "depth" / "depth.json").write_text(json.dumps({"mm_per_unit": 1 / 256}))


# The splits of a data set


def test_split_of_pairs_comes_with_its_truth_in_mm(make_options, dataroot):
    source = open_source(make_options())
    frames = read_all(source)
    assert (source.what, source.count, source.relative) == ("test", 3, False)
    assert [frame.name for frame in frames] == ["020", "021", "022"]
    np.testing.assert_allclose(frames[1].gt_mm, scene(21)[1] * MM_PER_UNIT8, rtol=1e-6)
    np.testing.assert_allclose(frames[1].rgb, scene(21)[0] / 255, rtol=1e-6)
    assert [frame.clip for frame in frames] == [None] * 3
    assert [frame.clip for frame in read_all(open_source(make_options(temporal=True)))] == ["test"] * 3


def test_split_that_is_not_there_is_named(make_options, dataroot):
    with pytest.raises(FileNotFoundError, match=r"no folder .*validation_A"):
        open_source(make_options(phase="validation"))


def test_clips_come_with_depth_and_flow_where_the_truth_is_known(make_options, dataroot):
    write_truth(dataroot, "video_test", "clip", ["0000", "0001", "0002"])
    source = open_source(make_options(phase="video_test"))
    frames = read_all(source)
    assert (source.count, [frame.name for frame in frames]) == (3, ["clip/0000", "clip/0001", "clip/0002"])
    assert {frame.clip for frame in frames} == {"clip"}
    assert frames[0].gt_mm.tolist() == np.full(FRAME, 100.0).tolist()
    assert frames[0].flow_to_next.flow[:, 3, 4].tolist() == [-2.0, -1.0]
    assert frames[0].flow_to_next.mask.all()
    assert frames[2].flow_to_next is None


def test_clips_without_truth_are_frames_alone(make_options, dataroot):
    frames = read_all(open_source(make_options(phase="video_train")))
    assert len(frames) == 5
    assert all(frame.gt_mm is None and frame.flow_to_next is None for frame in frames)


def test_two_frames_side_by_side_have_names_of_their_own(make_options, tmp_path):
    write_png(tmp_path / "data" / "video_test" / "p7.png", np.concatenate([RGB, RGB[:, ::-1]], axis=1))
    left, right = read_all(open_source(make_options(phase="video_test")))
    assert left.name != right.name
    assert left.clip == right.clip == "p7"
    np.testing.assert_array_equal(left.rgb, right.rgb[:, ::-1])


# A folder


def test_folder_of_frames(make_options, tmp_path):
    source = open_source(make_options(input=write_frames(tmp_path / "in")))
    assert (source.what, source.count, source.facts) == ("in", 2, {})
    assert [(frame.name, frame.gt_mm, frame.clip) for frame in read_all(source)] == [
        ("a", None, None),
        ("b", None, None),
    ]


def test_folder_of_consecutive_frames_is_a_clip(make_options, tmp_path):
    source = open_source(make_options(input=write_frames(tmp_path / "in"), temporal=True))
    assert {frame.clip for frame in read_all(source)} == {"in"}


def test_depth_maps_beside_the_frames_are_their_truth_and_no_frames(make_options, tmp_path):
    write_frames(tmp_path / "in", ["FrameBuffer_1", "FrameBuffer_2"])
    write_png(tmp_path / "in" / "Depth_2.png", STORED)
    source = open_source(make_options(input=tmp_path / "in"))
    first, second = read_all(source)
    assert first.gt_mm is None
    np.testing.assert_allclose(second.gt_mm, STORED * MM_PER_UNIT8, rtol=1e-6)
    assert source.facts == {"frames without truth": "1"}


def test_truth_may_lie_in_a_folder_of_its_own(make_options, tmp_path):
    write_png(tmp_path / "gt" / "b.png", STORED)
    first, second = read_all(open_source(make_options(input=write_frames(tmp_path / "in"), truth=tmp_path / "gt")))
    assert first.gt_mm is None
    assert second.gt_mm.max() == pytest.approx(STORED.max() * MM_PER_UNIT8)


def test_truth_of_unknown_scale_is_marked(make_options, tmp_path):
    write_png(tmp_path / "gt" / "b.png", STORED)
    (tmp_path / "gt" / "depth.json").write_text(json.dumps({"mm_per_unit": 1, "relative": True}))
    assert open_source(make_options(input=write_frames(tmp_path / "in"), truth=tmp_path / "gt")).relative


def test_truth_that_fits_no_frame_is_an_error(make_options, tmp_path):
    write_png(tmp_path / "gt" / "z.png", STORED)
    with pytest.raises(UserError, match="no depth map in .*gt belongs to a frame in .*in"):
        open_source(make_options(input=write_frames(tmp_path / "in"), truth=tmp_path / "gt"))


def test_empty_folder_says_what_was_looked_for(make_options, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no frames in .*in \(looked for \.png"):
        open_source(make_options(input=tmp_path / "in"))


def test_depth_map_of_another_size_is_named_with_both_sizes(make_options, tmp_path):
    write_png(tmp_path / "gt" / "b.png", STORED[:-1])
    source = open_source(make_options(input=write_frames(tmp_path / "in"), truth=tmp_path / "gt"))
    with pytest.raises(UserError, match=r"b\.png is 36x44 pixels, its depth map .*b\.png 35x44"):
        read_all(source)


def test_frames_of_one_stem_keep_apart(make_options, tmp_path):
    write_frames(tmp_path / "in")
    write_png(tmp_path / "in" / "a.bmp", RGB)
    assert [frame.name for frame in read_all(open_source(make_options(input=tmp_path / "in")))] == [
        "a.bmp",
        "a.png",
        "b",
    ]


# One file


def test_single_picture_with_and_without_truth(make_options, tmp_path):
    picture = write_frames(tmp_path / "in") / "b.png"
    write_png(tmp_path / "gt" / "b.png", STORED)
    for truth, maximum in ((None, None), (tmp_path / "gt", STORED.max()), (tmp_path / "gt" / "b.png", STORED.max())):
        source = open_source(make_options(input=picture, truth=truth))
        (frame,) = read_all(source)
        assert (source.what, source.count, frame.name) == ("b", 1, "b")
        assert (frame.gt_mm is None) == (maximum is None)
        assert maximum is None or frame.gt_mm.max() == pytest.approx(maximum * MM_PER_UNIT8)


def test_truth_without_the_pictures_depth_is_an_error_and_not_left_out(make_options, tmp_path):
    picture = write_frames(tmp_path / "in") / "b.png"
    write_png(tmp_path / "gt" / "z.png", STORED)
    with pytest.raises(UserError, match=r"no depth map in .*gt belongs to .*b\.png"):
        open_source(make_options(input=picture, truth=tmp_path / "gt"))


def test_video_file(make_options, tmp_path):
    with VideoWriter(tmp_path / "film.avi", 12.5) as video:
        for number in range(4):
            video.write(np.full((*FRAME, 3), 40 * number, np.uint8))
    source = open_source(make_options(input=tmp_path / "film.avi"))
    frames = read_all(source)
    assert (source.what, source.count, source.fps) == ("film", 4, 12.5)
    assert [frame.name for frame in frames] == ["000000", "000001", "000002", "000003"]
    assert {frame.clip for frame in frames} == {"film"}
    np.testing.assert_allclose([frame.rgb.mean() for frame in frames], np.arange(4) * 40 / 255, atol=0.02)  # JPEG


def test_truth_of_a_video_is_refused(make_options, tmp_path):
    with VideoWriter(tmp_path / "film.avi", 25) as video:
        video.write(RGB)
    with pytest.raises(UserError, match="--truth .*cut it into frames first"):
        open_source(make_options(input=tmp_path / "film.avi", truth=tmp_path))


def test_file_of_another_kind_lists_the_known_ones(make_options, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"notes\.txt is neither a folder, a picture nor a video \(known: \.png"):
        open_source(make_options(input=tmp_path / "notes.txt"))


def test_frames_of_a_folder_come_in_the_order_in_which_people_count(make_options, tmp_path):
    for number in (10, 9, 1):
        write_png(tmp_path / "in" / f"frame_{number}.png", np.full((8, 8, 3), 99, np.uint8))
    names = [frame.name for frame in open_source(make_options(input=tmp_path / "in")).frames()]
    assert names == ["frame_1", "frame_9", "frame_10"]


# Poses and cameras


def test_clips_come_with_poses_and_the_camera_beside_them(make_options, tmp_path):
    write_moving_clip(tmp_path / "data", spiral(3))
    frames = read_all(open_source(make_options(phase="video_test")))
    np.testing.assert_allclose([frame.pose for frame in frames], spiral(3))
    np.testing.assert_allclose(frames[0].K, [[40, 0, 20], [0, 38, 17], [0, 0, 1]])
    asked = read_all(open_source(make_options(phase="video_test", fov=90.0)))
    np.testing.assert_allclose(asked[0].K, [[22, 0, 21.5], [0, 22, 17.5], [0, 0, 1]])


def test_poses_that_do_not_fit_the_clip_are_an_error(make_options, tmp_path):
    write_moving_clip(tmp_path / "data", spiral(3))
    (tmp_path / "data" / "video_test" / "clip" / "0002.png").unlink()
    with pytest.raises(UserError, match=r"poses\.json has 3 poses, but the clip has 2 frames"):
        read_all(open_source(make_options(phase="video_test")))


def test_a_camera_that_is_no_pinhole_is_none(make_options, tmp_path):
    write_moving_clip(tmp_path / "data", spiral(3))
    (tmp_path / "data" / "video_test" / "clip" / "intrinsics.json").write_text(json.dumps({"model": "fisheye"}))
    assert [frame.K for frame in read_all(open_source(make_options(phase="video_test")))] == [None] * 3


def test_consecutive_frames_of_a_split_are_a_clip_a_sequence_with_poses_and_cameras(make_options, tmp_path):
    lines = ["image,depth,split,sequence,fx,fy,cx,cy,tx,ty,tz,qx,qy,qz,qw"]
    for number, sequence in enumerate(("a", "a", "b")):
        write_png(tmp_path / "data" / f"{number}.png", RGB)
        write_png(tmp_path / "data" / f"{number}_depth.png", STORED)
        lines.append(f"{number}.png,{number}_depth.png,test,{sequence},40,38,20,17,{number},0,5,0,0,0,1")
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(lines) + "\n")
    frames = read_all(open_source(make_options(dataset="manifest", temporal=True)))
    assert [frame.clip for frame in frames] == ["a", "a", "b"]
    assert [frame.pose[:3, 3].tolist() for frame in frames] == [[0, 0, 5], [1, 0, 5], [2, 0, 5]]
    np.testing.assert_allclose(frames[0].K, [[40, 0, 20], [0, 38, 17], [0, 0, 1]])
    alone = read_all(open_source(make_options(dataset="manifest")))
    assert {(frame.clip, frame.pose is None) for frame in alone} == {(None, True)}
