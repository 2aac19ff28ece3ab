"""Label pictures of the test frames: where things move by themselves, which scores are also given apart."""

from pathlib import Path

import numpy as np

from data.formats.base import read_numbers
from data.image_files import IMAGE_SUFFIXES, read_picture
from util.errors import UserError

COLORS_FILE = "dynamic_colors.txt"
LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # JPEG changes colours


class DynamicMasks:
    """Reads ``folder/<name of the frame>.png``, RGB pictures in which a colour is a class.

    ``folder/dynamic_colors.txt`` has a row ``R G B`` (0 to 255) for each class that moves.

    Raises:
        FileNotFoundError: there is no such folder or file.
        UserError: the file holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = folder / COLORS_FILE
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file}: it needs a row R G B for each class that moves")
        colors = read_numbers(file, 3)
        if (colors != np.rint(colors)).any() or colors.min() < 0 or colors.max() > 255:
            raise UserError(f"{file}: colours are whole numbers from 0 to 255, three a row, got {colors.tolist()}")
        self.codes = _codes(colors.astype(np.uint8))  # (classes,)

    def dynamic(self, name: str, size: tuple[int, int]) -> np.ndarray:
        """Where something moves, bool (H, W), in the frame called ``name`` whose truth has ``size`` (H, W).

        Raises:
            FileNotFoundError: the frame has no label picture.
            UserError: it cannot be read, or has another size.
        """
        path = self._find(name)
        stored = read_picture(path)
        if stored.dtype != np.uint8 or stored.ndim != 3:
            raise UserError(f"{path} is no RGB picture of 8 bits, it holds {stored.dtype} {stored.shape}")
        if stored.shape[:2] != size:
            sizes = ["x".join(map(str, shape)) for shape in (stored.shape[:2], size)]
            raise UserError(f"{path} is {sizes[0]} pixels, but the truth of {name} {sizes[1]}: labels need its size")
        return np.isin(_codes(stored[..., 2::-1]), self.codes)

    def _find(self, name: str) -> Path:
        """A frame whose name has a suffix, because another has its stem, is looked for under the whole name too."""
        is_file_name = Path(name).suffix.lower() in IMAGE_SUFFIXES
        stems = [name, str(Path(name).with_suffix(""))] if is_file_name else [name]
        paths = [self.folder / f"{stem}{suffix}" for stem in stems for suffix in LABEL_SUFFIXES]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise FileNotFoundError(
                f"--seg_mask: the frame {name} has no label picture {paths[0]} (or {', '.join(LABEL_SUFFIXES[1:])})"
            )
        return found


def _codes(rgb: np.ndarray) -> np.ndarray:
    """One number for each colour, (..., 3) uint8 to (...) int32."""
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue
