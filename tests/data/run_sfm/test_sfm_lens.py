"""The camera of the frames: where it is taken from, and what of its distortion is taken out."""

import json

import cv2
import numpy as np
import pytest

from data.run_sfm.camera import Lens, find_lens, read_lens
from data.sfm.published_writer import write_published
from tests.data.run_sfm.sfm_scene import SIZE, K, write_camera
from tests.data.sfm.tiny_clip import make_clip
from util.errors import UserError
from util.intrinsics import Intrinsics

BARREL = [-0.25, 0.06, 0.002, -0.001]


def find(source, size=SIZE, intrinsics=None, fov_deg=None, focal_px=None):
    return find_lens(source, size, intrinsics=intrinsics, fov_deg=fov_deg, focal_px=focal_px)


def test_a_calibration_beside_the_frames_is_used(tmp_path):
    write_camera(tmp_path / "intrinsics.json")
    lens = find(tmp_path)
    np.testing.assert_array_equal(lens.camera.K, K)
    assert not lens.bends
    assert lens.origin == str(tmp_path / "intrinsics.json")


def test_a_calibration_beside_a_film_is_used(tmp_path):
    write_camera(tmp_path / "intrinsics.json")
    np.testing.assert_array_equal(find(tmp_path / "film.mp4").camera.K, K)


def test_what_is_given_goes_before_what_lies_beside_the_frames(tmp_path):
    write_camera(tmp_path / "intrinsics.json")
    other = write_camera(tmp_path / "other.json", fx=301.0)
    assert find(tmp_path, intrinsics=other).camera.K[0, 0] == 301.0
    assert find(tmp_path, fov_deg=90.0).camera.K[0, 0] == pytest.approx(140.0)  # half the width / tan 45
    guess = find(tmp_path, focal_px=250.0)
    np.testing.assert_array_equal(guess.camera.K, [[250, 0, 139.5], [0, 250, 99.5], [0, 0, 1]])
    assert guess.origin == "--focal 250"


def test_a_calibration_of_larger_frames_is_scaled_about_the_pictures_edge(tmp_path):
    write_camera(tmp_path / "intrinsics.json")
    half = find(tmp_path, size=(100, 140)).camera
    np.testing.assert_allclose(half.K, [[120, 0, 73.75], [0, 116, 47.75], [0, 0, 1]])
    assert half.size == (100, 140)


def test_a_calibration_of_another_aspect_is_refused(tmp_path):
    write_camera(tmp_path / "intrinsics.json")
    with pytest.raises(UserError, match=r"of pictures of 280x200 pixels, but the frames have 200x200"):
        find(tmp_path, size=(200, 200))


def test_without_a_camera_the_error_says_why_sfm_cannot_find_it(tmp_path):
    with pytest.raises(UserError, match=r"--fov or --focal.*fits the frames just as well"):
        find(tmp_path)


@pytest.mark.parametrize("fisheye", [False, True])
def test_a_pixel_of_the_straight_picture_is_the_one_that_opencv_projects_its_ray_to(tmp_path, fisheye):
    coefficients = [0.05, -0.02, 0.004, -0.001] if fisheye else BARREL
    file = write_camera(tmp_path / "lens.json", model="fisheye" if fisheye else "pinhole", distortion=coefficients)
    lens = read_lens(file)
    columns, rows = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    bent = np.stack([columns, rows, np.zeros(SIZE)], axis=-1).astype(np.float32)  # each pixel tells where it is
    straight = lens.straighten(bent)
    for x, y in ((148, 96), (60, 50), (230, 150)):
        ray = np.linalg.inv(K) @ (x, y, 1)
        project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
        place = project(ray.reshape(1, 1, 3), np.zeros(3), np.zeros(3), K, np.array(coefficients))[0].ravel()
        np.testing.assert_allclose(straight[y, x, :2], place, atol=0.05)  # remap rounds to 1/32 px
    assert lens.bends


def test_straight_lines_of_a_pinhole_are_left_alone():
    picture = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    assert Lens(Intrinsics(K, SIZE), (0.0, 0.0, 0.0, 0.0)).straighten(picture) is picture


def test_the_view_of_a_lens_ends_where_it_saw_nothing():
    pincushion = Lens(Intrinsics(K, SIZE), (0.6, 0.0, 0.0, 0.0))
    view = pincushion.straighten_view(np.ones(SIZE, bool))
    assert view[96, 148]
    assert not view[[0, 0, -1, -1], [0, -1, 0, -1]].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "omnidirectional"}, "'omnidirectional'; known are pinhole, opencv, fisheye"),
        ({"distortion": [0.1, 0.2, 0.3]}, "distortion of 4 or 5 or 8 numbers, got .* 3"),
        ({"model": "fisheye"}, "distortion of 4 numbers, got .* 0"),
        ({"distortion": ["a", 0, 0, 0]}, "needs the numbers"),
        ({"distortion": BARREL, "fx": -1}, "positive"),
        ({"distortion": BARREL, "cx": float("nan")}, "positive sizes"),
    ],
)
def test_a_lens_that_is_not_understood_is_an_error_with_its_file(tmp_path, change, message):
    file = write_camera(tmp_path / "lens.json", **change)
    with pytest.raises(UserError, match=f"lens.json.*{message}"):
        read_lens(file)


def test_a_bent_lens_without_a_focal_length_is_an_error(tmp_path):
    file = tmp_path / "lens.json"
    file.write_text(json.dumps({"model": "fisheye", "distortion": BARREL}))
    with pytest.raises(UserError, match="'width'"):
        read_lens(file)


def test_the_camera_of_earlier_sfm_results_is_used_where_frames_have_no_calibration(tmp_path):
    clip = make_clip(frames=tmp_path / "clip")
    write_published(clip, tmp_path / "clip")
    lens = find(tmp_path / "clip", size=clip.camera.size)
    np.testing.assert_allclose(lens.camera.K, clip.camera.K)
    assert lens.origin == str(tmp_path / "clip" / "camera_intrinsics_per_view")
