import json

import numpy as np
import pytest

from util.errors import UserError
from util.intrinsics import intrinsics_from_fov, read_intrinsics, scale_intrinsics

PINHOLE = {"model": "pinhole", "width": 320, "height": 240, "fx": 210.5, "fy": 205.0, "cx": 158.2, "cy": 121.7}


def project(K, point):
    x, y, w = K @ point
    return np.array([x / w, y / w])


def test_a_field_of_view_reaches_from_edge_to_edge():
    K = intrinsics_from_fov(100.0, width=320, height=240)
    ray = np.array([np.tan(np.radians(50.0)), 0.0, 1.0])
    np.testing.assert_allclose(project(K, ray), [319.5, 119.5])
    np.testing.assert_allclose(project(K, ray * [-1, 1, 1]), [-0.5, 119.5])


def test_the_optical_axis_meets_the_middle_of_the_pixel_grid():
    K = intrinsics_from_fov(90.0, width=4, height=3)
    np.testing.assert_allclose(K, [[2.0, 0, 1.5], [0, 2.0, 1.0], [0, 0, 1]])


@pytest.mark.parametrize("fov_deg", [0.0, -10.0, 180.0, 200.0, float("nan")])
def test_a_field_of_view_no_pinhole_has_is_refused(fov_deg):
    with pytest.raises(UserError, match="between 0 and 180"):
        intrinsics_from_fov(fov_deg, 320, 240)


def test_projected_points_move_as_pixels_do_in_a_resize():
    K = np.array([[210.5, 0, 158.2], [0, 205.0, 121.7], [0, 0, 1]])
    from_size, to_size = (240, 320), (512, 448)
    point = np.array([3.0, -2.0, 17.0])
    before = project(K, point)
    after = project(scale_intrinsics(K, from_size, to_size), point)
    scale = np.array([448 / 320, 512 / 240])
    np.testing.assert_allclose(after + 0.5, scale * (before + 0.5))


def test_scaling_there_and_back_changes_nothing_also_in_batches():
    K = np.stack([intrinsics_from_fov(80.0, 320, 240), intrinsics_from_fov(120.0, 320, 240)])
    there = scale_intrinsics(K, (240, 320), (96, 160))
    assert there.shape == (2, 3, 3)
    np.testing.assert_allclose(scale_intrinsics(there, (96, 160), (240, 320)), K, atol=1e-12)


def test_scaling_a_camera_equals_the_camera_of_the_scaled_picture():
    scaled = scale_intrinsics(intrinsics_from_fov(95.0, 320, 240), (240, 320), (480, 640))
    np.testing.assert_allclose(scaled, intrinsics_from_fov(95.0, 640, 480))


def test_scaling_refuses_what_is_no_camera_or_no_size():
    with pytest.raises(ValueError, match="K must be"):
        scale_intrinsics(np.eye(4), (2, 2), (4, 4))
    with pytest.raises(ValueError, match="positive"):
        scale_intrinsics(np.eye(3), (0, 2), (4, 4))


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("fields", [PINHOLE, {k: v for k, v in PINHOLE.items() if k != "model"}])
def test_a_file_is_read_with_its_size_as_height_and_width(tmp_path, fields):
    K, size = read_intrinsics(write(tmp_path / "camera.json", fields))
    np.testing.assert_array_equal(K, [[210.5, 0, 158.2], [0, 205.0, 121.7], [0, 0, 1]])
    assert size == (240, 320)


def test_no_distortion_written_out_is_a_pinhole(tmp_path):
    K, _ = read_intrinsics(write(tmp_path / "camera.json", {**PINHOLE, "distortion": [0, 0, 0, 0]}))
    assert K[0, 0] == 210.5


@pytest.mark.parametrize("change", [{"model": "fisheye"}, {"model": "omnidirectional"}, {"distortion": [0.1, 0, 0, 0]}])
def test_a_camera_that_bends_rays_is_refused_with_a_way_out(tmp_path, change):
    with pytest.raises(UserError, match=r"pinhole.*undistort.*--fov"):
        read_intrinsics(write(tmp_path / "camera.json", {**PINHOLE, **change}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "no json"),
        ("[1, 2]", "one json object"),
        ({"fx": 1.0, "fy": 1.0}, "lacks width, height, cx, cy"),
        ({**PINHOLE, "fx": -3}, "must be positive"),
        ({**PINHOLE, "cx": "left"}, "must be numbers"),
    ],
)
def test_an_unusable_file_is_named_with_its_fault(tmp_path, content, message):
    path = write(tmp_path / "camera.json", content)
    with pytest.raises(UserError, match=message) as caught:
        read_intrinsics(path)
    assert "camera.json" in str(caught.value)


def test_a_missing_file_is_a_plain_error(tmp_path):
    with pytest.raises(UserError, match="no intrinsics file"):
        read_intrinsics(tmp_path / "camera.json")
