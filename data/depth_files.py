"""Depth maps on disk: every encoding in one place, read without loss and written with its unit beside it.

| name       | stored                 | depth [mm]                | of                                       |
|------------|------------------------|---------------------------|------------------------------------------|
| `ucl8`     | 8 bits, 0 to 255       | value / 255 * 200         | UCL ColonoscopyDepth                     |
| `ucl16`    | 16 bits, 0 to 65535    | value / 65535 * 200       | its later 16-bit releases                |
| `simcol3d` | 16 bits, 0 to 65280    | value / 65280 * 200       | SimCol3D (value = depth / 20 cm * 255 * 256) |
| depth.json | any                    | value * ``mm_per_unit``   | this project's own files, C3VD           |
| .npy       | float32                | value                     | this project's own files                 |

A ``depth.json`` beside the files (or given by name) has ``mm_per_unit`` and may have ``invalid`` (a value, default 0),
``invalid_max`` (this value and all below are invalid), ``saturated`` (a value that is invalid too), ``max_depth_mm``
and ``relative`` (true: brighter is farther, but scale and offset are unknown, so only aligned scores have a meaning).
Relative depth has no mm, so there ``factor`` may stand in place of ``mm_per_unit``: depth is value * ``factor``, in the
unit that ``unit`` names.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.image_files import read_picture, write_picture
from util.errors import UserError
from util.files import write_text

DEPTH_JSON = "depth.json"
DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
MM_PER_UNIT = 1 / 256  # this project's own 16-bit files: 0 to 255.996 mm in steps of 4 micrometres
MAX_UINT16 = 65535
MARKS = ("invalid", "invalid_max", "saturated")  # fields of a depth.json that mark stored values


@dataclass(frozen=True)
class DepthEncoding:
    """How stored values become millimetres; ``bits`` is the width the files must have (None: any)."""

    mm_per_unit: float
    bits: int | None = None
    invalid: float = 0
    invalid_max: float | None = None
    saturated: float | None = None
    relative: bool = False

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Depth [mm], float32, 0 where the stored value marks an invalid pixel."""
        # In float64: 65280 * 200 / 65280 is exact there, and uint16 would overflow.
        depth_mm = stored.astype(np.float64) * self.mm_per_unit
        wrong = (stored == self.invalid) | ~np.isfinite(depth_mm) | (depth_mm < 0)
        if self.invalid_max is not None:
            wrong |= stored <= self.invalid_max
        if self.saturated is not None:
            wrong |= stored == self.saturated
        return np.where(wrong, 0.0, depth_mm).astype(np.float32)


ENCODINGS = {
    "ucl8": DepthEncoding(200 / 255, bits=8),
    "ucl16": DepthEncoding(200 / MAX_UINT16, bits=16),
    "simcol3d": DepthEncoding(200 / (255 * 256), bits=16),
}


def read_depth_mm(path: Path, depth_format: str = "auto") -> np.ndarray:
    """One depth map [mm], float32 (H, W), 0 where invalid.

    Args:
        path: a picture with one channel (or equal ones), or float32 ``.npy`` in mm.
        depth_format: a name of the table above, the path of a ``depth.json``, or ``auto``: the ``depth.json`` beside
            the file, else ``ucl8`` for 8 bits. 16 bits without one are an error, since sets differ there.

    Raises:
        UserError: unreadable, coloured, of the wrong width, or of unknown encoding; says which file and what to do.
    """
    if path.suffix.lower() == ".npy":
        return DepthEncoding(1.0).decode(read_array(path))
    stored = one_channel(path, read_picture(path))
    encoding = find_encoding(path, depth_format, bits=stored.dtype.itemsize * 8)
    return _decode(path, stored, encoding, depth_format)


def decode_picture(path: Path, encoding: DepthEncoding, of: str) -> np.ndarray:
    """One depth map of a known encoding [mm], float32 (H, W), 0 where invalid; ``of`` names the set for messages.

    Raises:
        UserError: unreadable, coloured, or of the wrong width.
    """
    return _decode(path, one_channel(path, read_picture(path)), encoding, of)


def _decode(path: Path, stored: np.ndarray, encoding: DepthEncoding, of: str) -> np.ndarray:
    bits = stored.dtype.itemsize * 8
    if encoding.bits not in (None, bits):
        raise UserError(f"{path} has {bits} bits, but {of} files have {encoding.bits}")
    return encoding.decode(stored)


def find_encoding(path: Path, depth_format: str, bits: int | None = None) -> DepthEncoding:
    """The encoding of the file ``path``, by ``depth_format`` as in ``read_depth_mm``."""
    if depth_format in ENCODINGS:
        return ENCODINGS[depth_format]
    if depth_format != "auto":
        return read_encoding(Path(depth_format))
    beside = path.parent / DEPTH_JSON
    if beside.is_file():
        return read_encoding(beside)
    if path.suffix.lower() == ".npy":
        return DepthEncoding(1.0)
    if bits == 8:
        return ENCODINGS["ucl8"]
    fitting = " or ".join(name for name, known in ENCODINGS.items() if known.bits == bits)
    raise UserError(
        f"{path} has {bits} bits and no {DEPTH_JSON} beside it, so its unit is unknown; say --depth_format {fitting}, "
        f"or write a {DEPTH_JSON} with mm_per_unit"
    )


def read_encoding(path: Path) -> DepthEncoding:
    """The encoding that a ``depth.json`` describes."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        relative = bool(fields.get("relative", False))
        encoding = DepthEncoding(
            mm_per_unit=float(fields["factor" if relative and "factor" in fields else "mm_per_unit"]),
            relative=relative,
            **{name: float(fields[name]) for name in MARKS if fields.get(name) is not None},
        )
    except FileNotFoundError:
        names = ", ".join(ENCODINGS)
        raise UserError(f"--depth_format {path} is neither a known encoding (auto, {names}) nor a file") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not describe depth files ({error!r}); it needs a number mm_per_unit") from None
    if not 0 < encoding.mm_per_unit < math.inf:
        raise UserError(f"{path}: mm_per_unit must be a positive number, got {encoding.mm_per_unit}")
    return encoding


def write_depth(path: Path, depth_mm: np.ndarray, mm_per_unit: float = MM_PER_UNIT) -> None:
    """Write depth [mm] (H, W) as 16-bit PNG, encoded as ``encode_depth`` says."""
    write_picture(path, encode_depth(depth_mm, mm_per_unit))


def encode_depth(depth_mm: np.ndarray, mm_per_unit: float = MM_PER_UNIT) -> np.ndarray:
    """Depth [mm] to uint16 units; what is not finite, not positive or beyond the range becomes 0."""
    with np.errstate(invalid="ignore"):
        units = np.rint(depth_mm / mm_per_unit)
        units = np.where((units > 0) & (units <= MAX_UINT16), units, 0)
    return units.astype(np.uint16)


def write_depth_json(folder: Path, mm_per_unit: float = MM_PER_UNIT, **facts: Any) -> None:
    """Write the ``depth.json`` of a folder of 16-bit depth maps; ``facts`` are kept beside the unit."""
    _write_json(folder, {"unit": "mm", "mm_per_unit": mm_per_unit}, facts)


def write_relative_depth_json(folder: Path, factor: float, unit: str, **facts: Any) -> None:
    """The same for depth without a scale: depth is the stored value times ``factor``, in a ``unit`` given in words."""
    _write_json(folder, {"unit": unit, "relative": True, "factor": factor}, facts)


def _write_json(folder: Path, unit: dict[str, Any], facts: dict[str, Any]) -> None:
    fields = {"encoding": "16-bit grey PNG, depth along the optical axis", **unit, "invalid": 0, **facts}
    write_text(folder / DEPTH_JSON, json.dumps(fields, indent=1) + "\n")


def read_array(path: Path) -> np.ndarray:
    """A float ``.npy`` file, (H, W).

    Raises:
        UserError: it holds something else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is no array of numbers ({error})") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} is an archive of several arrays (.npz); expected one array")
    array = array.squeeze()
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{path} holds {array.dtype} of shape {array.shape}; expected a float (H, W) depth map in mm")
    return array


def one_channel(path: Path, stored: np.ndarray) -> np.ndarray:
    """The pixels of a grey picture, 8 or 16 bits, (H, W), also where they were saved as three equal channels.

    Raises:
        UserError: it has colours, or another type of pixels.
    """
    if stored.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path} holds {stored.dtype} pixels; depth maps have 8 or 16 bits (or are .npy files)")
    if stored.ndim == 2:
        return stored
    colour = stored[..., :3]
    if (colour != colour[..., :1]).any():
        raise UserError(f"{path} is a colour picture, not a depth map (its channels differ); is it the frame itself?")
    return colour[..., 0]
