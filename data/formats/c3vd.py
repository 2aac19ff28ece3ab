"""C3VD (Bobrow et al., MedIA 2023): a colon phantom filmed by a real colonoscope, depth from a registered model."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.depth_files import DepthEncoding, decode_picture
from data.fisheye import OmnidirectionalCamera, undistort_depth, undistort_picture
from data.formats.base import Found, Item, SequenceFormat, files_under, pair_items, read_numbers
from data.image_files import read_picture, read_rgb
from data.pairing import find_pairs
from util.errors import UserError
from util.intrinsics import Intrinsics

SIZE = (1080, 1350)
# Calibration of the colonoscope, as published with the data (exampleDataLoader.py).
COLONOSCOPE = OmnidirectionalCamera(
    size=SIZE,
    cx=678.544839263292,
    cy=542.975887548343,
    a0=769.243600037458,
    a2=-0.000812770624150226,
    a3=6.25674244578925e-07,
    a4=-1.19662182144280e-09,
    c=0.999986882249990,
    d=0.00288273829525059,
    e=-0.00296316513429569,
)
ENCODING = DepthEncoding(100 / 65535, bits=16, saturated=65535)
# The transverse colon, of which no texture is trained on, is for testing; so split EndoStreamDepth and others.
HELD_OUT = {"trans": "test", "desc": "eval"}
FLOW_RANGE_PX = 20.0
MAX16 = 65535


class C3vdFormat(SequenceFormat):
    """``.../cecum_t1_a/0000_color.png`` and ``0000_depth.tiff``, with ``pose.txt`` beside them.

    Depth is along the optical axis, 16 bits, 65535 being 100 mm; 0 and 65535 are invalid. The pictures are those of a
    fisheye: ``--undistort`` reads them as a pinhole would have seen them, else there is no camera matrix for them.
    """

    full_scale_mm = 100.0

    def __init__(self, root: Path, depth_format: str = "auto", undistort: bool = False) -> None:
        super().__init__(root, depth_format)
        self.undistort = undistort

    @classmethod
    def from_options(cls, opt: Namespace) -> "C3vdFormat":
        return cls(opt.dataroot, opt.depth_format, opt.undistort)

    @staticmethod
    def add_options(parser: ArgumentParser) -> None:
        parser.add_argument(
            "--undistort", action="store_true", help="c3vd: read the fisheye's frames and depth as a pinhole's"
        )

    def find_sequences(self) -> Mapping[str, Found]:
        folders = sorted({path.parent for path in files_under(self.root, "*_color.png")})
        if not folders:
            raise FileNotFoundError(f"{self.root} has no files like cecum_t1_a/0000_color.png under it")
        names = [folder.name for folder in folders]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UserError(f"{self.root} has more than one folder called {', '.join(sorted(twice))}")
        return {
            folder.name: pair_items(
                find_pairs(folder, folder), lambda stem, name=folder.name: name, prefix=f"{folder.name}_"
            )
            for folder in folders
        }

    def default_split(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        phase_of = {name: HELD_OUT.get(name.split("_")[0], "train") for name in names}
        return {phase: [name for name in names if phase_of[name] == phase] for phase in ("train", "eval", "test")}

    def read_frame(self, file: Path) -> np.ndarray:
        rgb = read_rgb(file)
        return undistort_picture(rgb, self._fisheye(file, rgb)) if self.undistort else rgb

    def read_depth_mm(self, item: Item) -> np.ndarray:
        depth_mm = decode_picture(item.depth, ENCODING, "C3VD")
        return undistort_depth(depth_mm, self._fisheye(item.depth, depth_mm)) if self.undistort else depth_mm

    def camera(self, item: Item, size: tuple[int, int]) -> Intrinsics | None:
        return COLONOSCOPE.pinhole() if self.undistort else None

    def pose(self, item: Item) -> np.ndarray | None:
        file = item.image.parent / "pose.txt"
        if not file.is_file():
            return None
        poses, number = read_poses(file), int(item.image.stem.split("_")[0])
        if number >= len(poses):
            raise UserError(f"{file} has {len(poses)} lines, but there is a frame {item.image}")
        return poses[number]

    def _fisheye(self, file: Path, picture: np.ndarray) -> OmnidirectionalCamera:
        if picture.shape[:2] != SIZE:
            raise UserError(
                f"{file} is {picture.shape[0]}x{picture.shape[1]} pixels, but C3VD's camera is known for "
                f"{SIZE[0]}x{SIZE[1]}; --undistort needs the original files"
            )
        return COLONOSCOPE


@lru_cache(maxsize=64)
def read_poses(file: Path) -> np.ndarray:
    """Camera-to-world poses (T, 4, 4) [mm]; a line is the 16 numbers of one, column by column, with commas."""
    return read_numbers(file, 16, separator=",").reshape(-1, 4, 4).transpose(0, 2, 1)


def read_normals(file: Path) -> np.ndarray:
    """Surface normals in the camera's axes, float32 (H, W, 3): x and y are stored from -1 to 1, z from 0 to 1."""
    bgr = _three_channels(file)
    x, y, z = (bgr[..., channel].astype(np.float32) / MAX16 for channel in (2, 1, 0))
    return np.stack([2 * x - 1, 2 * y - 1, z], axis=-1)


def read_flow(file: Path) -> np.ndarray:
    """Flow from this frame to the one before [px], float32 (2, H, W); stored from -20 to 20."""
    bgr = _three_channels(file)
    x, y = (bgr[..., channel].astype(np.float32) / MAX16 for channel in (2, 1))
    return (2 * np.stack([x, y]) - 1) * FLOW_RANGE_PX


def read_occlusion(file: Path) -> np.ndarray:
    """Where a surface hides another one within 100 mm, bool (H, W)."""
    picture = read_picture(file)
    return (picture if picture.ndim == 2 else picture[..., 0]) > 0


def _three_channels(file: Path) -> np.ndarray:
    picture = read_picture(file)
    if picture.dtype != np.uint16 or picture.ndim != 3 or picture.shape[2] < 3:
        raise UserError(f"{file} holds {picture.dtype} pixels of shape {picture.shape}; expected 16 bits, 3 channels")
    return picture
