"""COLMAP's model as an ``SfmClip``: its half pixel, its poses and its tracks in our conventions.

X_cam = R X_world + t in COLMAP; a clip keeps world_from_cam = (R, t)^-1
(0.5, 0.5) is the centre of the first pixel in COLMAP; here it is (0, 0)
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.run_sfm.frames import Frames
from data.sfm.clip import INSIDE, SfmClip, keep_points
from data.sfm.colmap import HALF_PIXEL
from util.intrinsics import Intrinsics

MIN_VIEWS = 3  # of a point: two agree with whatever lies on both rays


class Model(NamedTuple):
    """What a COLMAP model says, in our conventions.

    Args:
        names: files of the registered frames, ascending (V,).
        K: of all frames, (3, 3) [px].
        poses: world_from_cam, (V, 4, 4).
        points: in the world, (N, 3).
        errors: mean reprojection error of each point [px], (N,).
        observations: which frame a point was triangulated from, (M, 2): (view, point), sorted, each once.
    """

    names: tuple[str, ...]
    K: np.ndarray
    poses: np.ndarray
    points: np.ndarray
    errors: np.ndarray
    observations: np.ndarray


def read_reconstruction(reconstruction: Any) -> Model:
    """A ``pycolmap.Reconstruction`` of frames that share one pinhole camera."""
    images = sorted((image for image in reconstruction.images.values() if image.has_pose), key=lambda one: one.name)
    K = np.array(reconstruction.cameras[images[0].camera_id].calibration_matrix())
    K[:2, 2] -= HALF_PIXEL
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    for pose, image in zip(poses, images, strict=True):
        pose[:3] = image.cam_from_world().inverse().matrix()
    views = {image.image_id: view for view, image in enumerate(images)}
    points = [point for _, point in sorted(reconstruction.points3D.items())]
    seen = [
        (views[element.image_id], number) for number, point in enumerate(points) for element in point.track.elements
    ]
    return Model(
        names=tuple(image.name for image in images),
        K=K,
        poses=poses,
        points=np.array([point.xyz for point in points], np.float64).reshape(-1, 3),
        errors=np.array([point.error for point in points], np.float64),
        # Unique, since a track may have two features of one frame.
        observations=np.unique(np.array(seen, np.int32).reshape(-1, 2), axis=0),
    )


def good_points(model: Model, max_error_px: float) -> Model:
    """The model with those of its points that at least ``MIN_VIEWS`` frames agree on to ``max_error_px``."""
    lengths = np.bincount(model.observations[:, 1], minlength=len(model.points))
    good = (lengths >= MIN_VIEWS) & (model.errors <= max_error_px)
    points, observations = keep_points(model.points, model.observations, good)
    return model._replace(points=points, errors=model.errors[good], observations=observations)


def to_clip(model: Model, frames: Frames) -> SfmClip:
    """The model of frames as a clip.

    Raises:
        UserError: it has fewer views or points than a clip must have.
    """
    files = tuple(frames.folder / name for name in model.names)
    numbers = np.array([int(Path(name).stem) for name in model.names], np.int64)
    camera = Intrinsics(model.K, frames.camera.size)
    mask = np.where(frames.view, INSIDE, 0).astype(np.uint8)
    return SfmClip(
        frames.name, frames.folder, files, numbers, camera, model.poses, model.points, model.observations, mask
    )
