"""Frames in, depth maps of the frames' own size out."""

import numpy as np
import pytest
import torch

from data.transforms import Preprocessing
from evaluation.predictor import Predictor
from models.base_model import BaseModel
from tests.evaluation.moving_camera import Knowing, knowing_predictor
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


K = np.array([[40.0, 0, 12], [0, 38, 7], [0, 0, 1]])


def test_motion_leads_from_the_target_to_the_source_of_each_pair():
    motions = np.tile(np.eye(4), (3, 1, 1))
    motions[:, 2, 3] = 1, 2, 3
    predictor = knowing_predictor(motions=motions)
    frames = [np.full((6, 9, 3), number / 255, np.float32) for number in range(4)]
    found = predictor.motions(frames[:3], frames[1:], [K] * 3)
    assert [motion.dtype for motion in found] == [np.float64] * 3
    np.testing.assert_allclose(found, motions)
    assert [(tgt, src) for tgt, src, _ in predictor.method.asked] == [(0, 1), (1, 2), (2, 3)]


def test_the_camera_is_resized_and_set_into_the_square_with_its_frames():
    """Half the size and 4 rows of black above: x' = (x + 0.5) / 2 - 0.5, and 4 more for y."""
    seen = []

    class Spy(Knowing):
        def predict_motion(self, tgt, src, K):
            seen.append((tuple(tgt.shape), tuple(src.shape), K.numpy()))
            return torch.eye(4).expand(len(tgt), 4, 4)

    predictor = Predictor(Spy(), Preprocessing("fit", load_size=16), torch.device("cpu"))
    predictor.motions([frame(16, 32)], [frame(16, 32)], [K])
    assert seen[0][:2] == ((1, 3, 16, 16), (1, 3, 16, 16))
    np.testing.assert_allclose(seen[0][2][0], [[20, 0, 5.75], [0, 19, 3.25 + 4], [0, 0, 1]], rtol=1e-6)


def test_pairs_of_different_sizes_are_asked_for_one_by_one():
    predictor = knowing_predictor(motions=np.tile(np.eye(4), (2, 1, 1)))
    frames = [np.full((6, width, 3), number / 255, np.float32) for number, width in enumerate((9, 7))]
    assert len(predictor.motions(frames, frames, [K, K])) == 2


def test_motion_that_there_is_none_of_is_an_error(brightness_predictor):
    with pytest.raises(ValueError, match="Brightness does not predict the camera's motion"):
        brightness_predictor.motions([frame(4, 5)], [frame(4, 5)], [K])
    with pytest.raises(UserError, match="4x5 and 6x5 pixels"):
        knowing_predictor().motions([frame(4, 5)], [frame(6, 5)], [K])
    spoiled = knowing_predictor(motions=np.full((256, 4, 4), np.nan))
    with pytest.raises(UserError, match="motion is not finite: these weights are spoiled"):
        spoiled.motions([frame(4, 5)], [frame(4, 5)], [K])
