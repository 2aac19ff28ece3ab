"""Put pictures of result folders into one: ``python scripts/overview.py OUT.png FOLDER:NAME [FOLDER:NAME ...]``.

A row each: input, depth, truth and error of the image NAME in the result folder FOLDER of a test.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.image_files import read_rgb, write_picture  # noqa: E402 - the project's root has to be on the path first
from util.colormap import side_by_side  # noqa: E402
from util.errors import UserError, run_cli  # noqa: E402

CAPTIONS = ("input", "depth", "truth", "error")
SIZE = 192  # of each picture [px]


def main() -> None:
    out, *rows = sys.argv[1:]
    if not rows:
        raise UserError("usage: python scripts/overview.py OUT.png FOLDER:NAME [FOLDER:NAME ...]")
    pictures = [row_of(*row.rsplit(":", 1)) for row in rows]
    write_picture(Path(out), np.concatenate(pictures))


def row_of(folder: str, name: str) -> np.ndarray:
    """The pictures of one image side by side, uint8 RGB."""
    files = [Path(folder) / "images" / f"{name}_{caption}.png" for caption in CAPTIONS]
    pictures = [cv2.resize(read_rgb(file), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).clip(0, 1) for file in files]
    return side_by_side([np.rint(picture * 255).astype(np.uint8) for picture in pictures], CAPTIONS)


if __name__ == "__main__":
    run_cli(main)
