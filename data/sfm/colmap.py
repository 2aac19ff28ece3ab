"""SfM results of COLMAP or pycolmap: a model as text or binary, read without either of them.

    clip/
        images/*.jpg                          or beside the model, or in the folder itself
        sparse/0/cameras, images, points3D    .bin or .txt; or in sparse/, or in the folder itself
        undistorted_mask.bmp or mask.png      may be missing: then everything is inside

What differs from here: COLMAP's poses are world to camera, its quaternions w x y z, and the centre of its first pixel
is at (0.5, 0.5). Source: that of ``colmap_files.py``, which parses its files.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.spatial.transform import Rotation

from data.image_files import natural_key
from data.sfm.clip import MIN_POINTS, SAME_CAMERA, SfmClip, keep_points
from data.sfm.colmap_files import CAMERA_MODELS, CAMERAS, IMAGES, POINTS, SUFFIXES, Camera, Image, Point, read_records
from data.sfm.mask import MASKS, read_mask
from util.errors import UserError
from util.intrinsics import Intrinsics

FRAMES, SPARSE = "images", "sparse"
LAYOUT = (
    f"{CAMERAS}, {IMAGES} and {POINTS} ({' or '.join(SUFFIXES)}) in it, in {SPARSE}/ or in {SPARSE}/0, frames in it or "
    f"in {FRAMES}/, and perhaps {' or '.join(MASKS)}"
)
HALF_PIXEL = 0.5
MAX_SIDE_PX = 2**16  # of a picture; beyond it a size is damaged
MAX_NUMBER = 2**63 - 1  # of int64
FISHEYE = "FISHEYE"  # in the name of a model that bends lines even where all its distortion is 0


def read_colmap(folder: Path, *, min_views: int = 3, max_error_px: float = 4.0) -> SfmClip:
    """Read a clip with a COLMAP model. Of several models in ``sparse/`` it is the one with the most images.

    Views are in the order of the last number in their images' names, which are their numbers; where there is none, or
    one comes twice, in the order of the names, counted from 0.

    Args:
        folder: of the clip.
        min_views: points of fewer views are left out.
        max_error_px: points of a larger mean reprojection error are left out.

    Raises:
        UserError: a file is missing, damaged, or contradicts another one; the camera is no pinhole, or there are
            several; or hardly a point is good enough. Says which, and where.
    """
    model = _largest_model(folder)
    cameras, images, points = (read_records(model, what) for what in (CAMERAS, IMAGES, POINTS))
    if not images:
        raise UserError(f"{model} has no registered image")
    order, numbers = _in_order(images)
    views = [images[key] for key in order]
    places = (folder / FRAMES, model / FRAMES, model, folder)
    frames = tuple(_find_frame(view.name, places) for view in views)
    camera = _one_camera(cameras, views)
    mask = read_mask(folder, frames, camera.size)
    xyz, observations = _good_points(points, {key: view for view, key in enumerate(order)}, min_views, max_error_px)
    if len(xyz) < MIN_POINTS:
        raise UserError(
            f"{model}: of {len(points)} points {len(xyz)} have {min_views} views or more and an error of at most "
            f"{max_error_px} px; that is too little to learn from"
        )
    poses = np.stack([_world_from_cam(view) for view in views])
    return SfmClip(folder.resolve().name, folder, frames, numbers, camera, poses, xyz, observations, mask)


def model_folders(folder: Path) -> list[Path]:
    """Where the models of a clip are: the folder itself, else ``sparse/`` and the folders in it."""
    if _is_model(folder):
        return [folder]
    sparse = folder / SPARSE
    if not sparse.is_dir():
        return []
    return [path for path in (sparse, *sorted(sparse.iterdir(), key=natural_key)) if _is_model(path)]


def _is_model(folder: Path) -> bool:
    """Images alone would not tell: ``images.txt`` may be anything."""
    return any((folder / f"{name}{suffix}").is_file() for name in (CAMERAS, POINTS) for suffix in SUFFIXES)


def _largest_model(folder: Path) -> Path:
    folders = model_folders(folder)
    if not folders:
        raise UserError(f"{folder} has no COLMAP model; a clip has {LAYOUT}")
    return folders[0] if len(folders) == 1 else max(folders, key=lambda model: len(read_records(model, IMAGES)))


def _in_order(images: dict[int, Image]) -> tuple[list[int], np.ndarray]:
    """Ids of the images in the order of time, and the frame number of each, int64 (V,)."""
    id_of: dict[str, int] = {}
    for key, image in images.items():
        if id_of.setdefault(image.name, key) != key:
            raise UserError(f"{image.where}: there is a second image called {image.name}")
    names = {key: PurePosixPath(image.name) for key, image in images.items()}
    digits = {key: re.findall(r"\d+", name.stem) for key, name in names.items()}
    numbers = {key: int(found[-1]) for key, found in digits.items() if found}
    unique = len(set(numbers.values())) == len(images)
    if unique and max(numbers.values()) <= MAX_NUMBER:
        order = sorted(images, key=numbers.__getitem__)
        return order, np.array([numbers[key] for key in order], dtype=np.int64)
    order = sorted(images, key=lambda key: [natural_key(Path(part)) for part in names[key].parts])
    return order, np.arange(len(order), dtype=np.int64)


def _find_frame(name: str, places: Sequence[Path]) -> Path | None:
    return next((place / name for place in places if (place / name).is_file()), None)


def _one_camera(cameras: dict[int, Camera], views: Sequence[Image]) -> Intrinsics:
    """The camera of all views.

    Raises:
        UserError: there are several that differ, or it is no pinhole.
    """
    found: dict[int, Intrinsics] = {}
    for view in views:
        if view.camera not in cameras:
            raise UserError(f"{view.where}: {view.name} has camera {view.camera}, which {CAMERAS} does not have")
        if view.camera not in found:
            found[view.camera] = _pinhole(cameras[view.camera])
    (key, first), *others = found.items()
    for other, camera in others:
        if camera.size != first.size or not np.allclose(camera.K, first.K, rtol=SAME_CAMERA, atol=0):
            raise UserError(
                f"{cameras[other].where}: camera {other} differs from camera {key}; a clip has one camera, so "
                "reconstruct it with one for all images (pycolmap.CameraMode.SINGLE), or split it"
            )
    return first


def _pinhole(camera: Camera) -> Intrinsics:
    names = CAMERA_MODELS.get(camera.model, "").split()
    if names and len(names) != len(camera.params):
        raise UserError(f"{camera.where}: {camera.model} has {len(names)} parameters, got {len(camera.params)}")
    params = dict(zip(names, camera.params, strict=False))
    distortion = [value for name, value in params.items() if name not in ("f", "fx", "fy", "cx", "cy")]
    if not names or FISHEYE in camera.model or any(distortion):
        raise UserError(
            f"{camera.where}: the camera ({camera.model}) bends lines; undistort the frames first (colmap "
            "image_undistorter, or pycolmap.undistort_images), their mask as well, and use the model that this writes"
        )
    fx, fy = (params.get("f", params.get(name)) for name in ("fx", "fy"))
    cx, cy = params["cx"] - HALF_PIXEL, params["cy"] - HALF_PIXEL
    if not (np.isfinite((fx, fy, cx, cy)).all() and min(fx, fy) > 0 and all(0 < x <= MAX_SIDE_PX for x in camera.size)):
        raise UserError(f"{camera.where}: no camera has {params} at {camera.size[1]}x{camera.size[0]} pixels")
    return Intrinsics(np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]), camera.size)


def _world_from_cam(image: Image) -> np.ndarray:
    """(4, 4): with X_cam = R X_world + t it is R^T and -R^T t."""
    w, *xyz = image.quaternion
    if not np.isfinite((*image.quaternion, *image.translation)).all() or not any(image.quaternion):
        raise UserError(f"{image.where}: {image.name} has no pose ({image.quaternion}, {image.translation})")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat((*xyz, w)).as_matrix().T
    pose[:3, 3] = -pose[:3, :3] @ image.translation
    return pose


def _good_points(
    points: dict[int, Point], view_of: dict[int, int], min_views: int, max_error_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points that are finite, seen in enough views and precise, float64 (N, 3), and their observations (M, 2)."""
    observations: list[tuple[int, int]] = []
    kept = np.zeros(len(points), bool)
    for index, point in enumerate(points.values()):
        unknown = next((image for image in point.images if image not in view_of), None)
        if unknown is not None:
            raise UserError(f"{point.where}: the point was seen in image {unknown}, which {IMAGES} does not have")
        track = {view_of[image] for image in point.images}
        observations += [(view, index) for view in track]
        # An error that is not known (COLMAP writes -1) does not count against a point.
        kept[index] = len(track) >= min_views and not point.error > max_error_px and np.isfinite(point.xyz).all()
    xyz = np.array([point.xyz for point in points.values()], dtype=np.float64).reshape(-1, 3)
    return keep_points(xyz, np.array(observations, dtype=np.int64).reshape(-1, 2), kept)
