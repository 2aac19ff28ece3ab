"""Whether what SfM has found of a clip is fit to learn depth from, by numbers."""

from dataclasses import dataclass

import numpy as np

from data.sfm.clip import INSIDE, SfmClip, project_points

# A small reprojection error and many points are no proof: with a wrong focal length both stay as they are.
MIN_REGISTERED = 0.5  # share of the frames
MIN_TRACK = 4  # median frames of a point
MAX_ERROR_PX = 2.0  # mean
MAX_FOCAL_DRIFT = 0.1  # share of the prior
# Degrees, median over points. COLMAP itself drops points below 1.5: where the camera only turned, few lie above.
MIN_ANGLE_DEG = 2.0
MIN_IN_VIEW = 0.95  # share of observations
DEPTH_PERCENTILES = (1, 50, 99)


@dataclass(frozen=True)
class Limits:
    """With less than this a clip is thrown away."""

    min_frames: int = 10
    min_points: int = 100


@dataclass(frozen=True)
class Measures:
    """Of a reconstruction.

    Args:
        frames, registered: given, and placed by SfM.
        points: that are kept.
        track_mean, track_median: frames of a point.
        error_px: mean reprojection error of the points [px].
        angle_deg: largest angle that two of its frames see a point under, median over points [degrees].
        in_view, behind: shares of the observations that project into the view, and that lie behind their camera.
        depth: ``DEPTH_PERCENTILES`` of the depths of the observations, in the clip's unit.
        focal_prior, focal_final: fx before and after [px].
    """

    frames: int
    registered: int
    points: int
    track_mean: float
    track_median: float
    error_px: float
    angle_deg: float
    in_view: float
    behind: float
    depth: tuple[float, float, float]
    focal_prior: float
    focal_final: float

    @property
    def registered_share(self) -> float:
        return self.registered / self.frames

    @property
    def focal_drift(self) -> float:
        """By which share the focal length has changed."""
        return abs(self.focal_final / self.focal_prior - 1)


def measure(clip: SfmClip, errors_px: np.ndarray, frames: int, focal_prior: float) -> Measures:
    """The measures of a clip.

    Args:
        clip: the reconstruction.
        errors_px: mean reprojection error of each point [px], (N,).
        frames: that SfM was given.
        focal_prior: fx that SfM was given [px].
    """
    in_camera, in_view = _observed(clip)
    depth = in_camera[:, 2]
    return Measures(
        frames=frames,
        registered=len(clip),
        points=len(clip.points),
        track_mean=float(clip.track_lengths.mean()),
        track_median=float(np.median(clip.track_lengths)),
        error_px=float(errors_px.mean()),
        angle_deg=float(np.median(largest_angles(clip))),
        in_view=float(in_view.mean()),
        behind=float((depth <= 0).mean()),
        depth=tuple(float(value) for value in np.percentile(depth, DEPTH_PERCENTILES)),
        focal_prior=float(focal_prior),
        focal_final=float(clip.camera.K[0, 0]),
    )


def faults(measures: Measures, limits: Limits) -> list[str]:
    """Why the reconstruction is not fit for training; empty where it is."""
    found = {
        f"{measures.registered} frames are registered, fewer than {limits.min_frames}": (
            measures.registered < limits.min_frames
        ),
        f"{measures.points} points, fewer than {limits.min_points}": measures.points < limits.min_points,
        f"only {measures.registered_share:.0%} of the frames are registered: the others do not fit to them": (
            measures.registered_share < MIN_REGISTERED
        ),
        f"a point is seen in {measures.track_median:g} frames in median, fewer than {MIN_TRACK}": (
            measures.track_median < MIN_TRACK
        ),
        f"the mean reprojection error of {measures.error_px:.2f} px is above {MAX_ERROR_PX:g} px": (
            measures.error_px > MAX_ERROR_PX
        ),
        f"the focal length went from {measures.focal_prior:.0f} to {measures.focal_final:.0f} px, and depth with it": (
            measures.focal_drift > MAX_FOCAL_DRIFT
        ),
        f"points are seen under {measures.angle_deg:.1f} degrees in median, less than {MIN_ANGLE_DEG:g}: the camera "
        "mostly turned, or hardly moved": measures.angle_deg < MIN_ANGLE_DEG,
        f"{measures.behind:.1%} of the observations lie behind their camera": measures.behind > 1 - MIN_IN_VIEW,
        f"only {measures.in_view:.1%} of the observations lie in the view": measures.in_view < MIN_IN_VIEW,
    }
    return [reason for reason, holds in found.items() if holds]


def largest_angles(clip: SfmClip) -> np.ndarray:
    """Largest angle [degrees] between the rays to each point from two of the cameras of its track, (N,)."""
    views, points = clip.observations.T
    rays = clip.poses[views, :3, 3] - clip.points[points]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    order = np.argsort(points, kind="stable")
    ends = np.cumsum(clip.track_lengths)
    tracks = np.split(rays[order], ends[:-1])
    # From the sine: the cosine of a small angle has no digits left to tell it by.
    chords = [np.linalg.norm(track[:, None] - track[None], axis=2).max(initial=0.0) for track in tracks]
    return np.degrees(2 * np.arcsin(np.clip(np.array(chords) / 2, 0, 1)))


def _observed(clip: SfmClip) -> tuple[np.ndarray, np.ndarray]:
    """Each observation in its camera (M, 3), and whether it projects to where the mask is inside, bool (M,)."""
    views, points = clip.observations.T
    extrinsics = clip.cam_from_world[views]
    in_camera = np.einsum("mij,mj->mi", extrinsics[:, :3, :3], clip.points[points]) + extrinsics[:, :3, 3]
    columns, rows = np.rint(project_points(in_camera, clip.camera.K)).T
    height, width = clip.mask.shape
    with np.errstate(invalid="ignore"):
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    inside[inside] = clip.mask[rows[inside].astype(int), columns[inside].astype(int)] == INSIDE
    return in_camera, inside
