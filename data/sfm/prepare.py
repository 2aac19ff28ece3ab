"""A clip made ready to learn from: frames cut to a common box, lengths in one unit, points drawn into each view.

Reading and resizing frames, and looking for points that do not fit the light, is done once: ``<cache>/<clip>_<key>/``
holds ``frames.npy``, uint8 (F, H, W, 3), of the views with a picture, and ``kept.npy``, bool (N,), the points that are
drawn. The key is a hash of all that they are made from.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from data.array_files import array_writer, mapped_array
from data.base_dataset import to_image_tensor
from data.image_files import read_rgb
from data.sfm.clip import SfmClip
from data.sfm.confidence import point_confidence
from data.sfm.drawing import View, one_a_pixel, points_in_sight
from data.sfm.outliers import light_consistent_points, smooth_brightness
from data.sfm.visibility import visible_points
from data.sfm.window import box_size, erode, place_window, resize_mask
from data.transforms import Preprocessing, resize_picture
from util.errors import UserError
from util.files import atomic_path
from util.intrinsics import scale_intrinsics
from util.progress import progress_bar

FORMAT = 1  # of the files above
KEY_LENGTH = 12  # hexadecimal digits
PUBLISHED_FLOOR = 1.0  # of the global scale


@dataclass(frozen=True)
class Preparation:
    """How clips are made ready.

    Args:
        preprocessing: gives the frames' size.
        divisor: sides of the box are multiples of it.
        soft_mask: see ``data.sfm.confidence``.
        overlap: see ``data.sfm.visibility``.
        inlier_share: see ``data.sfm.outliers``.
        published: intrinsics, interval of the overlap, collisions, resizing, rounding of flow and the floor of the
            global scale as in the authors' code of 2022, where that differs from what is exact.
    """

    preprocessing: Preprocessing = Preprocessing("none")
    divisor: int = 64
    soft_mask: str = "frames_parallax"
    overlap: int = 0
    inlier_share: float = 0.99
    published: bool = False

    def size_of(self, clip: SfmClip) -> tuple[int, int]:
        """(H, W) of the clip's resized frames."""
        return self.preprocessing.size_of(*clip.camera.size)

    def box_of(self, clips: Sequence[SfmClip]) -> tuple[int, int]:
        """(H, W) of the box that holds the lens circle of every clip.

        Raises:
            UserError: a mask has nothing inside; names its clip.
        """
        sizes = []
        for clip in clips:
            try:
                sizes.append(box_size(resize_mask(clip.mask, self.size_of(clip)), self.divisor))
            except UserError as error:
                raise UserError(f"{clip.folder}: {error}") from None
        return tuple(np.max(sizes, axis=0).tolist())


class PreparedClip:
    """A clip in its box. Length is in shares of the clip's ``global_scale``.

    Args:
        clip: as it was read.
        how: what is done to it.
        box: (H, W), see ``Preparation.box_of``.
        cache: folder of the cache.

    Raises:
        UserError: a frame cannot be read, or has another size than the clip's camera.
    """

    def __init__(self, clip: SfmClip, how: Preparation, box: tuple[int, int], cache: Path) -> None:
        self.clip, self.how = clip, how
        resized = resize_mask(clip.mask, how.size_of(clip))
        self.window = place_window(resized, box)
        self.mask = self.window.cut(erode(resized))
        self.global_scale = global_scale(clip, floor=PUBLISHED_FLOOR if how.published else 0.0)
        self._folder = self._cached(cache)

    def __len__(self) -> int:
        """Number of views, with a picture or without."""
        return len(self.clip)

    @property
    def size(self) -> tuple[int, int]:
        return self.mask.shape

    @cached_property
    def K(self) -> np.ndarray:
        """Intrinsics of the box, float64 (3, 3) [px]."""
        camera, size = self.clip.camera, self.how.size_of(self.clip)
        if self.how.published:  # as if pixel (0, 0) began at its corner
            scaled = np.diag([size[1] / camera.size[1], size[0] / camera.size[0], 1.0]) @ camera.K
        else:
            scaled = scale_intrinsics(camera.K, camera.size, size)
        scaled[:2, 2] -= self.window.left, self.window.top
        return scaled

    @cached_property
    def poses(self) -> np.ndarray:
        """world_from_cam, float64 (V, 4, 4), translation in shares of the global scale."""
        poses = self.clip.poses.copy()
        poses[:, :3, 3] /= self.global_scale
        return poses

    @cached_property
    def confidence(self) -> np.ndarray:
        """Of each point, float64 (N,)."""
        return point_confidence(self.clip, self.how.soft_mask)

    @cached_property
    def views(self) -> list[View]:
        """The points that are drawn into each view, one a pixel; none where it has no picture."""
        kept, nothing = np.load(self._folder / "kept.npy"), np.zeros(0, np.int64)
        drawn = [View(nothing, nothing, np.zeros(0))] * len(self)
        for number, view in zip(self.clip.views_with_frames.tolist(), self._in_sight(kept), strict=True):
            drawn[number] = one_a_pixel(view, "last" if self.how.published else "nearest")
        return drawn

    def frame(self, view: int) -> np.ndarray:
        """The picture of a view in its box, uint8 (H, W, 3)."""
        row = int(np.searchsorted(self.clip.views_with_frames, view))
        return np.array(mapped_array(self._folder / "frames.npy")[row])

    def in_camera(self, view: int, points: np.ndarray) -> np.ndarray:
        """Points by number in the camera of a view, float64 (M, 3), in shares of the global scale."""
        return self.clip.in_camera(view, points) / self.global_scale

    def _in_sight(self, kept: np.ndarray) -> Iterator[View]:
        """Of each view with a picture, the points it is said to see that are kept and lie in the mask."""
        visible = visible_points(self.clip, self.how.overlap, "half_open" if self.how.published else "closed")
        for view in self.clip.views_with_frames:
            points = visible[view][kept[visible[view]]]
            yield points_in_sight(self.in_camera(view, points), points, self.K, self.mask)

    def _cached(self, cache: Path) -> Path:
        """The folder of what is made once; it is made if it is not there."""
        folder = cache / f"{self.clip.name}_{self._key()}"
        if not (folder / "kept.npy").is_file():
            with atomic_path(folder / "frames.npy") as file:
                frames = self.clip.views_with_frames
                with array_writer(file, np.uint8, (len(frames), *self.size, 3)) as add:
                    for frame in self._frames():
                        add(frame)
            kept = self._fits_the_light(mapped_array(folder / "frames.npy"))
            with atomic_path(folder / "kept.npy") as file:  # the last one says that all are there
                np.save(file, kept)
        return folder

    def _key(self) -> str:
        """A hash of what the cached files are made from: contents, not names."""
        clip, files = self.clip, [self.clip.frames[view] for view in self.clip.views_with_frames]
        digest = hashlib.blake2b(json.dumps([FORMAT, asdict(self.how), self.size]).encode())
        for array in (clip.camera.K, clip.poses, clip.points, clip.observations, clip.mask, clip.views_with_frames):
            digest.update(np.ascontiguousarray(array).tobytes())
        for file in files:
            digest.update(hashlib.blake2b(file.read_bytes()).digest())
        return digest.hexdigest()[:KEY_LENGTH]

    def _frames(self) -> Iterator[np.ndarray]:
        """The pictures in their box, uint8 (H, W, 3), with progress."""
        views, size = self.clip.views_with_frames, self.how.size_of(self.clip)
        with progress_bar(len(views), f"frames of {self.clip.name}", "frames") as bar:
            for view in views:
                file = self.clip.frames[view]
                rgb = read_rgb(file)
                if rgb.shape[:2] != self.clip.camera.size:
                    expected = "x".join(map(str, self.clip.camera.size))
                    raise UserError(
                        f"{file} is {rgb.shape[0]}x{rgb.shape[1]} pixels, but camera and mask of {self.clip.folder} "
                        f"are for {expected}"
                    )
                yield self.window.cut(resize_frame(rgb, size, self.how.published))
                bar.update(1)

    def _fits_the_light(self, frames: np.ndarray) -> np.ndarray:
        """Which points are kept, bool (N,)."""
        everything = np.ones(len(self.clip.points), bool)
        if not 0 < self.how.inlier_share < 1:
            return everything
        brightness = (smooth_brightness(frame.astype(np.float32) / 255) for frame in frames)
        return light_consistent_points(brightness, self._in_sight(everything), len(everything), self.how.inlier_share)


def global_scale(clip: SfmClip, floor: float = 0.0) -> float:
    """By what the lengths of a clip are divided: the longer diagonal of two boxes, in the clip's unit.

    One box holds the translations of the extrinsics, the other one the points. The published code takes 1 where both
    are shorter (``floor``), so that a clip in a large unit is not brought to size; SfM's unit says nothing.
    """
    diagonals = [np.linalg.norm(np.ptp(x, axis=0)) for x in (clip.cam_from_world[:, :3, 3], clip.points)]
    return float(max(*diagonals, floor))


def resize_frame(rgb: np.ndarray, size: tuple[int, int], published: bool) -> np.ndarray:
    """RGB in [0, 1] (H, W, 3) to uint8 of ``size``; published: OpenCV's bilinear, which aliases."""
    if published:
        return cv2.resize(np.rint(rgb * 255).astype(np.uint8), size[::-1], interpolation=cv2.INTER_LINEAR)
    resized = (resize_picture(to_image_tensor(rgb), size) + 1) / 2
    return (resized * 255).round().byte().numpy().transpose(1, 2, 0)
