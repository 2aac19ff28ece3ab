"""SfM as it would come out of a clip whose depth and poses are known: sparse points with noise, outliers and tracks."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from data.clip_truth import ClipTruth
from data.clips import Clip
from data.clips_dataset import read_clip_intrinsics
from data.sfm.clip import INSIDE, SfmClip, project_points
from data.view_mask import find_view
from util.errors import UserError
from util.intrinsics import Intrinsics, scale_intrinsics

SAME_DEPTH = 0.02  # a frame sees a point when its depth there differs by no more than this share
CANDIDATES = 4  # drawn for each point that is wanted: not all of them are seen in enough frames


@dataclass(frozen=True)
class Simulation:
    """What the simulated SfM is like.

    Args:
        points: wanted, of a clip.
        min_track, max_track: frames in a row that a point is triangulated from.
        noise: standard deviation of a point's distance from the camera that found it, as a share of it.
        outliers: share of the points that are wrong.
        outlier_spread: standard deviation of the logarithm of such a point's distance.
        seed: of all random choices.
    """

    points: int = 400
    min_track: int = 3
    max_track: int = 12
    noise: float = 0.01
    outliers: float = 0.03
    outlier_spread: float = 0.3
    seed: int = 0


def simulate_sfm(clip: Clip, truth: ClipTruth, how: Simulation) -> SfmClip:
    """What SfM might find in a clip; in a world and a unit of its own, as SfM has them.

    Raises:
        UserError: the clip has no poses or no camera, or hardly a point is seen in ``min_track`` frames.
    """
    poses = truth.poses()
    camera = read_clip_intrinsics(clip)
    if poses is None or camera is None:
        raise UserError(
            f"{clip.place} has no {'poses' if poses is None else 'camera'}, so no SfM can be made up for it"
        )
    rng = np.random.default_rng((how.seed, *clip.name.encode()))
    depths = np.stack([truth.depth_mm(index) for index in range(len(clip))])
    K = scale_intrinsics(camera.K, camera.size, depths.shape[1:])
    mask = np.where(find_view(clip.read(index, 1)[0] for index in range(len(clip))), INSIDE, 0).astype(np.uint8)
    points, found_by = _candidates(rng, depths, poses, K, mask, how)
    tracks = _tracks(rng, _seen(points, depths, poses, K, mask), found_by, how)
    kept = np.flatnonzero(tracks.sum(axis=0) >= how.min_track)[: how.points]
    if len(kept) < how.min_track:
        raise UserError(f"{clip.place}: only {len(kept)} points are seen in {how.min_track} frames in a row")
    points = _disturbed(rng, points[kept], poses[found_by[kept], :3, 3], how)
    camera, observations = Intrinsics(K, depths.shape[1:]), np.argwhere(tracks[:, kept]).astype(np.int32)
    made = SfmClip(clip.name, clip.place, clip.files, numbers_of(clip), camera, poses, points, observations, mask)
    return in_another_world(made, rng)


def numbers_of(clip: Clip) -> np.ndarray:
    """Frame numbers: those of the names where these are numbers, else counted from 0."""
    stems = [file.stem for file in clip.files]
    return np.array([int(stem) for stem in stems]) if all(map(str.isdigit, stems)) else np.arange(len(clip))


def in_another_world(clip: SfmClip, rng: np.random.Generator) -> SfmClip:
    """The same reconstruction turned at random and in another unit."""
    turn, scale = Rotation.random(random_state=rng).as_matrix(), np.exp(rng.uniform(-4, 1))
    poses = clip.poses.copy()
    poses[:, :3, :3] = turn @ clip.poses[:, :3, :3]
    poses[:, :3, 3] = scale * clip.poses[:, :3, 3] @ turn.T
    return replace(clip, poses=poses, points=scale * clip.points @ turn.T)


def _candidates(
    rng: np.random.Generator, depths: np.ndarray, poses: np.ndarray, K: np.ndarray, mask: np.ndarray, how: Simulation
) -> tuple[np.ndarray, np.ndarray]:
    """Points in the world (N, 3) that random pixels show, and the frame of each (N,)."""
    count = CANDIDATES * how.points
    frames = rng.integers(len(depths), size=count)
    inside = np.argwhere(mask == INSIDE)
    rows, columns = inside[rng.integers(len(inside), size=count)].T
    depth = depths[frames, rows, columns].astype(np.float64)
    rays = np.stack([columns, rows, np.ones(count)], axis=1) @ np.linalg.inv(K).T
    known = depth > 0
    frames, in_camera = frames[known], (rays * depth[:, None])[known]
    world = np.einsum("nij,nj->ni", poses[frames, :3, :3], in_camera) + poses[frames, :3, 3]
    return world, frames


def _seen(points: np.ndarray, depths: np.ndarray, poses: np.ndarray, K: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Which frame shows which point, bool (T, N): it is inside the view and nothing is before it."""
    height, width = mask.shape
    seen = np.zeros((len(poses), len(points)), bool)
    for frame, pose in enumerate(poses):
        in_camera = (points - pose[:3, 3]) @ pose[:3, :3]
        columns, rows = np.rint(project_points(in_camera, K)).T
        with np.errstate(invalid="ignore"):
            inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        places = rows[inside].astype(int), columns[inside].astype(int)
        same = np.abs(depths[frame][places] - in_camera[inside, 2]) < SAME_DEPTH * in_camera[inside, 2]
        seen[frame, inside] = same & (mask[places] == INSIDE)
    return seen


def _tracks(rng: np.random.Generator, seen: np.ndarray, found_by: np.ndarray, how: Simulation) -> np.ndarray:
    """Of the frames that see a point, those in a row around the one that found it, and not too many: bool (T, N)."""
    frames = np.arange(len(seen))[:, None]
    # The last frame before, and the first frame behind, in which it is not seen.
    before = np.where(~seen & (frames < found_by), frames, -1).max(axis=0)
    behind = np.where(~seen & (frames > found_by), frames, len(seen)).min(axis=0)
    length = rng.integers(how.min_track, how.max_track + 1, size=len(found_by))
    first = np.maximum(before + 1, found_by - rng.integers(0, length))
    in_track = (frames >= first) & (frames < np.minimum(behind, first + length))
    return in_track & seen[found_by, np.arange(len(found_by))]


def _disturbed(rng: np.random.Generator, points: np.ndarray, origins: np.ndarray, how: Simulation) -> np.ndarray:
    """The points, nearer or farther as the camera sees them that found them."""
    factor = np.exp(how.noise * rng.standard_normal(len(points)))
    wrong = rng.random(len(points)) < how.outliers
    factor[wrong] = np.exp(how.outlier_spread * rng.standard_normal(wrong.sum()))
    return origins + factor[:, None] * (points - origins)
