"""Clips written in the published layout: the files, and what is read back from them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.sfm.published import read_published
from data.sfm.published_writer import write_published
from tests.data.sfm.sfm_files import CX, CY, FX, SIZE, assert_same, published_texts, tiny_clip
from util.intrinsics import Intrinsics


def test_what_is_written_is_read_back_to_1e_9(tmp_path):
    rng, (views, points) = np.random.default_rng(0), (40, 70)
    poses = np.tile(np.eye(4), (views, 1, 1))
    poses[:, :3, :3] = Rotation.random(views, random_state=rng).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(views, 3)) * 1e-6
    seen = rng.random((views, points)) < 0.2
    seen[0] = True
    clip = replace(
        tiny_clip(tmp_path / "clip"),
        frames=(None,) * views,
        numbers=np.cumsum(rng.integers(1, 9, views)),
        poses=poses,
        points=1e4 * rng.normal(size=(points, 3)),
        observations=np.argwhere(seen).astype(np.int32),
        camera=Intrinsics(np.array([[FX / 3, 0, CX / 3], [0, FX / 7, CY / 3], [0, 0, 1]]), SIZE),
        mask=rng.integers(0, 256, SIZE, dtype=np.uint8),
    )
    write_published(clip, tmp_path / "clip")
    back = read_published(tmp_path / "clip")
    assert_same(back, clip)
    np.testing.assert_array_equal(back.points, clip.points)


def test_a_written_clip_has_the_files_of_the_layout_and_no_other(tmp_path):
    write_published(tiny_clip(tmp_path / "clip"), tmp_path / "clip")
    assert {path.name for path in (tmp_path / "clip").iterdir()} == {*published_texts(), "undistorted_mask.bmp"}
    assert "comment unit" in (tmp_path / "clip" / "structure.ply").read_text()


def test_points_without_a_track_and_skew_cannot_be_written(tmp_path):
    clip = tiny_clip(tmp_path)
    with pytest.raises(ValueError, match="point 4 of .* has no track"):
        write_published(replace(clip, observations=clip.observations[clip.observations[:, 1] != 4]), tmp_path / "a")
    skewed = clip.camera.K + [[0, 0.5, 0], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="skew"):
        write_published(replace(clip, camera=Intrinsics(skewed, SIZE)), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_real_clip_survives_being_written_and_read(shared_data, tmp_path):
    real = read_published(shared_data / "sinus_sfm")
    write_published(real, tmp_path / "again")
    shutil.copyfile(real.frames[0], tmp_path / "again" / real.frames[0].name)
    back = read_published(tmp_path / "again")
    assert_same(back, real)
    np.testing.assert_array_equal(back.views_with_frames, [0])
