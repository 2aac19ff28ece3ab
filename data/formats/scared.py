"""SCARED (Allan et al., 2021): porcine abdomens by a stereo endoscope, depth from structured light."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.depth_files import DepthEncoding
from data.formats.base import Found, Item, SequenceFormat, files_under
from data.image_files import image_size, list_images, read_picture
from util.errors import UserError
from util.intrinsics import Intrinsics

FRAMES = ("left_finalpass", "left", "image_02/data")  # what exports call the folder of the left camera's frames
Z = 0  # OpenCV turns the stored (x, y, z) round
MM = DepthEncoding(1.0)
TEST_DATASETS, EVAL_DATASETS = (8, 9), (7,)


class ScaredFormat(SequenceFormat):
    """``dataset_1/keyframe_1/data/`` with ``scene_points/scene_points000000.tiff``, frames in ``left_finalpass/`` (or
    ``left/``, ``image_02/data/``), and ``frame_data/frame_data000000.json`` with the camera of each frame.

    A TIFF holds the point [mm] that each pixel sees, float32 x, y, z; depth is its z. Where it has the right camera's
    points below those of the left one, the upper half counts. Frames that are counted from 1 belong to the points of
    the number before. Data sets 8 and 9 are for testing, 7 for evaluation.
    """

    full_scale_mm = None

    def find_sequences(self) -> Mapping[str, Found]:
        folders = sorted({path.parent.parent for path in files_under(self.root, "scene_points*.tif*")})
        if not folders:
            raise FileNotFoundError(f"{self.root} has no folders like dataset_1/keyframe_1/data/scene_points under it")
        return {name: _pair(name, folder) for folder in folders for name in [self._name(folder)]}

    def default_split(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        phase_of = {name: _phase(int(re.search(r"\d+", name)[0])) for name in names if re.search(r"\d+", name)}
        return {phase: [n for n in names if phase_of.get(n, "train") == phase] for phase in ("train", "eval", "test")}

    def read_depth_mm(self, item: Item) -> np.ndarray:
        points = read_picture(item.depth)
        if points.dtype != np.float32 or points.ndim != 3 or points.shape[2] != 3:
            raise UserError(f"{item.depth} holds {points.dtype} {points.shape}; expected float32 points (x, y, z)")
        height, width = image_size(item.image)
        if points.shape[:2] == (2 * height, width):
            points = points[:height]
        return MM.decode(points[..., Z])

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        digits = item.depth.stem.removeprefix("scene_points")
        file = item.depth.parent.parent / "frame_data" / f"frame_data{digits}.json"
        if not file.is_file():
            return None
        try:
            K = np.array(json.loads(file.read_text(encoding="utf-8"))["camera-calibration"]["KL"], np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} has no camera-calibration KL ({error!r}); extract it again") from None
        if K.shape != (3, 3):
            raise UserError(f"{file}: KL must be 3x3, got {K.shape}")
        return Intrinsics(K, size)

    def _name(self, folder: Path) -> str:
        parts = folder.relative_to(self.root).parts
        return "/".join(part for part in parts if part != "data") or folder.name


def _pair(name: str, folder: Path) -> Found:
    """Frames and points by number."""
    frames_dir = next((folder / sub for sub in FRAMES if (folder / sub).is_dir()), None)
    if frames_dir is None:
        raise UserError(f"{folder} has no frames: expected a folder {', '.join(FRAMES)}; cut them out of rgb.mp4 first")
    frames = {_number(path): path for path in list_images(frames_dir)}
    points = {_number(path): path for path in list_images(folder / "scene_points", (".tiff", ".tif"))}
    first = 1 if min(frames, default=0) == 1 and 0 in points else 0
    frames = {number - first: path for number, path in frames.items()}
    both = sorted(frames.keys() & points.keys())
    items = [Item(f"{name.replace('/', '_')}_{number:06d}", frames[number], points[number], name) for number in both]
    # Only some frames have points, which is no fault of the files.
    return Found(items, [], [points[number] for number in sorted(points.keys() - frames.keys())])


def _number(path: Path) -> int:
    found = re.search(r"\d+$", path.stem)
    if found is None:
        raise UserError(f"{path} has no number at the end of its name, by which frames and points pair")
    return int(found[0])


def _phase(dataset: int) -> str:
    return "test" if dataset in TEST_DATASETS else "eval" if dataset in EVAL_DATASETS else "train"
