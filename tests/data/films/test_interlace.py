"""Combs of interlaced frames are found and taken out; pictures without them stay as they are."""

import cv2
import numpy as np
import pytest

from data.films.interlace import COMBED, CombCount, comb_mask, combing, deinterlaced
from data.image_files import list_images, read_rgb


def picture(seed=0, size=(96, 128)):
    """Smooth, uint8 (H, W, 3)."""
    noise = np.random.default_rng(seed).random((size[0], 2 * size[1], 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 30, 220, cv2.NORM_MINMAX).astype(np.uint8)


def moment(shift, width=128):
    return picture()[:, 40 + shift : 40 + shift + width]


def woven(shift):
    """Even rows of one moment, odd ones of another, ``shift`` pixels later."""
    frame = moment(0).copy()
    frame[1::2] = moment(shift)[1::2]
    return frame


def is_interlaced(frames):
    combs = CombCount()
    for frame in frames:
        combs.add(frame)
    return combs.interlaced


def test_combing_is_about_1_in_a_picture_and_large_in_a_comb():
    assert 0.6 < combing(moment(0)) < 1.6
    assert combing(woven(4)) > 2 * COMBED


def test_a_film_is_interlaced_when_some_of_its_frames_are_combed():
    still = [moment(0)] * 17
    assert is_interlaced([*still, woven(4), woven(6), woven(5)])
    assert not is_interlaced([*still, moment(1), moment(2)])
    assert not is_interlaced([])


@pytest.mark.parametrize("shift", [3, 6])
def test_the_moment_of_the_even_rows_comes_out(shift):
    frame, truth = woven(shift), moment(0)
    made = deinterlaced(frame)
    np.testing.assert_array_equal(made[::2], truth[::2])
    before, after = (np.abs(one.astype(int) - truth).mean() for one in (frame, made))
    assert after < 0.2 * before
    assert combing(made) < COMBED


def test_what_stands_still_keeps_both_halves_of_its_rows():
    frame = moment(0).copy()
    frame[1::2, :64] = moment(5)[1::2, :64]  # only the left half moves
    made = deinterlaced(frame)
    assert comb_mask(frame)[:, :60].mean() > 0.5
    np.testing.assert_array_equal(made[:, 64 + 9 :], frame[:, 64 + 9 :])


def test_a_thin_line_is_no_comb():
    frame = np.full((40, 60, 3), 90, np.uint8)
    frame[21] = 200
    np.testing.assert_array_equal(deinterlaced(frame), frame)


@pytest.mark.parametrize("height", [8, 9])
def test_any_number_of_rows_will_do(height):
    frame = woven(5)[:height]
    assert deinterlaced(frame).shape == frame.shape


def frames_of(folder):
    return [(read_rgb(file) * 255).astype(np.uint8) for file in list_images(folder)]


def test_the_real_interlaced_clip_is_found_and_its_combs_are_gone(shared_data):
    frames = frames_of(shared_data / "colonoscopy_ldpolyp")
    assert is_interlaced(frames)
    assert sum(combing(frame) > COMBED for frame in frames) > 20
    assert all(combing(deinterlaced(frame)) < 1.3 for frame in frames)


@pytest.mark.parametrize(
    "folder", ["colonoscopy_polyp480", "sinus_sfm", "endoslam_unity/rgb", "c3vd_defcol_preview/rgb"]
)
def test_other_clips_are_not_interlaced(shared_data, folder):
    assert not is_interlaced(frames_of(shared_data / folder)[:20])
