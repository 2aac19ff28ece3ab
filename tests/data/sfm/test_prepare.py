from dataclasses import replace

import cv2
import numpy as np
import pytest

from data.array_files import mapped_array
from data.sfm.clip import project_points
from data.sfm.confidence import accumulated_parallax, point_confidence
from data.sfm.prepare import Preparation, PreparedClip, global_scale
from data.sfm.published import read_published
from data.sfm.visibility import visible_points
from data.transforms import Preprocessing
from tests.data.sfm.tiny_clip import SIZE, make_clip
from util.errors import UserError

QUARTER = Preprocessing("scale_width", load_size=480)
KEEP_ALL = 1.0
PUBLISHED = Preparation(QUARTER, soft_mask="binary", overlap=30, published=True)


def prepare(clip, cache, **settings):
    how = Preparation(**{"divisor": 16, "inlier_share": KEEP_ALL} | settings)
    return PreparedClip(clip, how, how.box_of([clip]), cache)


@pytest.fixture
def clip(tmp_path):
    return make_clip(frames=tmp_path / "clip")


@pytest.fixture
def example(shared_data):
    return read_published(shared_data / "sinus_sfm")


def test_points_are_drawn_where_they_project_in_the_box(clip, tmp_path):
    """Halved frames, cut: each drawn point is at its projection with the box' own K, to half a pixel."""
    half = prepare(clip, tmp_path / "cache", preprocessing=Preprocessing("scale_width", load_size=SIZE[1] // 2))
    drawn = 0
    for view in range(len(clip)):
        points = half.views[view]
        expected = project_points(half.in_camera(view, points.points), half.K)
        rows, columns = np.divmod(points.pixels, half.size[1])
        assert np.abs(expected - np.stack([columns, rows], axis=1)).max() <= 0.5
        drawn += len(points.points)
    assert drawn > len(clip)


def test_intrinsics_of_the_box_see_a_point_at_the_same_place_of_the_picture(clip, tmp_path):
    """A frame's pixel p is at (p + 1/2) / 2 - 1/2 of the halved one, then moved by the box."""
    half = prepare(clip, tmp_path / "cache", preprocessing=Preprocessing("scale_width", load_size=SIZE[1] // 2))
    points = clip.in_camera(3, np.arange(len(clip.points)))
    full = project_points(points, clip.camera.K)
    offset = np.array([half.window.left, half.window.top])
    np.testing.assert_allclose(project_points(points, half.K), (full + 0.5) / 2 - 0.5 - offset)


def test_frames_are_cut_as_the_window_says(clip, tmp_path):
    whole = prepare(clip, tmp_path / "cache")
    picture = cv2.imread(str(clip.frames[2]))[..., ::-1]
    np.testing.assert_array_equal(whole.frame(2), whole.window.cut(picture))


def test_lengths_are_shares_of_the_global_scale_and_the_unit_changes_nothing(clip, tmp_path):
    poses = clip.poses.copy()
    poses[:, :3, 3] *= 50
    scaled = replace(clip, poses=poses, points=50 * clip.points)
    one, other = prepare(clip, tmp_path / "a"), prepare(scaled, tmp_path / "b")
    np.testing.assert_allclose(other.poses, one.poses)
    for mine, others in zip(one.views, other.views, strict=True):
        np.testing.assert_allclose(others.depth, mine.depth)
    assert other.global_scale == pytest.approx(50 * one.global_scale)


def test_global_scale_is_the_longer_diagonal_and_has_a_floor_as_published(clip):
    points = np.array([[0, 0, 1.0], [0.3, 0.4, 1.0], [0, 0, 1.0]])
    small = replace(clip, points=points, observations=clip.observations[clip.observations[:, 1] < 3])
    extrinsics = small.cam_from_world[:, :3, 3]
    assert np.linalg.norm(np.ptp(extrinsics, axis=0)) == pytest.approx(0.7)
    assert global_scale(small) == pytest.approx(0.7)
    assert global_scale(small, floor=1.0) == 1.0


def test_the_second_time_nothing_is_read_but_the_cache(clip, tmp_path, monkeypatch):
    first = prepare(clip, tmp_path / "cache")
    monkeypatch.setattr("data.sfm.prepare.read_rgb", lambda file: pytest.fail("was read again"))
    again = prepare(clip, tmp_path / "cache")
    np.testing.assert_array_equal(again.frame(1), first.frame(1))
    assert [view.points.tolist() for view in again.views] == [view.points.tolist() for view in first.views]


def test_another_picture_or_setting_is_prepared_anew(clip, tmp_path):
    cache = tmp_path / "cache"
    prepare(clip, cache)
    prepare(clip, cache, inlier_share=0.9)
    cv2.imwrite(str(clip.frames[0]), np.full((*SIZE, 3), 99, np.uint8))
    third = prepare(clip, cache)
    assert len(list(cache.iterdir())) == 3
    assert (third.frame(0)[10:20, 10:20] == 99).all()


def test_what_a_killed_run_left_is_made_again(clip, tmp_path):
    before = prepare(clip, tmp_path / "cache").frame(0)
    folder = next((tmp_path / "cache").iterdir())
    for name in ("kept.npy", "frames.npy"):
        (folder / name).unlink()
    (folder / "frames.npy").write_bytes(b"half")
    mapped_array.cache_clear()  # as in another process
    np.testing.assert_array_equal(prepare(clip, tmp_path / "cache").frame(0), before)


def test_a_frame_of_another_size_is_an_error_that_names_it(clip, tmp_path):
    cv2.imwrite(str(clip.frames[4]), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(UserError, match=rf"{clip.frames[4].name} is 10x10 pixels, but camera and mask .* for 48x64"):
        prepare(clip, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_view_without_a_picture_draws_nothing(clip, tmp_path):
    frames = (clip.frames[0], None, *clip.frames[2:])
    prepared = prepare(replace(clip, frames=frames), tmp_path / "cache")
    assert len(prepared.views[1].points) == 0
    np.testing.assert_array_equal(prepared.frame(2), prepare(clip, tmp_path / "all").frame(2))


def test_the_published_numbers_of_the_example_clip(example, tmp_path):
    prepared = PreparedClip(example, PUBLISHED, PUBLISHED.box_of([example]), tmp_path)
    assert (prepared.window.top, prepared.window.left, *prepared.size) == (11, 88, 256, 320)
    np.testing.assert_allclose(prepared.K[[0, 1, 0, 1], [0, 1, 2, 2]], [169.29275, 169.29275, 130.03175, 106.9795])
    assert (prepared.mask == 255).sum() == 48567
    assert (prepared.mask / 255 > 0.9).sum() == 48649
    assert prepared.global_scale == pytest.approx(3.85639, abs=1e-5)
    visible = visible_points(example, 30, "half_open")
    assert len(visible_points(example)[0]) == 105
    assert len(visible[0]) == 570
    assert sum(map(len, visible)) == 19943


def test_exact_intrinsics_of_the_example_are_three_eighths_of_a_pixel_less(example, tmp_path):
    how = Preparation(QUARTER, inlier_share=KEEP_ALL)
    prepared = PreparedClip(example, how, how.box_of([example]), tmp_path)
    np.testing.assert_allclose(prepared.K[:2, 2], [130.03175 - 0.375, 106.9795 - 0.375])


def test_confidences_of_the_example_are_those_of_its_description(example):
    lengths, parallax = example.track_lengths, accumulated_parallax(example)
    assert (lengths.min(), lengths.max(), np.median(lengths)) == (3, 35, 8)
    assert np.rint([parallax.min(), np.median(parallax), parallax.max()]).tolist() == [23, 94, 241]
    frames, product = point_confidence(example, "frames"), point_confidence(example, "product")
    np.testing.assert_allclose([frames.min(), np.median(frames), frames.max()], [0.45, 0.80, 1.0], atol=0.005)
    np.testing.assert_allclose([product.min(), np.median(product), product.max()], [0.009, 0.098, 1.0], atol=0.0006)
