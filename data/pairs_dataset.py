"""Frames with true depth."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch

from data.base_dataset import BaseDataset, Sample, to_image_tensor
from data.depth_files import ENCODINGS
from data.formats import DataFormat, Item, open_format
from data.transforms import Preprocessing
from util.errors import UserError
from util.intrinsics import scale_intrinsics


class PairsDataset(BaseDataset):
    """The frames of a split of a data set (``data.formats``) with their depth.

    Each sample: ``image`` (3, H, W) in [-1, 1]; ``depth_mm`` (1, H, W), 0 where invalid; ``valid`` (1, H, W) bool; and
    ``intrinsics`` (3, 3) [px] when the cameras are known.
    """

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        group = parser.add_argument_group("pairs")
        known = ", ".join(("auto", *ENCODINGS))
        group.add_argument("--depth_format", default="auto", help=f"how depth is stored: {known}, or a depth.json file")
        group.add_argument("--phase", default="train" if is_train else "test", help="split of the data set")

    @classmethod
    def from_options(cls, opt: Namespace, phase: str) -> "PairsDataset":
        return cls(open_format(opt), phase, Preprocessing.from_options(opt), getattr(opt, "max_dataset_size", None))

    def __init__(
        self, source: DataFormat, phase: str, preprocessing: Preprocessing, max_size: int | None = None
    ) -> None:
        self.source, self.preprocessing = source, preprocessing
        self.items: list[Item] = source.items(phase)[:max_size]
        self.has_cameras = source.has_camera(self.items[0])

    def __len__(self) -> int:
        return len(self.items)

    def files(self, index: int) -> list[Path]:
        """The frame and its depth map."""
        return self.items[index].files

    def raw(self, index: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Name, RGB in [0, 1] (H, W, 3) and depth [mm] (H, W) as they are on disk."""
        item = self.items[index]
        rgb, depth_mm = self.source.read_frame(item.image), self.source.read_depth_mm(item)
        if rgb.shape[:2] != depth_mm.shape:
            sizes = ["x".join(map(str, array.shape[:2])) for array in (rgb, depth_mm)]
            raise UserError(f"{item.image} is {sizes[0]} pixels, but its depth map {item.depth} {sizes[1]}")
        return item.name, rgb, depth_mm

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        _, rgb, depth = self.raw(index)
        depth_mm = torch.from_numpy(depth)[None]
        sample = {"image": to_image_tensor(rgb), "depth_mm": depth_mm, "valid": depth_mm > 0}
        if self.has_cameras:
            sample["intrinsics"] = torch.from_numpy(self._intrinsics(self.items[index], depth.shape)).float()
        sample = self.preprocessing.pad(self.preprocessing.resize(sample))
        return sample if rng is None else self.preprocessing.augment(sample, rng)

    def _intrinsics(self, item: Item, size: tuple[int, int]) -> np.ndarray:
        camera = self.source.camera(item, size)
        if camera is None:
            raise UserError(f"the camera of {item.image} is not known, while that of {self.items[0].image} is")
        return scale_intrinsics(camera.K, camera.size, size)
