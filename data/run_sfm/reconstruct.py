"""COLMAP, through pycolmap: features, matches, and the model that explains most frames.

The only place that imports pycolmap. Imported as the first thing of a process, pycolmap 4.2.1 spoils the heap of
whatever deflates later (NumPy's archives, PNG); zlib before it prevents that.
"""

import time
import zlib  # noqa: F401 - see above
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from data.run_sfm.export import Model, read_reconstruction
from data.sfm.colmap import HALF_PIXEL
from util.errors import UserError
from util.intrinsics import Intrinsics
from util.progress import progress_bar

MATCHING = ("auto", "exhaustive", "sequential")
EXHAUSTIVE_UP_TO = 100  # frames; the time of all pairs grows with the square
SMALLEST_HALF = 640  # px; below this, half size costs more points than it saves time
FRAMES_AT_ONCE, PAIRS_AT_ONCE = 16, 64  # between two steps of the progress bar
SMALLEST_MODEL = 3  # frames; by default COLMAP drops all but its first one of fewer than 10, which may be the largest
OLDEST = 4  # version of pycolmap; earlier ones call things otherwise
INSTALL = "pip install -r requirements-sfm.txt (or: pip install 'pycolmap>=4.0')"

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """Of COLMAP.

    Args:
        matching: of ``MATCHING``.
        overlap: sequential: how many frames on a frame is matched with.
        max_image_size: longer side at which features are sought [px]; None is half, but ``SMALLEST_HALF`` or more.
        peak_threshold: of SIFT. COLMAP's own 0.0067 finds a quarter of the points on mucosa that 0.002 does.
        init_angle: that the first two frames see points under, at least [degrees]. With COLMAP's own 16 the first model
            is of two frames that hardly fit, since neighbours of a clip see little parallax.
        refine_focal: let the focal length change.
        num_threads: at once.
        seed: of all random choices; threads still make results differ a little.
    """

    matching: str = "auto"
    overlap: int = 12
    max_image_size: int | None = None
    peak_threshold: float = 0.002
    init_angle: float = 4.0
    refine_focal: bool = False
    num_threads: int = 1
    seed: int = 0

    def pairs(self, count: int) -> list[tuple[int, int]]:
        """Which of ``count`` frames are matched with which."""
        sequential = self.matching == "sequential" or (self.matching == "auto" and count > EXHAUSTIVE_UP_TO)
        reach = self.overlap if sequential else count
        return [(one, other) for one in range(count) for other in range(one + 1, min(one + reach + 1, count))]

    def feature_size(self, size: tuple[int, int]) -> int:
        """Longer side [px] at which features of frames of ``size`` (H, W) are sought."""
        if self.max_image_size is not None:
            return self.max_image_size
        return min(max(size), max(max(size) // 2, SMALLEST_HALF))


@dataclass(frozen=True)
class Job:
    """What is reconstructed.

    Args:
        folder, names: the frames, in the order of time.
        camera: of all of them.
        mask: picture, 0 where no features are sought.
        work: folder for COLMAP's own files, which must not have any yet.
    """

    folder: Path
    names: tuple[str, ...]
    camera: Intrinsics
    mask: Path
    work: Path


@dataclass(frozen=True)
class Solution:
    """What COLMAP has found.

    Args:
        model: the largest one; None where no two frames fit together.
        sizes: frames and points of every model, the largest first.
        features: median of a frame.
        seconds: of each step.
        colmap: version of pycolmap.
    """

    model: Model | None
    sizes: tuple[tuple[int, int], ...]
    features: float
    seconds: dict[str, float] = field(compare=False)
    colmap: str


def require_pycolmap() -> str:
    """The version of pycolmap, without importing it.

    Raises:
        UserError: it is not installed, or too old.
    """
    try:
        installed = version("pycolmap")
    except PackageNotFoundError:
        raise UserError(f"structure from motion needs pycolmap, which is not installed: {INSTALL}") from None
    if int(installed.split(".")[0]) < OLDEST:
        raise UserError(f"pycolmap {installed} is too old, {OLDEST}.0 or later is needed: {INSTALL}")
    return installed


def reconstruct(job: Job, settings: Settings) -> Solution:
    """Features of every frame, matches of pairs, and models out of them; the largest is kept.

    Raises:
        UserError: pycolmap is not installed.
        RuntimeError: COLMAP fails.
    """
    installed = require_pycolmap()
    import pycolmap

    pycolmap.set_random_seed(settings.seed)
    database, seconds = job.work / "database.db", {}
    with _timed(seconds, "extract"):
        _extract(pycolmap, job, settings, database)
    with _timed(seconds, "match"):
        _match(pycolmap, job, settings, database)
    with _timed(seconds, "map"):
        models = _map(pycolmap, job, settings, database)
    largest_first = sorted(models, key=lambda found: (found.num_reg_images(), found.num_points3D()), reverse=True)
    return Solution(
        model=read_reconstruction(largest_first[0]) if largest_first else None,
        sizes=tuple((found.num_reg_images(), found.num_points3D()) for found in largest_first),
        features=_median_features(pycolmap, database),
        seconds=seconds,
        colmap=installed,
    )


def _extract(pycolmap: ModuleType, job: Job, settings: Settings, database: Path) -> None:
    """Features of all frames, which have one camera."""
    K = job.camera.K
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "PINHOLE"
    reader.camera_params = ",".join(
        repr(float(value)) for value in (K[0, 0], K[1, 1], K[0, 2] + HALF_PIXEL, K[1, 2] + HALF_PIXEL)
    )
    reader.camera_mask_path = str(job.mask)
    how = pycolmap.FeatureExtractionOptions()
    how.use_gpu, how.num_threads = False, settings.num_threads
    how.max_image_size = settings.feature_size(job.camera.size)
    how.sift.peak_threshold = settings.peak_threshold
    for names in _portions(job.names, FRAMES_AT_ONCE, "extract", "frames"):
        pycolmap.extract_features(
            database, job.folder, image_names=names, camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader, extraction_options=how, device=pycolmap.Device.cpu,
        )  # fmt: skip
        # Each call would make a camera of its own; from the second one on it is that of the first.
        reader.existing_camera_id = 1


def _match(pycolmap: ModuleType, job: Job, settings: Settings, database: Path) -> None:
    """Pairs are named in a list, whichever they are, so that progress shows and their order is ours."""
    how = pycolmap.FeatureMatchingOptions()
    how.use_gpu, how.num_threads = False, settings.num_threads
    check = pycolmap.TwoViewGeometryOptions()
    check.ransac.random_seed = settings.seed
    listed = pycolmap.ImportedPairingOptions()
    listed.match_list_path = job.work / "pairs.txt"
    for pairs in _portions(settings.pairs(len(job.names)), PAIRS_AT_ONCE, "match", "pairs"):
        lines = [f"{job.names[one]} {job.names[other]}\n" for one, other in pairs]
        Path(listed.match_list_path).write_text("".join(lines), encoding="utf-8")
        pycolmap.match_image_pairs(
            database, matching_options=how, pairing_options=listed, verification_options=check,
            device=pycolmap.Device.cpu,
        )  # fmt: skip


def _map(pycolmap: ModuleType, job: Job, settings: Settings, database: Path) -> list[Any]:
    """Models, each of frames that fit together."""
    how = pycolmap.IncrementalPipelineOptions()
    how.num_threads, how.random_seed = settings.num_threads, settings.seed
    how.min_model_size = SMALLEST_MODEL
    how.mapper.init_min_tri_angle = settings.init_angle
    how.ba_refine_focal_length = how.mapper.abs_pose_refine_focal_length = settings.refine_focal
    # Never the rest: a clip says even less of it than of the focal length.
    how.ba_refine_principal_point = how.ba_refine_extra_params = how.mapper.abs_pose_refine_extra_params = False
    models = job.work / "models"
    models.mkdir()
    with progress_bar(None, "map", "frames") as bar:
        found = pycolmap.incremental_mapping(
            database, job.folder, models, options=how,
            initial_image_pair_callback=lambda: bar.update(2), next_image_callback=lambda: bar.update(1),
        )  # fmt: skip
    return list(found.values())


def _median_features(pycolmap: ModuleType, database: Path) -> float:
    with pycolmap.Database.open(database) as opened:
        return float(np.median([opened.num_keypoints_for_image(image.image_id) for image in opened.read_all_images()]))


def _portions(things: Sequence[T], count: int, what: str, unit: str) -> Iterator[Sequence[T]]:
    """``count`` of the things at a time, with a progress bar."""
    with progress_bar(len(things), what, unit) as bar:
        for start in range(0, len(things), count):
            portion = things[start : start + count]
            yield portion
            bar.update(len(portion))


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - began, 1)
