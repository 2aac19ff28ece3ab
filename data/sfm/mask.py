"""The mask of a clip: which pixels of its frames are in the lens circle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.image_files import image_size, read_picture
from data.sfm.clip import INSIDE
from util.errors import UserError

MASKS = ("undistorted_mask.bmp", "mask.png")  # the first one that is there counts


def read_mask(folder: Path, frames: Sequence[Path | None], size: tuple[int, int] | None = None) -> np.ndarray:
    """The mask of a clip, uint8 (H, W): that of ``MASKS`` which is in the folder, else everything is inside.

    Args:
        folder: of the clip.
        frames: its pictures; the size of the first one that is there is looked at.
        size: (H, W) that the camera has, where it says so.

    Raises:
        UserError: the mask cannot be read, or has nothing inside; sizes differ; or there is neither a mask nor a frame.
    """
    sizes = {} if size is None else {"the camera": size}
    frame = next((frame for frame in frames if frame is not None), None)
    if frame is not None:
        sizes[frame.name] = image_size(frame)
    file = next((folder / name for name in MASKS if (folder / name).is_file()), None)
    if file is not None:
        mask = _read_grey(file)
        sizes[file.name] = mask.shape
    if not sizes:
        raise UserError(f"{folder} has no frame and no mask ({' or '.join(MASKS)}), so the frames' size is not known")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {width}x{height}" for name, (height, width) in sizes.items())
        raise UserError(f"{folder}: {listed} pixels (width x height), but all must be of one size")
    return np.full(next(iter(sizes.values())), INSIDE, np.uint8) if file is None else mask


def _read_grey(file: Path) -> np.ndarray:
    """A mask's pixels, uint8 (H, W)."""
    mask = read_picture(file)
    if mask.ndim == 3 and (mask[..., :1] == mask[..., :3]).all():
        mask = mask[..., 0]
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise UserError(
            f"{file} is {mask.dtype} {mask.shape}; a mask is grey with 8 bits, {INSIDE} inside the lens circle"
        )
    if not (mask == INSIDE).any():
        raise UserError(f"{file} has no pixel of {INSIDE}, which is what the inside of the lens circle has")
    return mask
