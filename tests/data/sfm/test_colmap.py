"""COLMAP models: text and binary read alike, conventions by hand, what is left out, where files are."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from data.sfm.clip import INSIDE
from data.sfm.colmap import read_colmap
from data.sfm.published import read_published
from tests.data.sfm.sfm_files import (
    CX,
    CY,
    FX,
    FY,
    IMAGE_IDS,
    MASK,
    NUMBERS,
    SIZE,
    assert_same,
    colmap_images,
    edit,
    save,
    tiny_clip,
    write_colmap_binary,
    write_colmap_text,
    write_frames,
    write_published_files,
)
from util.errors import UserError

WRITERS = {"text": write_colmap_text, "binary": write_colmap_binary}
NAMES = [f"frame_{number:03d}.png" for number in NUMBERS]
CENTRE = (CX + 0.5, CY + 0.5)  # in COLMAP's pixels


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


@pytest.fixture
def text(tmp_path):
    """A clip with a model as text in it."""
    return write_colmap_text(tmp_path / "clip")


def all_inside(clip):
    return replace(clip, mask=np.full(SIZE, INSIDE, np.uint8))


def drop_line(path, start):
    """Remove the one line that begins so."""
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(start)]
    assert len(kept) == len(lines) - 1
    path.write_text("".join(kept))


def test_text_and_binary_are_read_alike_and_exactly(write, tmp_path):
    clip = read_colmap(write(tmp_path / "clip"))
    assert_same(clip, all_inside(tiny_clip(tmp_path / "clip")))
    assert (clip.name, clip.frames) == ("clip", (None,) * 4)


def test_a_clip_in_both_layouts_is_the_same_clip(write, tmp_path):
    published = read_published(write_published_files(tmp_path / "a"))
    write(tmp_path / "b" / "sparse" / "0")
    save(tmp_path / "b" / "undistorted_mask.bmp", MASK)
    assert_same(read_colmap(tmp_path / "b"), published)


def test_poses_are_inverted(text):
    """The camera of the second view stands at (0.1, -0.05, 0.02): there its own coordinates are 0."""
    pose = next(pose for key, pose, _ in colmap_images() if key == IMAGE_IDS[1])
    clip = read_colmap(text)
    np.testing.assert_allclose(clip.poses[1, :3, 3], [0.1, -0.05, 0.02], atol=1e-15)
    np.testing.assert_allclose(clip.cam_from_world[1, :3, 3], pose[4:], atol=1e-15)
    # A turn about x of -2 atan(0.1), since world to camera is the turn back: (0, 0, 1) comes to (0, sin, cos).
    np.testing.assert_allclose(clip.cam_from_world[1, :3, 2], [0, 0.2 / 1.01, 0.99 / 1.01], atol=1e-15)


def test_centre_of_the_first_pixel_is_moved_from_one_half_to_0(text):
    edit(text / "cameras.txt", f"{CX + 0.5} {CY + 0.5}", "14.0 10.0")  # the middle of 28 x 20 pixels
    np.testing.assert_array_equal(read_colmap(text).camera.K[:2, 2], [13.5, 9.5])  # ((W - 1) / 2, (H - 1) / 2)


@pytest.mark.parametrize(
    ("model", "params", "focals"),
    [
        ("SIMPLE_PINHOLE", (FX, *CENTRE), (FX, FX)),
        ("SIMPLE_RADIAL", (FX, *CENTRE, 0.0), (FX, FX)),
        ("OPENCV", (FX, FY, *CENTRE, 0.0, 0.0, 0.0, 0.0), (FX, FY)),
    ],
)
def test_cameras_without_distortion_are_pinholes(write, tmp_path, model, params, focals):
    clip = read_colmap(write(tmp_path / "clip", model, params))
    np.testing.assert_array_equal(clip.camera.K, [[focals[0], 0, CX], [0, focals[1], CY], [0, 0, 1]])


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("SIMPLE_RADIAL", (FX, *CENTRE, 0.01)),
        ("OPENCV", (FX, FY, *CENTRE, 0.0, 0.0, 0.0, -1e-3)),
        ("OPENCV_FISHEYE", (FX, FY, *CENTRE, 0.0, 0.0, 0.0, 0.0)),  # f theta even without distortion
    ],
)
def test_cameras_that_bend_lines_are_refused(write, tmp_path, model, params):
    with pytest.raises(
        UserError, match=rf"cameras.*{model}\) bends lines; undistort the frames first .*image_undistorter"
    ):
        read_colmap(write(tmp_path / "clip", model, params))


@pytest.mark.parametrize(
    ("place", "frames"),
    [(".", "."), (".", "images"), ("sparse", "images"), ("sparse/0", "."), ("sparse/0", "sparse/0")],
)
def test_models_and_frames_are_found_in_each_place(text, tmp_path, place, frames):
    folder = tmp_path / "other"
    write_colmap_text(folder / place)
    write_frames(folder / frames, [NAMES[0], *NAMES[2:]])
    assert read_colmap(folder).frames == (
        folder / frames / NAMES[0],
        None,
        *(folder / frames / name for name in NAMES[2:]),
    )


def test_the_largest_of_several_models_is_taken(tmp_path):
    folder = tmp_path / "clip"
    write_colmap_text(folder / "sparse" / "0")
    drop_line(folder / "sparse" / "0" / "images.txt", f"{IMAGE_IDS[3]} ")
    edit(folder / "sparse" / "0" / "images.txt", "images: 4", "images: 3")
    write_colmap_text(folder / "sparse" / "10")
    write_colmap_binary(folder / "sparse" / "2")
    for name in ("0", "2"):
        (folder / "sparse" / name / "points3D.txt").write_text("# not read\n")
    (folder / "sparse" / "2" / "images.bin").write_bytes(struct.pack("<Q", 0))
    assert_same(read_colmap(folder), all_inside(tiny_clip(folder)))


def test_of_a_model_in_both_formats_the_complete_one_is_read(tmp_path):
    write_colmap_text(tmp_path)
    (tmp_path / "images.bin").write_bytes(b"not a model")
    assert_same(read_colmap(tmp_path), all_inside(tiny_clip(tmp_path)))


def test_a_mask_of_the_folder_is_read_and_must_have_the_cameras_size(text):
    save(text / "mask.png", MASK)
    np.testing.assert_array_equal(read_colmap(text).mask, MASK)
    save(text / "mask.png", MASK[1:])
    with pytest.raises(UserError, match=r"the camera 28x20, mask\.png 28x19 pixels"):
        read_colmap(text)


def test_frames_of_another_size_than_the_camera_are_refused(text):
    write_frames(text, NAMES, size=(10, 14))
    with pytest.raises(UserError, match=r"the camera 28x20, frame_002\.png 14x10 pixels"):
        read_colmap(text)


def test_points_of_few_views_large_error_or_no_place_are_left_out(text):
    whole = read_colmap(text)
    np.testing.assert_array_equal(read_colmap(text, max_error_px=0.75).points, whole.points[:3])  # 0.5, 0.6, 0.7
    edit(text / "points3D.txt", "\n3 0.5 -0.3", "\n3 0.5 nan")
    edit(text / "points3D.txt", "1 2 3 0.7 ", "1 2 3 -1 ")  # not known
    assert len(read_colmap(text).points) == 4
    np.testing.assert_array_equal(read_colmap(text, max_error_px=0.85).points, whole.points[[0, 2, 3]])


def test_a_point_seen_twice_in_an_image_counts_it_once(text):
    """All tracks of the file name their first image twice; three of them have three images."""
    np.testing.assert_array_equal(read_colmap(text).track_lengths, [3, 3, 3, 3, 4])
    with pytest.raises(UserError, match="of 5 points 1 have 4 views or more and an error of at most 4.0 px"):
        read_colmap(text, min_views=4)


def rename(folder, names):
    for old, new in zip(NAMES, names, strict=True):
        edit(folder / "images.txt", f" {old}\n", f" {new}\n")


def test_views_are_numbered_by_the_last_number_in_their_names(text):
    rename(text, ["cam2/v7_20.jpg", "cam2/v9_3.jpg", "cam1/v7_100.jpg", "cam1/v7_0004.jpg2"])
    clip, straight = read_colmap(text), tiny_clip(text)
    np.testing.assert_array_equal(clip.numbers, [3, 4, 20, 100])
    np.testing.assert_allclose(clip.poses, straight.poses[[1, 3, 0, 2]], atol=1e-15)
    assert clip.observations[clip.observations[:, 1] == 0, 0].tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    "names",
    [
        ["b/1.jpg", "b/2.jpg", "a/1.jpg", "a/10.jpg"],
        ["x2.jpg", "x10.jpg", "first.jpg", "last.jpg"],
        [f"{9 * 10**19 + at}.jpg" for at in (2, 3, 0, 1)],
    ],
    ids=["not unique", "not in all", "too large"],
)
def test_without_numbers_of_their_own_views_are_in_the_order_of_names(text, names):
    rename(text, names)
    clip, straight = read_colmap(text), tiny_clip(text)
    np.testing.assert_array_equal(clip.numbers, [0, 1, 2, 3])
    np.testing.assert_allclose(clip.poses, straight.poses[[2, 3, 0, 1]], atol=1e-15)


def test_names_may_have_spaces(text):
    rename(text, [f"my frame {number}.png" for number in NUMBERS])
    write_frames(text / "images", ["my frame 5.png"])
    assert read_colmap(text).frames[2] == text / "images" / "my frame 5.png"


def test_identical_cameras_are_one_and_others_are_refused(text):
    cameras = text / "cameras.txt"
    line = cameras.read_text().splitlines()[1]
    cameras.write_text(f"{line}\n2{line[1:]}\n5{line[1:].replace(str(FX), '40.0')}\n")
    edit(text / "images.txt", " 1 frame_005.png", " 2 frame_005.png")
    assert_same(read_colmap(text), all_inside(tiny_clip(text)))  # camera 5 has no image
    edit(text / "images.txt", " 2 frame_005.png", " 5 frame_005.png")
    with pytest.raises(UserError, match=r"cameras\.txt, line 3: camera 5 differs from camera 1; .*SINGLE"):
        read_colmap(text)


def test_a_folder_without_a_model_is_told_what_a_clip_has(tmp_path):
    with pytest.raises(UserError, match=r"no COLMAP model; a clip has cameras, images and points3D \(\.bin or \.txt\)"):
        read_colmap(tmp_path)


def test_a_model_without_images_is_an_error(text):
    (text / "images.txt").write_text("# nothing\n")
    with pytest.raises(UserError, match="no registered image"):
        read_colmap(text)


@pytest.mark.parametrize("binary_files", [True, False])
def test_a_model_of_pycolmap_is_read_as_it_was_made(tmp_path, binary_files):
    pycolmap = pytest.importorskip("pycolmap")  # behind NumPy and zlib, without which it corrupts the heap
    expected = tiny_clip(tmp_path)
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model="PINHOLE", width=SIZE[1], height=SIZE[0], params=[FX, FY, *CENTRE], camera_id=1)
    model.add_camera_with_trivial_rig(camera)
    for key, pose, name in colmap_images():
        image = pycolmap.Image(name=name, camera_id=1, image_id=key, keypoints=np.full((9, 2), 2.0))
        w, x, y, z = pose[:4]
        turn = pycolmap.Rotation3d(np.array([x, y, z, w]))
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(turn, np.array(pose[4:])))
    for point in range(len(expected.points)):
        track = pycolmap.Track()
        for view in expected.observations[expected.observations[:, 1] == point, 0]:
            track.add_element(IMAGE_IDS[view], point)
        model.add_point3D(expected.points[point], track)
    (model.write_binary if binary_files else model.write_text)(str(tmp_path))
    assert_same(read_colmap(tmp_path), all_inside(expected))
