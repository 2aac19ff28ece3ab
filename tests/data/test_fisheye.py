"""Fisheye cameras: the published formulas, there and back, and straight lines that become straight."""

import json

import cv2
import numpy as np
import pytest
from scipy.special import expit

from data.fisheye import KannalaBrandtCamera, OmnidirectionalCamera, undistort_depth, undistort_picture
from data.formats.c3vd import COLONOSCOPE

SMALL = OmnidirectionalCamera((108, 135), 68.0, 53.0, 77.0, -0.0081, 6.2e-5, -1.2e-6, c=1.02, d=0.03, e=-0.04)
KANNALA = KannalaBrandtCamera((108, 135), 76.0, 77.0, 68.0, 53.0, -0.189, -0.0039, 0.0305, -0.0128)
CAMERAS = {"c3vd": COLONOSCOPE, "small": SMALL, "kannala_brandt": KANNALA}


@pytest.fixture(params=CAMERAS)
def camera(request):
    return CAMERAS[request.param]


def grid(size, step=1):
    height, width = size
    return np.stack(np.meshgrid(np.arange(0, width, step), np.arange(0, height, step)), axis=-1).astype(np.float64)


def test_there_and_back_is_the_same_pixel_in_the_whole_picture(camera):
    pixels = grid(camera.size, step=3)
    rays = camera.unproject(pixels)
    reached = np.isfinite(rays).all(axis=-1)
    assert reached.mean() > (0.75 if camera is KANNALA else 0.999)  # OpenCV's polynomial bends back near the corners
    assert np.abs(camera.project(rays) - pixels)[reached].max() < 1e-6
    assert np.abs(camera.project(7.5 * rays) - pixels)[reached].max() < 1e-6


def test_rays_are_unit_vectors_and_that_of_the_centre_is_the_optical_axis(camera):
    rays = camera.unproject(np.array([[camera.cx, camera.cy], [30.0, 80.0]]))
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(rays[0], [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(camera.project(np.array([0.0, 0.0, 2.0])), [camera.cx, camera.cy], atol=1e-9)


def test_omnidirectional_ray_by_hand():
    """100 px right of the centre and 50 below it, without and with the stretch."""
    plain = OmnidirectionalCamera((10, 10), 4.0, 5.0, 800.0, -8e-4, 6e-7, -1e-9)
    square = 100.0**2 + 50.0**2
    forward = 800 - 8e-4 * square + 6e-7 * square**1.5 - 1e-9 * square**2
    ray = plain.unproject(np.array([104.0, 55.0]))
    np.testing.assert_allclose(ray / ray[2], np.array([100.0, 50.0, forward]) / forward, rtol=1e-12)
    # ((c, d), (e, 1)) (100, 50) is where that ray is seen with the stretch.
    stretched = OmnidirectionalCamera((10, 10), 4.0, 5.0, 800.0, -8e-4, 6e-7, -1e-9, c=0.9, d=0.2, e=-0.1)
    place = np.array([4 + 0.9 * 100 + 0.2 * 50, 5 - 0.1 * 100 + 50])
    np.testing.assert_allclose(stretched.unproject(place), ray, rtol=1e-12)


def test_kannala_brandt_is_opencvs():
    points = np.random.default_rng(0).uniform([-1, -1, 0.3], [1, 1, 3], (50, 3))
    expected, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), KANNALA._K, KANNALA._distortion)
    np.testing.assert_allclose(KANNALA.project(points), expected[:, 0], atol=1e-9)


def test_point_that_no_pixel_sees_has_none():
    assert np.isnan(COLONOSCOPE.project(np.array([[0.1, 0.0, -1.0]]))).all()
    assert not np.isnan(COLONOSCOPE.project(np.array([[1.0, 0.0, 0.1]]))).any()


def scene(rays):
    """Brightness of a plane at z = 1 with a straight border that blurs over some of its width."""
    x, y = rays[..., 0] / rays[..., 2], rays[..., 1] / rays[..., 2]
    return expit((x - 0.3 * y - 0.3) * 25).astype(np.float32)


def pinhole_rays(camera):
    K, size = camera.pinhole()
    pixels = grid(size)
    plane = (pixels - (K[0, 2], K[1, 2])) / (K[0, 0], K[1, 1])
    return np.concatenate([plane, np.ones((*size, 1))], axis=-1)


def border_of(picture, rows):
    """Where each row crosses 0.5, to a fraction of a pixel."""
    places = []
    for row in rows:
        right = int(np.argmax(picture[row] > 0.5))
        below, above = picture[row, right - 1], picture[row, right]
        places.append(right - 1 + (0.5 - below) / (above - below))
    return np.array(places)


def bend(picture, rows):
    """Largest distance of the border from a straight line [px]."""
    places = border_of(picture, rows)
    return np.abs(places - np.polyval(np.polyfit(rows, places, 1), rows)).max()


def test_straight_lines_become_straight(camera):
    seen = np.repeat(np.nan_to_num(scene(camera.unproject(grid(camera.size))))[..., None], 3, axis=2)
    straight = undistort_picture(seen, camera)
    rows = np.arange(camera.size[0] // 5, camera.size[0] * 4 // 5)
    scale = camera.size[1] / 135
    assert bend(seen[..., 0], rows) > 0.4 * scale
    assert bend(straight[..., 0], rows) < 0.05 * scale
    inner = straight[rows][:, camera.size[1] // 5 : camera.size[1] * 4 // 5, 0]
    expected = scene(pinhole_rays(camera))[rows][:, camera.size[1] // 5 : camera.size[1] * 4 // 5]
    assert np.abs(inner - expected).max() < 0.02


def test_depth_along_the_axis_keeps_its_values(camera):
    """A plane before the camera has one depth in both pictures; what was invalid stays so, mixed with nothing."""
    depth = np.full(camera.size, 30.0, np.float32)
    depth[: camera.size[0] // 2] = 0
    straight = undistort_depth(depth, camera)
    assert set(np.unique(straight)) == {0.0, 30.0}
    assert (straight[camera.size[0] * 3 // 4] == 30).any()


def test_the_pinhole_has_the_magnification_of_the_centre(camera):
    K, size = camera.pinhole()
    assert size == camera.size
    step = 1e-4
    moved = camera.project(np.array([[step, 0, 1.0], [0, step, 1.0]])) - (camera.cx, camera.cy)
    np.testing.assert_allclose(moved[1, 1] / step, K[1, 1], rtol=1e-3)


def test_both_calibrations_of_the_real_colonoscope_agree(shared_data):
    """C3VD's own and the fisheye fitted by others: the same pixel, to what the two fits leave."""
    fields = json.loads((shared_data / "c3vd_trans_t1_a" / "intrinsics.json").read_text())
    k1, k2, k3, k4 = (fields[name] for name in ("k1", "k2", "k3", "k4"))
    other = KannalaBrandtCamera(
        COLONOSCOPE.size, fields["fx"], fields["fy"], fields["cx"], fields["cy"], k1, k2, k3, k4
    )
    pixels = grid(COLONOSCOPE.size, step=50)
    pixels = pixels[np.linalg.norm(pixels - (COLONOSCOPE.cx, COLONOSCOPE.cy), axis=-1) < 450]
    assert np.linalg.norm(other.project(COLONOSCOPE.unproject(pixels)) - pixels, axis=-1).max() < 3
