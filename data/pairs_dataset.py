"""Frames with true depth, one file each, paired by name."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch

from data.base_dataset import BaseDataset, Sample, to_image_tensor
from data.depth_files import ENCODINGS, read_depth_mm
from data.image_files import read_rgb
from data.pairing import find_pairs
from data.transforms import Preprocessing
from util.errors import UserError


class PairsDataset(BaseDataset):
    """Synthetic pairs (UCL ColonoscopyDepth, SimCol3D, C3VD and the embedded phantom).

    Expects ``root/<phase>_A/*.png`` with RGB frames and ``root/<phase>_B/*.png`` with depth maps, paired by name
    (``data.pairing``), depth encoded as ``data.depth_files`` lists. Each sample: ``image`` (3, H, W) in [-1, 1];
    ``depth_mm`` (1, H, W), 0 where invalid; ``valid`` (1, H, W) bool.
    """

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        group = parser.add_argument_group("pairs")
        formats = ", ".join(("auto", *ENCODINGS))
        group.add_argument(
            "--depth_format", default="auto", help=f"how depth is stored: {formats}, or a depth.json file"
        )
        group.add_argument("--phase", default="train" if is_train else "test", help="split: <phase>_A and <phase>_B")

    @classmethod
    def from_options(cls, opt: Namespace, phase: str) -> "PairsDataset":
        folders = opt.dataroot / f"{phase}_A", opt.dataroot / f"{phase}_B"
        return cls(*folders, Preprocessing.from_options(opt), opt.depth_format, getattr(opt, "max_dataset_size", None))

    def __init__(
        self,
        frames_dir: Path,
        depths_dir: Path,
        preprocessing: Preprocessing,
        depth_format: str = "auto",
        max_size: int | None = None,
    ) -> None:
        for folder in (frames_dir, depths_dir):
            if not folder.is_dir():
                raise FileNotFoundError(f"there is no folder {folder}; --dataroot must hold <phase>_A and <phase>_B")
        pairing = find_pairs(frames_dir, depths_dir)
        if pairing.orphans:
            listed = ", ".join(str(path) for path in pairing.orphans[:5])
            raise UserError(
                f"{len(pairing.frames_alone)} frames in {frames_dir} have no depth map and {len(pairing.depths_alone)} "
                f"depth maps in {depths_dir} no frame, e.g. {listed}; python -m data.check lists all"
            )
        if not pairing.pairs:
            raise FileNotFoundError(f"no pictures in {frames_dir}; is --dataroot right?")
        self.pairs = pairing.pairs[:max_size]
        self.preprocessing = preprocessing
        self.depth_format = depth_format

    def __len__(self) -> int:
        return len(self.pairs)

    def files(self, index: int) -> list[Path]:
        """The frame and its depth map."""
        return list(self.pairs[index])

    def raw(self, index: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Name, RGB in [0, 1] (H, W, 3) and depth [mm] (H, W) as they are on disk."""
        frame, depth = self.pairs[index]
        rgb, depth_mm = read_rgb(frame), read_depth_mm(depth, self.depth_format)
        if rgb.shape[:2] != depth_mm.shape:
            size = "x".join(map(str, rgb.shape[:2]))
            raise UserError(f"{frame} is {size} pixels, but its depth map {depth} {'x'.join(map(str, depth_mm.shape))}")
        return frame.stem, rgb, depth_mm

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        _, rgb, depth = self.raw(index)
        depth_mm = torch.from_numpy(depth)[None]
        sample = self.preprocessing.resize({"image": to_image_tensor(rgb), "depth_mm": depth_mm, "valid": depth_mm > 0})
        return sample if rng is None else self.preprocessing.augment(sample, rng)
