"""Frames in, depth maps of the frames' own size out."""

import numpy as np
import pytest
import torch

from data.transforms import Preprocessing
from evaluation.predictor import Predictor
from models.base_model import BaseModel
from util.errors import UserError


def frame(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def test_depth_of_each_frame_lies_on_its_own_pixels(brightness_predictor):
    frames = [frame(6, 9, seed) for seed in range(3)]
    for rgb, depth in zip(frames, brightness_predictor(frames), strict=True):
        assert depth.dtype == np.float32
        np.testing.assert_allclose(depth, rgb.mean(axis=2) * 200, rtol=1e-5)


def test_frames_of_different_sizes_are_predicted_in_their_order(brightness_predictor):
    frames = [frame(6, 9), frame(8, 5), frame(6, 9, 1)]
    depths = brightness_predictor(frames)
    assert [depth.shape for depth in depths] == [(6, 9), (8, 5), (6, 9)]
    for rgb, depth in zip(frames, depths, strict=True):
        np.testing.assert_array_equal(depth, brightness_predictor([rgb])[0])


def test_resized_for_the_network_depth_comes_back_in_place_and_size(brightness_predictor):
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 53, dtype=np.float32)[None, :, None], (37, 53, 3))
    predictor = Predictor(brightness_predictor.method, Preprocessing("resize", load_size=32), torch.device("cpu"))
    (depth,) = predictor([ramp])
    assert depth.shape == (37, 53)
    # Shrinking and growing keep a ramp but at its ends; half a pixel off would be 0.6 / 53 / 2 * 200 = 1.1 mm.
    np.testing.assert_allclose(depth[:, 4:-4], ramp[:, 4:-4, 0] * 200, atol=0.3)


def test_frames_that_differ_on_disk_share_a_batch_after_resizing(brightness_predictor):
    seen = []

    class Spy(BaseModel):
        def predict(self, images):
            seen.append(tuple(images.shape))
            return images[:, :1]

    predictor = Predictor(Spy(None), Preprocessing("resize", load_size=16), torch.device("cpu"))
    depths = predictor([frame(20, 30), frame(18, 14)])
    assert seen == [(2, 3, 16, 16)]
    assert [depth.shape for depth in depths] == [(20, 30), (18, 14)]


def test_depth_that_is_not_finite_is_an_error():
    class Spoiled(BaseModel):
        def predict(self, images):
            return images[:, :1] * float("nan")

    with pytest.raises(UserError, match="not finite: these weights are spoiled"):
        Predictor(Spoiled(None), Preprocessing("none"), torch.device("cpu"))([frame(4, 5)])
