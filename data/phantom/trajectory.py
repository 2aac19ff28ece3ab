"""Where the colonoscope is: single random views, and clips of smooth hand motion."""

import numpy as np

from data.phantom.colon import Colon
from data.phantom.smooth_noise import smooth_curve

MIN_CLEARANCE_MM = 3.0
PROBE_MARGIN_MM = 0.4  # the wall between two probe rays can be a little nearer than at both
NUM_PROBES = 600
FREE_END_MM = 45.0  # the rounded ends are no anatomy: stay away
MAX_TILT_DEG = 28.0
MIN_SPEED_MM, MAX_SPEED_MM = 0.3, 2.0  # per frame; at 25 frames a second 7 to 50 mm/s


def random_views(rng: np.random.Generator, colon: Colon, num_views: int) -> np.ndarray:
    """Independent poses along the colon, looking forwards or backwards, world_from_cam (N, 4, 4) [mm]."""
    poses: list[np.ndarray] = []
    while len(poses) < num_views:
        s = rng.uniform(FREE_END_MM, colon.centreline.length_mm - FREE_END_MM, 1)
        direction = rng.choice([-1.0, 1.0])
        offset = 0.45 * np.sqrt(rng.random()) * _unit_circle(rng)
        tilt = np.radians(MAX_TILT_DEG) * np.sqrt(rng.random()) * _unit_circle(rng)
        pose = _poses(colon, s, direction, offset[None], tilt[None], rng.uniform(0, 2 * np.pi, 1))
        if _has_clearance(colon, s, pose):
            poses.append(pose[0])
    return np.stack(poses)


def random_clip(rng: np.random.Generator, colon: Colon, num_frames: int) -> np.ndarray:
    """Poses of a clip, world_from_cam (num_frames, 4, 4) [mm]."""
    while True:
        s = _random_travel(rng, colon, num_frames)
        direction = rng.choice([-1.0, 1.0])
        offset = rng.uniform(0.1, 0.3) * _unit_circle(rng) + 0.1 * smooth_curve(rng, num_frames, 18.0, 2)
        tilt = np.radians(rng.uniform(0.0, 16.0)) * _unit_circle(rng)
        tilt = tilt + np.radians(4.0) * smooth_curve(rng, num_frames, 25.0, 2)
        tilt = tilt + np.radians(0.25) * smooth_curve(rng, num_frames, 6.0, 2)
        length = np.linalg.norm(tilt, axis=1, keepdims=True)
        tilt = tilt * np.minimum(1.0, np.radians(MAX_TILT_DEG) / np.maximum(length, 1e-9))
        roll = rng.uniform(0, 2 * np.pi) + np.radians(8.0) * smooth_curve(rng, num_frames, 40.0)[:, 0]
        for scale in (1.0, 0.6, 0.3):
            poses = _poses(colon, s, direction, scale * offset, tilt, roll)
            if _has_clearance(colon, s, poses):
                return poses


def _random_travel(rng: np.random.Generator, colon: Colon, num_frames: int) -> np.ndarray:
    """Arc length per frame [mm]: insertion or withdrawal at a changing pace, sometimes turning round on the way."""
    middle, half = 0.5 * (MIN_SPEED_MM + MAX_SPEED_MM), 0.5 * (MAX_SPEED_MM - MIN_SPEED_MM)
    speed = middle + half * np.tanh(smooth_curve(rng, num_frames, 20.0)[:, 0] + rng.normal(-0.3, 0.5))
    if rng.random() < 0.25:
        turn = rng.uniform(0.3, 0.7) * num_frames
        speed = speed * np.tanh((np.arange(num_frames) - turn) / 3.0)
    travel = rng.choice([-1.0, 1.0]) * np.cumsum(speed)
    travel -= travel.min()
    room = colon.centreline.length_mm - 2.0 * FREE_END_MM - np.ptp(travel)
    if room < 0.0:  # a clip longer than the colon goes to and fro
        width = colon.centreline.length_mm - 2.0 * FREE_END_MM
        return FREE_END_MM + width * (0.5 - 0.5 * np.cos(np.pi * travel / width))
    return FREE_END_MM + rng.uniform(0.0, room) + travel


def _poses(
    colon: Colon, s_mm: np.ndarray, direction: float, offset: np.ndarray, tilt: np.ndarray, roll: np.ndarray
) -> np.ndarray:
    """Poses (T, 4, 4) at arc lengths (T,), looking along ``direction`` times the tangent.

    Args:
        colon: where the camera is.
        s_mm: arc length (T,).
        direction: 1 looks along the centreline, -1 back.
        offset: from the centreline, fraction of the lumen radius, (T, 2).
        tilt: of the optical axis from the tangent [rad], as a vector across it, (T, 2).
        roll: about the optical axis [rad], (T,).
    """
    centre, frame = colon.centreline.at(s_mm)
    radius = colon.centreline.radius_at(s_mm)[:, None]
    tangent, across = direction * frame[..., 0], frame[..., 1:]  # (T, 3), (T, 3, 2)
    position = centre + radius * np.einsum("tij,tj->ti", across, offset)
    angle = np.linalg.norm(tilt, axis=1, keepdims=True)
    sideways = np.einsum("tij,tj->ti", across, tilt) / np.maximum(angle, 1e-9)
    z_axis = np.cos(angle) * tangent + np.sin(angle) * sideways
    # Parallel transport along the colon keeps this "down" from spinning; the hand's roll comes on top.
    down = across[..., 0] - (across[..., 0] * z_axis).sum(axis=1, keepdims=True) * z_axis
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    right = np.cross(down, z_axis)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    poses = np.tile(np.eye(4), (len(s_mm), 1, 1))
    poses[:, :3, 0], poses[:, :3, 1] = cos * right + sin * down, cos * down - sin * right
    poses[:, :3, 2], poses[:, :3, 3] = z_axis, position
    return poses


def _has_clearance(colon: Colon, s_mm: np.ndarray, poses: np.ndarray) -> bool:
    """True when every camera is in the lumen and at least ``MIN_CLEARANCE_MM`` from all tissue."""
    position = poses[:, :3, 3]
    centre = colon.centreline.at(s_mm)[0]
    offset = position - centre
    length = np.linalg.norm(offset, axis=1)
    directions = offset / np.maximum(length, 1e-9)[:, None]
    on_axis = length < 1e-6
    free = on_axis | (colon.raycaster.distance(centre, directions) > length)  # else inside a fold or a polyp
    probes = _probe_directions()
    origins = np.repeat(position, len(probes), axis=0)
    nearest = colon.raycaster.distance(origins, np.tile(probes, (len(position), 1)))
    return bool(free.all() and nearest.min() > MIN_CLEARANCE_MM + PROBE_MARGIN_MM)


def _probe_directions() -> np.ndarray:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), (NUM_PROBES, 3)."""
    i = np.arange(NUM_PROBES) + 0.5
    z = 1.0 - 2.0 * i / NUM_PROBES
    angle = np.pi * (1.0 + np.sqrt(5.0)) * i
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def _unit_circle(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
