"""The published layout: read from files made by hand and from the real clip, and each damage."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from data.sfm.clip import INSIDE, project_points
from data.sfm.published import read_published
from tests.data.sfm.sfm_files import (
    CX,
    CY,
    FX,
    NUMBERS,
    POINTS,
    assert_same,
    edit,
    published_texts,
    tiny_clip,
    write_frames,
    write_published_files,
)
from util.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return write_published_files(tmp_path / "clip")


@pytest.fixture
def real(shared_data):
    return read_published(shared_data / "sinus_sfm")


def test_files_written_by_hand_are_read_exactly(folder):
    clip = read_published(folder)
    assert_same(clip, tiny_clip(folder))
    assert clip.name == "clip"
    assert clip.frames == tiny_clip(folder).frames


def test_stored_poses_are_camera_to_world(folder):
    clip = read_published(folder)
    np.testing.assert_allclose(clip.poses[3, :3, 3], [0.25, -0.125, 0.5])  # as stored, not inverted
    # A turn about x of 2 atan(0.1) takes the optical axis (0, 0, 1) to (0, -sin, cos).
    sine, cosine = 0.2 / 1.01, 0.99 / 1.01
    np.testing.assert_allclose(clip.poses[1, :3, 2], [0, -sine, cosine], atol=1e-15)


def test_frames_that_are_not_there_are_none_and_views_stay(folder):
    (folder / "00000003.jpg").unlink()
    clip = read_published(folder)
    assert [frame and frame.name for frame in clip.frames] == ["00000002.jpg", None, "00000005.jpg", "00000012.jpg"]
    assert_same(clip, tiny_clip(folder))


def test_frames_are_found_by_number_whatever_their_zeros_and_format(tmp_path):
    names = ["2.png", "0003.JPG", "000005.tif", "00000012.bmp"]
    folder = write_published_files(tmp_path / "clip", frames=[*names, "13.jpg", "a3.jpg", "mask_5.png"])
    assert [frame.name for frame in read_published(folder).frames] == names


def test_two_frames_of_one_number_are_an_error(folder):
    write_frames(folder, ["5.png"])
    with pytest.raises(UserError, match=r"two frames of one number, 00000005\.jpg and 5\.png"):
        read_published(folder)


def test_poses_may_come_in_any_order(folder):
    text = (folder / "motion.yaml").read_text()
    head, *poses = re.split(r"(?=  poses\[\d\])", text)
    assert len(poses) == 4
    (folder / "motion.yaml").write_text(head + "".join(reversed(poses)))
    assert_same(read_published(folder), tiny_clip(folder))


def test_views_are_sorted_by_number_with_their_poses_and_tracks(folder):
    (folder / "visible_view_indexes").write_text("5\n2\n12\n3\n")
    clip = read_published(folder)
    straight = tiny_clip(folder)
    np.testing.assert_array_equal(clip.numbers, NUMBERS)
    np.testing.assert_allclose(clip.poses, straight.poses[[1, 3, 0, 2]], atol=1e-15)  # the poses stayed where they were
    np.testing.assert_array_equal(clip.observations, straight.observations)  # tracks name frames


def test_numbers_in_any_notation_are_numbers(folder):
    edit(folder / "motion.yaml", "x: 0.25\n", "x: 25e-02\n")  # which PyYAML takes for a text
    assert_same(read_published(folder), tiny_clip(folder))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_points_that_are_not_finite_are_dropped_with_their_tracks(folder, value):
    edit(folder / "structure.ply", "0.5 -0.3 2.5\n", f"0.5 {value} 2.5\n")
    clip, whole = read_published(folder), tiny_clip(folder)
    np.testing.assert_array_equal(clip.points, np.delete(np.array(POINTS), 1, axis=0))
    left = whole.observations[whole.observations[:, 1] != 1]
    left[:, 1] -= left[:, 1] > 1
    np.testing.assert_array_equal(clip.observations, left)


def test_a_frame_that_is_twice_in_a_track_counts_once(folder):
    edit(folder / "view_indexes_per_point", "-1\n2\n3\n5\n-1\n2\n3\n12\n", "-1\n2\n2\n3\n5\n-1\n2\n3\n12\n")
    assert_same(read_published(folder), tiny_clip(folder))


def test_points_are_read_by_the_names_of_their_properties(folder):
    header = "ply\nformat ascii 1.0\nelement camera 1\nproperty float a\nelement vertex 5\n"
    header += "property uchar red\n" + "".join(f"property double {axis}\n" for axis in "zxy") + "end_header\n"
    rows = "".join(f"255 {z} {x} {y}\n" for x, y, z in POINTS)
    (folder / "structure.ply").write_text(header + "0.125\n" + rows)
    assert_same(read_published(folder), tiny_clip(folder))


@pytest.mark.parametrize(
    ("numbers", "focals"),
    [
        ((FX, 30.5, CX, CY) * 4, (FX, 30.5)),
        ((FX, CX, CY), (FX, FX)),
        ((FX, CX, CY) * 2, (FX, FX)),
        ((FX, 30.5, CX, CY, FX * (1 + 1e-7), 30.5, CX, CY), (FX, 30.5)),
    ],
    ids=["one block a view", "three numbers", "three numbers a view", "rounding"],
)
def test_intrinsics_of_each_kind_are_read(folder, numbers, focals):
    (folder / "camera_intrinsics_per_view").write_text("".join(f"{number!r}\n" for number in numbers))
    np.testing.assert_allclose(
        read_published(folder).camera.K, [[focals[0], 0, CX], [0, focals[1], CY], [0, 0, 1]], rtol=1e-12
    )


@pytest.mark.parametrize("name", list(published_texts()))
def test_a_missing_file_is_named_with_the_layout(folder, name):
    (folder / name).unlink()
    with pytest.raises(
        UserError, match=rf"lacks {re.escape(name)}; .*selected_indexes, .*structure\.ply.*00000012\.jpg"
    ):
        read_published(folder)


@pytest.mark.parametrize("name", [*published_texts(), "undistorted_mask.bmp"])
@pytest.mark.parametrize("damage", ["empty", "noise", "half", "two thirds"])
def test_a_damaged_file_of_each_kind_is_named(folder, name, damage):
    content = (folder / name).read_bytes()
    noise = np.random.default_rng(0).integers(128, 256, 300, dtype=np.uint8).tobytes()
    cut = {
        "empty": b"",
        "noise": noise,
        "half": content[: len(content) // 2],
        "two thirds": content[: -len(content) // 3],
    }
    (folder / name).write_bytes(cut[damage])
    with pytest.raises(UserError, match=re.escape(name)):
        read_published(folder)


LAST_BUT_ONE = "-1\n2\n5\n12\n"  # of the tracks
FIRST_TWO = "-1\n2\n3\n5\n-1\n2\n3\n12\n"
LAST = "-1\n2\n3\n5\n12\n"
TURN = "x: 0.0\n      y: -0.2\n      z: 0.1\n      w: 1.0\n"
WRONG = {  # in a file: what stands there, what is put in its place, and what is said
    "selected_indexes": [
        ("12\n", "", r"visible_view_indexes, line 4: frame 12 is not in selected_indexes"),
        ("12\n", "12.5\n", r"selected_indexes, line 12: expected an integer, got '12\.5'"),
    ],
    "visible_view_indexes": [
        ("5\n", "5\n3\n", r"visible_view_indexes, line 4: frame 3 is listed twice, first in line 2"),
        ("5\n", "-5\n", r"visible_view_indexes, line 3: -5 is no frame number"),
        ("5\n", "9999999999999999999\n", r"visible_view_indexes, line 3: 9+ is no frame number"),
        ("12\n", "12\n13\n", r"motion\.yaml, line 6: 4 poses, but visible_view_indexes lists 5 views"),
        ("12\n", "", r"motion\.yaml, line 6: 4 poses, but visible_view_indexes lists 3 views"),
    ],
    "view_indexes_per_point": [
        (LAST_BUT_ONE, "-1\n2\n6\n12\n", r"point, line 15: point 3 was seen in frame 6, not in visible_view_indexes"),
        (LAST_BUT_ONE, "-1\n2\nfive\n12\n", r"point, line 15: expected an integer, got 'five'"),
        (LAST_BUT_ONE, "-1\n" + LAST_BUT_ONE, r"point, line 13: point 3 has no track"),
        (LAST, "-1\n", r"point, line 17: point 4 has no track"),
        (LAST_BUT_ONE, "", r"has 4 tracks \(the last one from line 13\), but structure\.ply 5 points"),
        (LAST, LAST + LAST, r"has 6 tracks \(the last one from line 22\), but structure\.ply 5 points"),
        (FIRST_TWO, "2\n", r"point, line 1: the first track must open with -1, got 2"),
    ],
    "camera_intrinsics_per_view": [
        ("13.75\n9.125\n", "", r"per_view has 2 numbers"),
        ("9.125\n", "9.125\n" + "1\n" * 16, r"per_view has 20 numbers"),
        ("9.125\n", "", r"per_view: the principal point \(30\.5, 13\.75\) is outside the frames of 28x20"),
        ("31.25\n30.5\n13.75\n", "30.5\n30.5\n", r"f = cx = 30\.5; is cy of fx, fy, cx, cy missing"),
        ("9.125\n", "9.125\n31.25\n30.5\n13.75\n9.5\n", r"per_view, line 8: 9\.5 of view 1 is not that of the first"),
        ("31.25\n", "0\n", r"per_view: .* focal lengths positive, got \[0\.0, 30\.5"),
        ("9.125\n", "nan\n", r"per_view, line 4: nan of view 0"),
        ("9.125\n", "inf\n", r"per_view: intrinsics must be finite"),
        ("13.75\n", "x\n", r"per_view, line 3: expected a number, got 'x'"),
    ],
    "motion.yaml": [
        ("      x: 0.1\n      y: -0.05\n", "      x: {\n      y: -0.05\n", r"motion\.yaml is no YAML"),
        ("x: 0.25\n", "x: far\n", r"motion\.yaml, line 38: expected a number, got 'far'"),
        ("x: 0.25\n", "x:\n", r"motion\.yaml, line 38: expected a number, got ''"),
        ("x: 0.25\n", "x: nan\n", r"motion\.yaml, line 38: \[nan, .* is not finite"),
        ("      x: 0.25\n", "", r"motion\.yaml, line 38: x is missing"),
        ("  poses[3]: \n", "  poses[4]: \n", r"motion\.yaml, line 6: poses\[3\] is missing of 4 poses"),
        ("  poses[3]: \n", "  poses[2]: \n", r"motion\.yaml, line 36: there is a second poses\[2\]"),
        (TURN, re.sub(r"-?\d\.\d", "0", TURN), r"motion\.yaml, line 32: an orientation of 0 0 0 0 is no rotation"),
        ("poses[]:", "poses:", r"motion\.yaml, line 1: poses\[\] is missing"),
    ],
    "structure.ply": [
        ("ply\n", "plyx\n", r"structure\.ply, line 1: expected ply"),
        ("format ascii", "format binary_little_endian", r"structure\.ply, line 2: .*, not as binary_little_endian"),
        ("property float z\n", "", r"structure\.ply, line 10: the header has no element vertex with x, y and z"),
        ("0.5 -0.3 2.5\n", "", r"structure\.ply ends in line 16 with 5 lines .* promises 6"),
        ("0.5 -0.3 2.5\n", "0.5 -0.3 2.5\n1 2 3\n", r"structure\.ply ends in line 18 with 7 lines .* promises 6"),
        ("vertex 5", "vertex five", r"structure\.ply, line 4: expected an integer, got 'five'"),
        ("0.5 -0.3 2.5\n", "0.5 -0.3\n", r"structure\.ply, line 13: expected 3 numbers \(x, y, z\), got 2"),
        ("0.5 -0.3 2.5\n", "0.5 -0.3 z\n", r"structure\.ply, line 13: expected a number, got 'z'"),
    ],
}


@pytest.mark.parametrize(
    ("name", "old", "new", "message"), [(name, *wrong) for name, wrongs in WRONG.items() for wrong in wrongs]
)
def test_what_is_wrong_is_said_with_its_line(folder, name, old, new, message):
    edit(folder / name, old, new)
    with pytest.raises(UserError, match=message):
        read_published(folder)


def test_counts_of_the_real_clip(real):
    assert (len(real), real.points.shape, real.observations.shape) == (35, (570, 3), (6585, 2))
    np.testing.assert_array_equal(real.numbers, np.arange(4584, 4619))
    np.testing.assert_array_equal(real.views_with_frames, np.arange(25))
    assert (real.track_lengths.min(), real.track_lengths.max()) == (3, 35)
    of_views = np.bincount(real.observations[:, 0])
    assert (of_views.min(), of_views.max(), round(of_views.mean())) == (97, 244, 188)
    np.testing.assert_array_equal(real.camera.K, [[677.171, 0, 872.127], [0, 677.171, 471.918], [0, 0, 1]])
    assert real.camera.size == real.mask.shape == (1080, 1920)
    assert ((real.mask == INSIDE).sum(), (real.mask == 0).sum() > 1_190_000) == (810_787, True)


def test_points_of_the_real_clip_in_its_first_camera(real):
    in_camera = real.in_camera(0, np.array([0, 3]))
    np.testing.assert_allclose(in_camera, [[-0.483077, 0.605566, 1.768667], [-0.267158, 0.711871, 1.749418]], atol=1e-6)
    np.testing.assert_allclose(
        project_points(in_camera, real.camera.K), [[687.171, 703.772], [768.715, 747.472]], atol=1e-3
    )
    np.testing.assert_array_equal(real.numbers[real.observations[real.observations[:, 1] == 0, 0]], [4584, 4587, 4588])


def test_all_observations_of_the_real_clip_are_before_the_camera_and_in_the_mask(real):
    for view in range(len(real)):
        in_camera = real.in_camera(view, real.observations[real.observations[:, 0] == view, 1])
        assert (in_camera[:, 2] > 0).all()
        columns, rows = np.rint(project_points(in_camera, real.camera.K)).astype(int).T
        assert (real.mask[rows, columns] == INSIDE).all()


def test_optical_flow_follows_the_points_of_the_real_clip_and_not_those_of_inverted_poses(real):
    first, second = 14, 24  # where the camera is slow enough for the tracker to follow
    in_both = [set(real.observations[real.observations[:, 0] == view, 1].tolist()) for view in (first, second)]
    points = np.array(sorted(in_both[0] & in_both[1]))
    pictures = [cv2.imread(str(real.frames[view]), cv2.IMREAD_GRAYSCALE) for view in (first, second)]

    def error(clip):
        start, end = (
            project_points(clip.in_camera(view, points), clip.camera.K).astype(np.float32) for view in (first, second)
        )
        found, tracked, _ = cv2.calcOpticalFlowPyrLK(*pictures, start[:, None], None, winSize=(31, 31), maxLevel=5)
        assert tracked.mean() > 0.9
        return np.median(np.linalg.norm(found[:, 0] - end, axis=1)[tracked[:, 0] == 1])

    assert len(points) == 120
    assert error(real) < 2.5
    assert error(replace(real, poses=real.cam_from_world)) > 15
