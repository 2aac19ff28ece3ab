"""View, overlays and interlacing of a film as a whole."""

import cv2
import numpy as np
import pytest

from data.films.look import MIN_SAMPLES, StillParts, study_film
from util.errors import UserError

SIZE = (180, 240)
TEXT = ("21/11/2026", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.7)
BOX = (slice(110, 150), slice(150, 210))


def scene(seed, smooth=4):
    noise = np.random.default_rng(seed).random((*SIZE, 3)).astype(np.float32)
    grown = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), smooth), None, 40, 230, cv2.NORM_MINMAX)
    return (grown * np.array([1.0, 0.6, 0.5], np.float32)).astype(np.uint8)


def marked(rgb):
    """With a text, and a box of a colour that is as bright as the scene."""
    out = rgb.copy()
    cv2.putText(out, *TEXT, (240, 240, 240), 1, cv2.LINE_AA)
    out[BOX] = (40, 100, 210)
    return out


def truth():
    mask = cv2.putText(np.zeros(SIZE, np.uint8), *TEXT, 1, 1) > 0
    mask[BOX] = True
    return mask


def overlay_of(frames, view=None):
    still = StillParts()
    for frame in frames:
        still.add(frame)
    return still.overlay(np.ones(SIZE, bool) if view is None else view)


def test_texts_and_pictures_that_stand_still_are_found_whole_and_nothing_else():
    found, true = overlay_of(marked(scene(seed)) for seed in range(40)), truth()
    assert (found & true).sum() > 0.97 * true.sum()
    near = cv2.dilate(true.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0  # a line of text is filled
    assert not (found & ~near).any()


@pytest.mark.parametrize("smooth", [1, 4, 12])
def test_a_scene_without_overlay_has_none(smooth):
    assert not overlay_of(scene(seed, smooth) for seed in range(40)).any()


def test_a_film_that_hardly_moves_or_is_short_has_no_overlay_to_tell_of():
    assert not overlay_of([marked(scene(0))] * 40).any()
    assert not overlay_of(marked(scene(seed)) for seed in range(MIN_SAMPLES - 1)).any()


def test_a_still_part_without_an_outline_is_of_the_scene():
    dark = np.hypot(*np.meshgrid(np.linspace(-1.6, 1.6, SIZE[1]), np.linspace(-1.2, 1.2, SIZE[0])))
    light = np.clip(dark - 0.2, 0, 1)[..., None]  # a lumen without light, that stays in the middle
    assert not overlay_of((scene(seed) * light).astype(np.uint8) for seed in range(40)).any()


def test_overlays_are_found_in_large_frames_and_few_of_them_dark():
    frames = [marked(scene(seed)) * (seed % 12 > 0) for seed in range(40)]
    large = [cv2.resize(frame.astype(np.uint8), None, fx=4, fy=4) for frame in frames]
    still = StillParts()
    for frame in large:
        still.add(frame)
    found = still.overlay(np.ones(large[0].shape[:2], bool))
    assert found[440:600:20, 600:840:20].all()
    assert found.mean() < 0.2


def test_a_film_is_studied_as_a_whole(tmp_path, save):
    octagon = cv2.fillConvexPoly(
        np.zeros(SIZE, np.uint8),
        np.array([[60, 5], [180, 5], [235, 60], [235, 120], [180, 175], [60, 175], [5, 120], [5, 60]]),
        1,
    )
    for number in range(30):
        save(tmp_path / "film" / f"{number}.png", marked(scene(number)) * octagon[..., None])
    look = study_film(tmp_path / "film")
    assert not look.interlaced
    assert not (look.view & (octagon == 0)).any()
    assert look.view.sum() > 0.93 * octagon.sum()
    assert look.overlay[BOX].mean() > 0.95
    assert not (look.seen & look.overlay).any()


def test_black_films_and_frames_of_several_sizes_are_errors(tmp_path, save):
    save(tmp_path / "black" / "0.png", np.zeros((*SIZE, 3)))
    with pytest.raises(UserError, match="black is black"):
        study_film(tmp_path / "black")
    save(tmp_path / "two" / "0.png", scene(0))
    save(tmp_path / "two" / "1.png", scene(0)[:-10])
    with pytest.raises(UserError, match="picture 1 of the film is"):
        study_film(tmp_path / "two")


@pytest.mark.parametrize("folder", ["colonoscopy_ldpolyp", "colonoscopy_polyp480", "sinus_sfm", "endoslam_unity/rgb"])
def test_real_clips_without_overlays_get_none(shared_data, folder):
    assert not study_film(shared_data / folder).overlay.any()
