"""Registration of predicted depth to a known surface: how far the frames of each clip are from it.

A few frames of a clip become clouds, X = depth K^-1 (u, v, 1), inside the endoscope's view. Each is brought onto the
surface by a similarity of its own, and what counts is the mean distance of its points to the surface [mm].

That it is small is weak evidence. Walls are smooth, and a wrong shape slides along them to where it fits: a ball into
the end of a colon. So the scales belong to it, which for one clip should be one number, and, where the pose is known,
how far the registration has moved and turned the camera from it.

Source of the protocol: Liu et al., CARE workshop at MICCAI 2018, section on evaluation.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.view_mask import find_view
from evaluation.evenly_spread import EvenlySpread
from evaluation.frame import Frame
from evaluation.registration_files import write_registered
from evaluation.sequence_scale import scale_spread
from evaluation.surface_files import start_to_json
from evaluation.trajectory import rotation_angles
from models.geometry.registration import MIN_POINTS, SCALE_BOUNDS, TRIM, Registration, register
from models.geometry.registration_starts import IDENTITY, perturbed_starts, pose_start, rough_starts
from models.geometry.similarity import Similarity
from models.geometry.surface import Surface
from util.pointcloud import depth_to_points

FRAMES_PER_SCENE = 10
MAX_PIXELS = 40_000  # of a cloud: larger frames are thinned to every n-th row and column
EROSION_PX = 2  # of the thinned frame: at the rim of the view predictions are worst
OURS = "ours"  # the method whose clouds are written
WITHOUT_CLIP = "frames"  # what frames outside clips are called together

Scores = dict[str, float]


class Thinned(NamedTuple):
    """Every n-th row and column of a frame, as it waits for the end of its clip."""

    frame: Frame
    depths: dict[str, np.ndarray]  # (h, w) by method
    mask: np.ndarray | None  # bool (h, w), inside the lens circle, where that is known


class Registered(NamedTuple):
    """A frame's depth by one method, on the surface."""

    name: str
    method: str
    scores: Scores
    similarity: Similarity  # surface_from_camera, the camera's unit being that of the depth
    start: Similarity
    trusted: bool  # it converged, and its scale is not at a bound


class RegistrationBoard:
    """Registers frames that are spread evenly over each clip, by method.

    Where a frame's pose is known, its registration starts there, with the scale by which the depth fits best to what
    the camera would see of the surface; elsewhere from ``rough_starts``, which is good only if each frame shows all of
    the surface. Poses of structure from motion count as known if ``surface_from_world`` is given, for their unit is
    none of the surface's. What cannot be registered is in ``unscored`` with the reason.

    Args:
        surface_of: gives the surface [mm] of a clip by its name (``WITHOUT_CLIP`` for frames outside clips).
        frames_per_scene: at most so many of a clip.
        surface_from_world: where the world of the poses is another one than the surface's, in place or unit.
        trim, scale_bounds: see ``register``.
        folder: gets pictures and clouds of our frames, see ``write_registered``; None: nothing is written.
    """

    def __init__(
        self,
        surface_of: Callable[[str], Surface],
        *,
        frames_per_scene: int = FRAMES_PER_SCENE,
        surface_from_world: Similarity | None = None,
        trim: float = TRIM,
        scale_bounds: tuple[float, float] = SCALE_BOUNDS,
        folder: Path | None = None,
    ) -> None:
        self.clips: dict[str, list[Registered]] = {}
        self.unscored: dict[str, str] = {}
        self._surface_of, self._surface_from_world, self._folder = surface_of, surface_from_world, folder
        self._trim, self._scale_bounds = trim, scale_bounds
        self._clip: str | None = None
        self._waiting = EvenlySpread[Thinned](frames_per_scene)

    def add(self, frame: Frame, depths: Mapping[str, np.ndarray]) -> None:
        """Take the depth maps (H, W) of a frame, by method; those of a clip must follow each other."""
        if frame.clip != self._clip:
            self.finish()
        self._clip = frame.clip
        self._waiting.offer(lambda: thin_out(frame, self._pose(frame), depths))

    def finish(self) -> None:
        """Register the clip whose frames have come; to be called after the last frame."""
        chosen = self._waiting.chosen()
        for thinned in chosen:
            same_size = [one.frame.rgb for one in chosen if one.frame.rgb.shape == thinned.frame.rgb.shape]
            view = eroded(find_view(same_size) if thinned.mask is None else thinned.mask, EROSION_PX)
            surface = self._surface_of(self._clip or WITHOUT_CLIP)
            for method, depth in thinned.depths.items():
                self._score(thinned.frame, method, np.where(view, depth, 0.0), surface)
        self._clip, self._waiting = None, EvenlySpread[Thinned](self._waiting.count)

    def means(self) -> dict[str, Scores]:
        """Means over all frames, by method; see ``mean_scores``, and ``scale_spread_clip``, the mean over the clips."""
        rows = mean_scores([one for registered in self.clips.values() for one in registered])
        of_clips = [mean_scores(registered) for registered in self.clips.values()]
        for method, row in rows.items():
            spreads = [clip[method]["scale_spread"] for clip in of_clips if method in clip]
            row["scale_spread_clip"] = float(np.mean(spreads))
        return rows

    def by_clip(self, method: str = "ours") -> dict[str, Scores]:
        """Means over the frames of each clip."""
        rows = {clip: mean_scores(registered) for clip, registered in self.clips.items()}
        return {clip: means[method] for clip, means in rows.items() if method in means}

    def details(self) -> dict[str, Any]:
        """All of it, for JSON."""
        clips = {
            clip: {"mean": mean_scores(registered), "frames": [to_json(one) for one in registered]}
            for clip, registered in self.clips.items()
        }
        return {"mean": self.means(), "clips": clips, "unscored": self.unscored}

    def _pose(self, frame: Frame) -> np.ndarray | None:
        """world_from_cam, where it says something of the surface."""
        if frame.pose is None and frame.sparse is not None and self._surface_from_world is not None:
            return frame.sparse.pose
        return frame.pose

    def _score(self, frame: Frame, method: str, depth: np.ndarray, surface: Surface) -> None:
        """Register one depth map, 0 where it is not to be used."""
        if frame.K is None:
            self.unscored[frame.name] = "the camera is not known; give --intrinsics or --fov"
            return
        points, _ = depth_to_points(depth, frame.K, np.zeros((*depth.shape, 3), np.uint8))
        if len(points) < MIN_POINTS:
            self.unscored[f"{frame.name}, {method}"] = f"too few pixels of its view have depth: {len(points)}"
            return
        points = points.astype(np.float64)
        starts = self._starts(frame, points, surface)
        if not starts:
            self.unscored[f"{frame.name}, {method}"] = "its pose looks where the surface is not"
            return
        found = register(points, surface, starts, trim=self._trim, scale_bounds=self._scale_bounds)
        if self._folder is not None and method == OURS:
            write_registered(self._folder, frame.name, points, surface, found, max_distance=found.p95 or 1.0)
        self.clips.setdefault(frame.clip or WITHOUT_CLIP, []).append(
            Registered(
                frame.name,
                method,
                scores_of(found, pose_known=frame.pose is not None),
                found.similarity,
                found.start,
                trusted=found.converged and not found.at_bound,
            )
        )

    def _starts(self, frame: Frame, points: np.ndarray, surface: Surface) -> list[Similarity]:
        """Where the registration of a cloud in the camera's frame starts; empty if its pose looks elsewhere."""
        if frame.pose is None:
            return rough_starts(points, surface)
        start = pose_start(points, surface, frame.pose, self._surface_from_world or IDENTITY)
        # The camera's place is known and the scale is not, so the cloud grows and shrinks about the camera.
        return [] if start is None else perturbed_starts(start, np.zeros(3), angle_deg=0.0)


def thin_out(frame: Frame, pose: np.ndarray | None, depths: Mapping[str, np.ndarray]) -> Thinned:
    """Every n-th row and column of a frame, its depth and its camera, at ``pose``: ``MAX_PIXELS`` at most."""
    height, width = frame.rgb.shape[:2]
    step = int(np.ceil(np.sqrt(height * width / MAX_PIXELS)))
    K = None if frame.K is None else np.diag([1 / step, 1 / step, 1.0]) @ frame.K  # pixel (0, 0) stays where it is
    rgb = frame.rgb[::step, ::step].copy()
    thinned = {method: depth[::step, ::step].copy() for method, depth in depths.items()}
    mask = None if frame.sparse is None else frame.sparse.mask[::step, ::step].copy()
    return Thinned(Frame(frame.name, rgb, clip=frame.clip, pose=pose, K=K), thinned, mask)


def eroded(view: np.ndarray, pixels: int) -> np.ndarray:
    """A view (H, W) without so many pixels along its rim; the picture's own border is no rim."""
    return cv2.erode(view.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)).astype(bool)


def scores_of(found: Registration, *, pose_known: bool) -> Scores:
    """A registration's figures as metrics; the scale is in mm of the surface by unit of the depth.

    ``moved_mm`` and ``turned_deg`` say how far the camera has come from its start, where that was its pose.
    """
    scores = {
        "residual_mm": found.mean,
        "residual_trimmed_mm": found.trimmed_mean,
        "residual_p95_mm": found.p95,
        "share_used": found.share_used,
        "scale": found.similarity.scale,
    }
    if pose_known:
        turn = found.similarity.rotation @ found.start.rotation.T
        scores["moved_mm"] = float(np.linalg.norm(found.similarity.translation - found.start.translation))
        scores["turned_deg"] = float(np.degrees(rotation_angles(turn[None])[0]))
    return scores


def mean_scores(registered: Sequence[Registered]) -> dict[str, Scores]:
    """By method: means over the frames, ``residual_std_mm`` over them, mean and spread of their scales.

    ``untrusted`` is the number of frames that did not converge, or whose scale came to a bound; they count as others.
    """
    rows: dict[str, list[Registered]] = {}
    for one in registered:
        rows.setdefault(one.method, []).append(one)
    means = {}
    for method, frames in rows.items():
        keys = dict.fromkeys(key for one in frames for key in one.scores)  # some frames may lack a pose
        columns = {key: np.array([one.scores[key] for one in frames if key in one.scores]) for key in keys}
        scales = columns.pop("scale")
        row = {key: float(values.mean()) for key, values in columns.items()}
        row["residual_std_mm"] = float(columns["residual_mm"].std())
        means[method] = row | scale_spread(scales) | {"untrusted": sum(not one.trusted for one in frames)}
    return means


def to_json(one: Registered) -> dict[str, Any]:
    """A frame's registration as numbers and lists."""
    similarities = {"similarity": start_to_json(one.similarity), "start": start_to_json(one.start)}
    return {"name": one.name, "method": one.method, "trusted": one.trusted} | one.scores | similarities
