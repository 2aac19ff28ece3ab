"""Renders one task, a colon's share of a split, to disk."""

from pathlib import Path

import numpy as np

from data.phantom.appearance import real_appearance, synthetic_appearance
from data.phantom.camera import Intrinsics
from data.phantom.colon import Colon, random_colon
from data.phantom.plan import Task
from data.phantom.sensor import ExposureControl, develop, inside_octagon, random_sensor, render_plain
from data.phantom.trajectory import random_clip, random_views
from data.phantom.truth import TrueFlow, true_flow
from data.phantom.view import render_view
from data.phantom.writer import (
    write_depth,
    write_depth_encoding,
    write_flow,
    write_image,
    write_intrinsics,
    write_poses,
)


def render_task(root: Path, task: Task, camera: Intrinsics) -> int:
    """Render a task under ``root`` and return its number of frames."""
    _require_folder(root)
    if task.is_video:
        _render_clip(root, task, camera)
    else:
        _render_pairs(root, task, camera)
    return task.num_frames


def _require_folder(root: Path) -> None:
    """Raise when ``root`` has been removed, which is how an interrupted run stops the processes it started."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} was removed; rendering stopped")


def _render_pairs(root: Path, task: Task, camera: Intrinsics) -> None:
    """Independent views in the synthetic domain: ``<split>_A`` pictures, ``<split>_B`` depth."""
    shape_rng, look_rng, camera_rng, _ = task.generators()
    colon = random_colon(shape_rng)
    appearance = synthetic_appearance(look_rng, colon.centreline.length_mm, _mean_radius(colon))
    gain = look_rng.uniform(1.0, 1.6)
    for frame, pose in enumerate(random_views(camera_rng, colon, task.num_frames)):
        _require_folder(root)
        view = render_view(colon, appearance, camera, pose)
        name = f"{task.name}_{frame:04d}.png"
        write_image(root / f"{task.split}_A" / name, render_plain(view, gain))
        write_depth(root / f"{task.split}_B" / name, view.depth_mm)


def _render_clip(root: Path, task: Task, camera: Intrinsics) -> None:
    """A clip in the real domain, with its truth apart."""
    shape_rng, look_rng, camera_rng, sensor_rng = task.generators()
    colon = random_colon(shape_rng)
    appearance = real_appearance(look_rng, colon.centreline.length_mm, _mean_radius(colon))
    sensor = random_sensor(sensor_rng)
    exposure = ExposureControl(sensor)
    inside = inside_octagon(camera.height, camera.width, sensor.corner)
    poses = random_clip(camera_rng, colon, task.num_frames + 1)  # one more: where the last frame's motion goes
    folder, truth = root / task.split / task.name, root / "truth" / task.split / task.name
    for t in range(task.num_frames):
        _require_folder(root)
        view = render_view(colon, appearance, camera, poses[t])
        forward = true_flow(colon.raycaster, camera, view.depth_mm, poses[t], poses[t + 1], inside)
        picture = develop(sensor_rng, sensor, exposure, view, forward.flow.astype(np.float32))
        write_image(folder / f"{t:06d}.jpg", picture, sensor.jpeg_quality)
        write_depth(truth / "depth" / f"{t:06d}.png", np.where(inside, view.depth_mm, 0.0))
        if t + 1 < task.num_frames:
            _write_flow(truth / "flow_fwd" / f"{t:06d}.png", forward, inside)
        if t > 0:
            backward = true_flow(colon.raycaster, camera, view.depth_mm, poses[t], poses[t - 1], inside)
            _write_flow(truth / "flow_bwd" / f"{t:06d}.png", backward, inside)
    write_intrinsics(folder, camera)
    write_depth_encoding(truth / "depth")
    write_poses(truth / "poses.json", poses[: task.num_frames])


def _write_flow(path: Path, flow: TrueFlow, inside: np.ndarray) -> None:
    write_flow(path, flow.flow, flow.defined & inside, flow.visible)


def _mean_radius(colon: Colon) -> float:
    return float(colon.centreline.radius_mm.mean())
