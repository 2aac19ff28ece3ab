"""Geometry of samples: resize, pad, crop and flip everything that lies on the pixel grid together.

A sample's keys say what they are: ``image`` (3, H, W) and ``frames`` (T, 3, H, W) are pictures in [-1, 1]; ``depth_mm``
and ``valid`` (1, H, W); ``flow_fwd`` and ``flow_bwd`` (T-1, 2, H, W) in pixels (x, y) with the masks ``mask_fwd`` and
``mask_bwd`` (T-1, 1, H, W), bool; ``view`` (1, H, W) bool, where an endoscope's frames show something; ``pseudo_depth``
(1, H, W), 0 where unknown; ``intrinsics`` (3, 3) in pixels; ``pose`` (T, 4, 4), world_from_cam. Maps of structure from
motion are those of ``data.sfm_pairs_dataset``. Pixel (0, 0) is the centre of the top-left pixel.
"""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from data.base_dataset import Sample
from models.geometry.flow import inside_image
from util.errors import UserError
from util.intrinsics import scale_intrinsics

PICTURES = ("image", "frames")
FLOWS = {"flow_fwd": "mask_fwd", "flow_bwd": "mask_bwd"}
FROM_MOTION = ("mask", "sparse_depth", "confidence", "sparse_flow", "flow_confidence")
ON_THE_GRID = (*PICTURES, "depth_mm", "valid", "view", "pseudo_depth", *FLOWS, *FLOWS.values(), *FROM_MOTION)
HAVE_DIRECTION = (*FLOWS, "sparse_flow")  # (..., 2, H, W)
RESIZE_MODES = ("resize", "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "fit", "none")
BLACK = -1.0  # of pictures
FLIPPED = 0.5  # share of the samples, where any are
ALL_OF_A_PIXEL = 0.99  # a resized pixel of the view that shows anything else, be it a little, is none of it


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a frame before a network sees it, in training and, but for the augmentation, in testing.

    ``mode`` is pix2pixHD's: ``resize`` to a square of ``load_size``, ``scale_width`` keeps the aspect, ``crop`` cuts a
    square of ``fine_size`` out (at random in training, not at all in testing), ``none`` leaves the size alone. ``fit``
    is ours: the frame keeps its aspect and is set into a black square of ``load_size``. ``load_height`` gives a
    ``resize`` rows of its own, beside ``load_size`` columns. ``zoom`` is the largest factor of a random enlargement,
    along x and y each its own, of which a part of the size before is kept (SC-Depth's augmentation has 1.15).
    """

    mode: str = "resize"
    load_size: int = 512
    fine_size: int = 512
    flip: bool = True
    load_height: int | None = None
    zoom: float = 1.0

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        group = parser.add_argument_group("preprocessing")
        group.add_argument("--resize_or_crop", choices=RESIZE_MODES, default="resize", help="how frames get their size")
        group.add_argument(
            "--load_size", "--loadSize", type=int, default=512, help="size that frames are resized to [px]"
        )
        group.add_argument("--load_height", type=int, help="their height, where it differs (--resize_or_crop resize)")
        group.add_argument("--fine_size", "--fineSize", type=int, default=512, help="size of the random crop [px]")
        if is_train:
            group.add_argument(
                "--zoom", type=float, default=1.0, help="largest random enlargement, x and y apart; 1: none"
            )
            group.add_argument("--no_flip", dest="flip", action="store_false", help="no random horizontal flip")
            group.add_argument("--flip", dest="flip", action="store_true", default=True, help="random horizontal flip")

    @classmethod
    def from_options(cls, opt: Namespace) -> "Preprocessing":
        augmentation = {"flip": getattr(opt, "flip", False), "zoom": getattr(opt, "zoom", 1.0)}  # training's alone
        return cls(opt.resize_or_crop, opt.load_size, opt.fine_size, load_height=opt.load_height, **augmentation)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) after resizing and before cropping, of a frame of this size."""
        if self.mode.startswith("resize"):
            return self.load_height or self.load_size, self.load_size
        if self.mode.startswith("scale_width"):
            return max(1, round(height * self.load_size / width)), self.load_size
        if self.mode == "fit":
            scale = self.load_size / max(height, width)
            return max(1, round(height * scale)), max(1, round(width * scale))
        return height, width

    def resize(self, sample: Sample) -> Sample:
        """The sample at the size that the network works at."""
        return resize_sample(sample, self.size_of(*grid_size(sample)))

    def pad(self, sample: Sample) -> Sample:
        """The resized sample in its black square, where ``mode`` has one."""
        return pad_sample(sample, (self.load_size, self.load_size)) if self.mode == "fit" else sample

    def augment(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A random zoom, crop (modes with ``crop``) and flip, the same for all that is in the sample."""
        if self.zoom > 1:
            sample = random_zoom(sample, self.zoom, rng)
        if self.mode.endswith("crop"):
            sample = random_crop(sample, self.fine_size, rng)
        if self.flip and rng.random() < FLIPPED:
            sample = flip_sample(sample)
        return sample


def resize_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Resize pictures, depth, view and intrinsics to ``size`` (H, W). Flow is not: it is made at its final size."""
    out = dict(sample)
    for name in PICTURES:
        if name in sample:
            out[name] = resize_picture(sample[name], size)
    if "depth_mm" in sample:
        out["depth_mm"], out["valid"] = resize_depth(sample["depth_mm"], sample["valid"], size)
    if "pseudo_depth" in sample:
        out["pseudo_depth"] = resize_depth(sample["pseudo_depth"], sample["pseudo_depth"] > 0, size)[0]
    if "view" in sample:
        out["view"] = interpolate(sample["view"][None].float(), size, mode="area")[0] > ALL_OF_A_PIXEL
    if "intrinsics" in sample:
        scaled = scale_intrinsics(sample["intrinsics"].numpy(), grid_size(sample), size)
        out["intrinsics"] = torch.from_numpy(scaled).to(sample["intrinsics"].dtype)
    return out


def resize_picture(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic with anti-aliasing; (..., C, H, W) in [-1, 1] stays in that range although bicubic overshoots."""
    if picture.shape[-2:] == size:
        return picture
    batch = picture.reshape(-1, *picture.shape[-3:])
    resized = interpolate(batch, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    return resized.reshape(*picture.shape[:-2], *size)


def resize_depth(depth_mm: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Bilinear over the valid pixels only, so that the 0 of invalid ones leaks into no depth.

    A pixel of the result is valid where at least half of what it is made of is. (1, H, W) each.
    """
    if depth_mm.shape[-2:] == size:
        return depth_mm, valid
    weight = valid.float()
    both = torch.stack([torch.where(valid, depth_mm, 0.0), weight])  # (2, 1, H, W)
    total, weight = interpolate(both, size, mode="bilinear", align_corners=False)
    valid = weight >= 0.5
    return torch.where(valid, total / weight.clamp(min=0.5), 0.0), valid


def pad_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Set all that lies on the grid into the middle of ``size`` (H, W), with black or what is invalid around it."""
    height, width = grid_size(sample)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    pads = (left, size[1] - width - left, top, size[0] - height - top)
    out = dict(sample)
    for name in ON_THE_GRID:
        if name in sample:
            out[name] = pad(sample[name], pads, value=BLACK if name in PICTURES else 0)
    if "intrinsics" in sample:
        out["intrinsics"] = move_centre(sample["intrinsics"], left, top)
    return out


def crop_middle(x: Tensor, size: tuple[int, int]) -> Tensor:
    """What ``pad_sample`` set into the middle, (..., H, W) of ``size``."""
    top, left = (x.shape[-2] - size[0]) // 2, (x.shape[-1] - size[1]) // 2
    return x[..., top : top + size[0], left : left + size[1]]


def move_centre(K: Tensor, x: int, y: int) -> Tensor:
    """K (3, 3) of a picture whose content moved by (x, y) pixels."""
    moved = K.clone()
    moved[:2, 2] += torch.tensor([x, y], dtype=K.dtype)
    return moved


def random_crop(sample: Sample, size: int, rng: np.random.Generator) -> Sample:
    """Cut the same random square of ``size`` pixels out of all that lies on the grid.

    A flow that leaves the crop has no partner there any more, so its mask becomes False.
    """
    height, width = grid_size(sample)
    if height < size or width < size:
        raise UserError(f"--fineSize {size} is larger than a frame of {height}x{width} pixels after resizing")
    return random_window(sample, (size, size), rng)


def random_zoom(sample: Sample, largest: float, rng: np.random.Generator) -> Sample:
    """Enlarge by factors of 1 to ``largest`` along x and y, and cut a random part of the size before out of that.

    Raises:
        ValueError: the sample has flow, which is made for the pixels as they are.
    """
    if any(name in sample for name in FLOWS):
        raise ValueError("a sample with flow cannot be zoomed; train this method with --zoom 1")
    size = grid_size(sample)
    larger = tuple(round(side * rng.uniform(1, largest)) for side in size)
    return random_window(resize_sample(sample, larger), size, rng)


def grid_size(sample: Sample) -> tuple[int, int]:
    """(H, W) of all that lies on the pixel grid."""
    return next(tuple(sample[name].shape[-2:]) for name in ON_THE_GRID if name in sample)


def random_window(sample: Sample, size: tuple[int, int], rng: np.random.Generator) -> Sample:
    """A random part of ``size`` (H, W) of all that lies on the grid. A flow that leaves it has no partner any more."""
    height, width = grid_size(sample)
    top, left = int(rng.integers(height - size[0] + 1)), int(rng.integers(width - size[1] + 1))
    out = dict(sample)
    for name in ON_THE_GRID:
        if name in sample:
            out[name] = sample[name][..., top : top + size[0], left : left + size[1]]
    for flow, mask in FLOWS.items():
        if flow in sample:
            out[mask] = out[mask] & inside_image(out[flow])
    if "intrinsics" in sample:
        out["intrinsics"] = move_centre(sample["intrinsics"], -left, -top)
    return out


def flip_sample(sample: Sample) -> Sample:
    """What a mirrored camera sees in a mirrored world.

    Pictures and maps are reversed in x, the x of flow and the principal point with them. A pose T becomes M T M with
    M = diag(-1, 1, 1, 1), which turns the other way round and is no reflection itself.
    """
    out = dict(sample)
    for name in ON_THE_GRID:
        if name in sample:
            out[name] = sample[name].flip(-1)
    for name in HAVE_DIRECTION:
        if name in sample:
            out[name] = out[name] * torch.tensor([-1.0, 1.0], dtype=out[name].dtype).view(2, 1, 1)
    if "intrinsics" in sample:
        width = grid_size(sample)[1]
        out["intrinsics"] = sample["intrinsics"].clone()
        out["intrinsics"][0, 2] = width - 1 - out["intrinsics"][0, 2]
    if "pose" in sample:
        mirror = torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=sample["pose"].dtype)
        out["pose"] = mirror[:, None] * sample["pose"] * mirror
    return out
