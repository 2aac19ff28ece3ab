import cv2
import numpy as np
import pytest

from data.sfm import augment
from data.sfm.augment import AUGMENTATIONS, augment_picture


@pytest.fixture
def picture():
    noise = np.random.default_rng(0).uniform(0, 255, (24, 30, 3))
    return cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8)


class Always(np.random.Generator):
    """Draws below every share, so that each group changes the picture."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))

    def random(self, *args, **kwargs):
        return super().random(*args, **kwargs) * 0.1


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_the_same_seed_gives_the_same_picture(picture, kind):
    first, second = (augment_picture(picture, np.random.default_rng(4), kind) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8
    assert first.shape == picture.shape


def test_none_leaves_the_picture_alone(picture):
    assert augment_picture(picture, np.random.default_rng(0), "none") is picture


def test_noise_has_the_stated_strength(picture):
    flat = np.full((200, 200, 3), 128, np.uint8)
    stds = [(augment_picture(flat, Always(seed), "noise").astype(float) - 128).std() for seed in range(20)]
    assert min(stds) > 0.005 * 255 * 0.9
    assert max(stds) < np.sqrt(30) * 1.1


def test_about_half_of_the_pictures_stay_as_they_are_under_noise(picture):
    same = [np.array_equal(augment_picture(picture, np.random.default_rng(s), "noise"), picture) for s in range(200)]
    assert 70 < sum(same) < 130


def test_a_hue_shift_of_a_full_turn_is_none(picture):
    turned = augment._shift_hsv(picture, 180.0, 0.0, 0.0)
    unturned = augment._shift_hsv(picture, 0.0, 0.0, 0.0)
    np.testing.assert_array_equal(turned, unturned)


def test_a_hue_shift_of_120_degrees_makes_red_green():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_array_equal(augment._shift_hsv(red, 60.0, 0.0, 0.0)[0, 0], [0, 200, 0])


def test_motion_blur_keeps_brightness_and_leaves_a_line(picture):
    dot = np.zeros((15, 15, 3), np.uint8)
    dot[7, 7] = 210
    blurred = augment._motion_blur(dot, np.random.default_rng(2))
    assert abs(int(blurred.sum()) - int(dot.sum())) < 0.05 * dot.sum()
    assert (blurred[..., 0] > 0).sum() > 1


@pytest.mark.parametrize(
    "change", ["_blur", "_median_blur", "_motion_blur", "_jpeg", "_brightness_and_contrast", "_gamma"]
)
def test_each_change_changes_the_picture_but_not_beyond_recognition(picture, change):
    changed = getattr(augment, change)(picture, np.random.default_rng(3))
    assert changed.dtype == np.uint8
    assert 0 < np.abs(changed.astype(int) - picture).mean() < 90
