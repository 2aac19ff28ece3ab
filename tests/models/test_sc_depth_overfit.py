"""SC-Depth learns depth and motion of six frames from random weights, from nothing but the frames."""

import os

import numpy as np
import pytest
import torch

from data.phantom.appearance import real_appearance
from data.phantom.camera import square_intrinsics
from data.phantom.colon import random_colon
from data.phantom.plan import Task
from data.phantom.trajectory import random_clip
from data.phantom.view import trace
from models import create_model
from models.geometry.camera import relative_pose
from tests.tiny_run import tiny_options
from util.engine import Engine
from util.metrics import depth_metrics
from util.updates import Progress

SIZE, FINER, FRAMES, STRIDE = 64, 3, 6, 2
ITERATIONS = 300
CHANGES = ((0.0, 1.0), (0.6, 0.5), (0.8, 0.2))  # share of the iterations from which the rate has this factor


@pytest.fixture(scope="module")
def clip():
    """Frames (T, 3, H, W) in [-1, 1] of a phantom in even light, depth (T, H, W) [mm], poses and K.

    The light is even since the losses take a point to look the same in all frames; with the endoscope's own light,
    which moves, the true depth is not where they are lowest. A pixel is the mean of nine rays.
    """
    shape_rng, look_rng, camera_rng, _ = Task("video_test", 0, FRAMES, seed=0).generators()
    colon = random_colon(shape_rng)
    look = real_appearance(look_rng, colon.centreline.length_mm, float(colon.centreline.radius_mm.mean()))
    poses = random_clip(camera_rng, colon, STRIDE * FRAMES)[::STRIDE]
    camera, finer = square_intrinsics(SIZE, 100.0), square_intrinsics(SIZE * FINER, 100.0)
    frames, depths = [], []
    for pose in poses:
        depth, shaded = trace(colon, look, finer, pose, *finer.pixel_grid())
        albedo = shaded.albedo.reshape(SIZE, FINER, SIZE, FINER, 3).mean(axis=(1, 3))
        frames.append(torch.from_numpy(albedo.clip(0, 1) ** (1 / 2.2)).permute(2, 0, 1).float() * 2 - 1)
        depths.append(depth.reshape(SIZE * FINER, -1)[FINER // 2 :: FINER, FINER // 2 :: FINER])
    K = torch.tensor([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]]).float()
    return torch.stack(frames), np.stack(depths), torch.from_numpy(poses), K


@pytest.fixture
def all_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


def overfit(frames, K):
    """The method after it has seen the clip's four triplets again and again."""
    torch.manual_seed(0)
    args = ("--lr=5e-4", "--lambda_smooth=0.001", "--highlight_level=0.95")
    engine = Engine(create_model(tiny_options(*args, model="sc_depth")))
    windows = torch.stack([frames[start : start + 3] for start in range(FRAMES - 2)])
    view = torch.ones(len(windows), 1, SIZE, SIZE, dtype=torch.bool)
    video = {"frames": windows, "intrinsics": K.repeat(len(windows), 1, 1), "view": view}
    for iteration in range(1, ITERATIONS + 1):
        engine.set_rate(next(factor for share, factor in reversed(CHANGES) if iteration > share * ITERATIONS))
        engine.step({"video": video}, Progress(1, iteration))
    return engine.method.eval()


@pytest.mark.slow
def test_six_frames_overfit_to_their_true_depth_and_motion(clip, all_cores):
    frames, depths, poses, K = clip
    method = overfit(frames, K)
    predicted = method.predict(frames).numpy()[:, 0]
    abs_rel = np.mean([depth_metrics(p, g, align="median")["abs_rel"] for p, g in zip(predicted, depths, strict=True)])
    assert abs_rel < 0.05

    motion = method.predict_motion(frames[:-1], frames[1:], K.repeat(FRAMES - 1, 1, 1)).double()
    true = relative_pose(poses[1:], poses[:-1])
    steps, true_steps = motion[:, :3, 3], true[:, :3, 3]
    scale = (steps * true_steps).sum() / (steps * steps).sum()
    errors = (scale * steps - true_steps).norm(dim=1) / true_steps.norm(dim=1)
    assert errors.mean() < 0.05
    turns = (
        (motion[:, :3, :3].mT @ true[:, :3, :3]).diagonal(dim1=1, dim2=2).sum(dim=1).sub(1).div(2).clamp(-1, 1).acos()
    )
    assert turns.rad2deg().max() < 0.5

    ratios = np.median(depths, axis=(1, 2)) / np.median(predicted, axis=(1, 2))
    assert ratios.std() / ratios.mean() < 0.03  # one scale for all frames
