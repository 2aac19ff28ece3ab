"""The view of an endoscope is found: its border goes, its dark lumen stays."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from data.image_files import list_images, read_rgb
from data.view_mask import find_view, inscribed_box, largest_part, resize_view
from util.errors import UserError

HEIGHT, WIDTH = 60, 83
OCTAGON = cv2.fillPoly(
    np.zeros((HEIGHT, WIDTH), np.uint8),
    [np.array([[20, 4], [62, 4], [78, 18], [78, 40], [62, 55], [20, 55], [6, 40], [6, 18]])],
    1,
).astype(bool)


def frame(view=OCTAGON, lumen=(30, 40), seed=0):
    """Bright mucosa inside the view with a black lumen of 13 x 13 pixels, noise of compressed video outside."""
    rng = np.random.default_rng(seed)
    rgb = np.where(view[..., None], rng.uniform(0.3, 0.9, (HEIGHT, WIDTH, 3)), rng.uniform(0, 0.06, (HEIGHT, WIDTH, 3)))
    y, x = lumen
    rgb[y - 6 : y + 7, x - 6 : x + 7] = 0
    return rgb.astype(np.float32)


def test_the_octagon_is_found_with_its_dark_lumen_inside():
    np.testing.assert_array_equal(find_view([frame()]), OCTAGON)


def test_a_lumen_that_touches_the_border_only_now_and_then_stays_inside():
    frames = [frame(lumen=(10, 40) if seed % 4 == 0 else (30, 30), seed=seed) for seed in range(20)]
    assert not np.array_equal(find_view(frames[:1]), OCTAGON)
    np.testing.assert_array_equal(find_view(frames), OCTAGON)


def test_an_overlay_that_lights_up_in_one_of_forty_frames_is_border():
    frames = [frame(seed=seed) for seed in range(40)]
    frames[7][:3, :20] = 1
    np.testing.assert_array_equal(find_view(frames), OCTAGON)


def test_a_frame_without_border_is_all_view():
    assert find_view([frame(np.ones_like(OCTAGON))]).all()


def test_black_frames_have_no_view():
    assert not find_view([np.zeros((9, 12, 3), np.float32)]).any()


def test_one_bright_channel_is_enough_for_a_pixel_to_be_view():
    red = np.zeros((9, 12, 3), np.float32)
    red[2:7, 3:9, 0] = 0.2
    assert find_view([red]).sum() == 30


def test_no_frame_is_an_error():
    with pytest.raises(ValueError, match="no frames"):
        find_view([])


def test_the_inscribed_box_holds_no_border_and_most_of_the_view():
    top, bottom, left, right = inscribed_box(OCTAGON)
    assert OCTAGON[top:bottom, left:right].all()
    assert (bottom - top) * (right - left) > 0.6 * OCTAGON.sum()
    assert inscribed_box(np.ones((7, 9), bool)) == (0, 7, 0, 9)


def test_the_inscribed_box_of_an_ellipse_holds_no_border():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    view = ((y - 29) / 28) ** 2 + ((x - 41) / 40) ** 2 < 1
    top, bottom, left, right = inscribed_box(view)
    assert view[top:bottom, left:right].all()
    # The largest box in an ellipse has the share 2 / pi of it.
    assert (bottom - top) * (right - left) > 0.9 * 2 / np.pi * view.sum()


def test_the_inscribed_box_is_the_largest_of_all():
    rng = np.random.default_rng(0)
    for _ in range(30):
        view = rng.random((7, 9)) < 0.8
        rows, columns = (list(combinations(range(count + 1), 2)) for count in view.shape)
        boxes = [view[t:b, start:end] for t, b in rows for start, end in columns]
        largest = max(box.size for box in boxes if box.all())
        top, bottom, left, right = inscribed_box(view)
        assert view[top:bottom, left:right].all()
        assert (bottom - top) * (right - left) == largest


def test_the_box_of_a_large_view_reaches_its_border_to_the_pixel():
    view = np.zeros((1080, 1920), bool)
    view[101:997, 311:1603] = True
    assert inscribed_box(view) == (101, 997, 311, 1603)


def test_a_view_without_any_box_is_an_error():
    with pytest.raises(UserError, match="--no_crop"):
        inscribed_box(np.zeros((20, 30), bool))


def test_a_resized_view_holds_no_pixel_that_shows_anything_else():
    view = np.ones((40, 60), bool)
    view[10, 20] = False
    small = resize_view(view, (20, 30))
    assert not small[5, 10]
    assert small.sum() == small.size - 1


def test_the_largest_part_leaves_texts_beside_the_picture_out():
    written = OCTAGON.copy()
    written[0:2, 0:5] = written[50:53, 1:4] = True
    np.testing.assert_array_equal(largest_part(written), OCTAGON)


@pytest.mark.parametrize(
    ("folder", "least", "most"), [("colonoscopy_ldpolyp", 0.92, 0.96), ("colonoscopy_polyp480", 0.74, 0.81)]
)
def test_the_view_of_real_colonoscopy_is_an_octagon_without_black_corners(shared_data, folder, least, most):
    frames = [read_rgb(path) for path in list_images(shared_data / folder)[:12]]
    view = find_view(frames)
    assert least < view.mean() < most
    assert not any(view[corner] for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)))
    top, bottom, left, right = inscribed_box(view)
    assert view[top:bottom, left:right].all()
    assert (bottom - top) * (right - left) > 0.65 * view.sum()
