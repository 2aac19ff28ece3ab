"""Depth and errors as colours that can be read back: fixed ranges, perceptually uniform maps, a colour bar with a unit.

Lightness changes evenly along both maps, so that no edge appears where the data have none (jet, turbo and hsv draw
such edges). The range is always given and never taken from the picture: one colour is one depth in every frame.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

INVALID_COLOR = (128, 128, 128)  # neither map passes near this grey, so that a hole is not taken for something far
PANEL_COLOR = (34, 34, 38)
TEXT_COLOR = (236, 236, 240)
FONT = cv2.FONT_HERSHEY_SIMPLEX
MIN_FONT_SCALE = 0.4  # digits of 8 px: the smallest that OpenCV draws legibly

Colorize = Callable[..., np.ndarray]


def colorize_depth(
    depth_mm: np.ndarray, max_depth_mm: float, min_depth_mm: float = 0.0, valid: np.ndarray | None = None
) -> np.ndarray:
    """Depth as colour: near is bright, far is dark, as under an endoscope's own light (OpenCV's magma).

    Args:
        depth_mm: (H, W) [mm]; depths outside the range get the colour of its nearer end.
        max_depth_mm: depth of the darkest colour [mm].
        min_depth_mm: depth of the brightest colour [mm].
        valid: bool, (H, W), False where ``INVALID_COLOR`` is drawn; by default the finite depths > 0 are valid.

    Returns:
        RGB, uint8, (H, W, 3).

    Raises:
        ValueError: wrong shapes, or a range that is empty.
    """
    nearness = 1.0 - _normalize(depth_mm, min_depth_mm, max_depth_mm)
    valid = np.isfinite(depth_mm) & (depth_mm > 0) if valid is None else valid
    return _apply_map(nearness, valid, cv2.COLORMAP_MAGMA)


def colorize_error(
    error: np.ndarray, max_error: float, min_error: float = 0.0, valid: np.ndarray | None = None
) -> np.ndarray:
    """An error as colour: small is dark violet, large is bright yellow (OpenCV's viridis, so never taken for depth).

    Args:
        error: (H, W), any unit, absolute or relative; errors outside the range get the colour of its nearer end.
        max_error: error of the brightest colour, in the unit of ``error``.
        min_error: error of the darkest colour.
        valid: bool, (H, W), False where ``INVALID_COLOR`` is drawn; by default everything that is finite is valid.

    Returns:
        RGB, uint8, (H, W, 3).

    Raises:
        ValueError: wrong shapes, or a range that is empty.
    """
    size = _normalize(error, min_error, max_error)
    return _apply_map(size, np.isfinite(error) if valid is None else valid, cv2.COLORMAP_VIRIDIS)


def add_color_bar(
    picture: np.ndarray,
    maximum: float,
    minimum: float = 0.0,
    unit: str = "mm",
    colorize: Colorize = colorize_depth,
) -> np.ndarray:
    """Append a colour bar with ticks to the right edge; the picture itself stays as it is.

    Args:
        picture: RGB, uint8, (H, W, 3), H >= 64, coloured by ``colorize`` over the same range.
        maximum: value at the top of the bar.
        minimum: value at the bottom of the bar.
        unit: written behind the topmost number; may be empty.
        colorize: ``colorize_depth`` or ``colorize_error``.

    Returns:
        RGB, uint8, (H, W + width of the bar, 3).

    Raises:
        ValueError: no RGB picture, one of fewer than 64 rows, or an empty range.
    """
    _check_picture(picture)
    if picture.shape[0] < 64:
        raise ValueError(f"a colour bar needs a picture of at least 64 rows, got {picture.shape[0]}")
    return np.concatenate([picture, _color_bar(picture.shape[0], maximum, minimum, unit, colorize)], axis=1)


def sample_colors(colorize: Colorize, count: int = 17) -> np.ndarray:
    """``count`` colours from the lowest to the highest value of a map, RGB, uint8, (count, 3)."""
    ramp = np.linspace(0.0, 1.0, count)[None]
    return colorize(ramp, 1.0, 0.0, valid=np.ones_like(ramp, dtype=bool))[0]


def side_by_side(pictures: Sequence[np.ndarray], captions: Sequence[str], gap: int = 4) -> np.ndarray:
    """One row of pictures with their captions above, for a contact sheet or a video.

    Args:
        pictures: RGB, uint8, (H, W, 3) each. Lower ones are enlarged to the tallest by repeating pixels.
        captions: one a picture; one that is too long for its picture is cut and ends in "..".
        gap: space between the pictures [px].

    Returns:
        RGB, uint8, (caption + H, sum of the widths and gaps, 3).

    Raises:
        ValueError: no pictures, not one caption each, or something that is no RGB picture.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(f"side_by_side needs one caption a picture, got {len(pictures)} and {len(captions)}")
    for picture in pictures:
        _check_picture(picture)
    height = max(picture.shape[0] for picture in pictures)
    columns = [_with_caption(_enlarge(picture, height), text) for picture, text in zip(pictures, captions, strict=True)]
    spacer = _panel(columns[0].shape[0], gap)
    row = [part for column in columns for part in (column, spacer)][:-1]
    return np.concatenate(row, axis=1)


def _normalize(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map [low, high] to [0, 1], clipped; what is not a number becomes 0 (and is masked by the caller)."""
    if np.ndim(values) != 2:
        raise ValueError(f"a map of values must be (H, W), got {np.shape(values)}")
    if not low < high:
        raise ValueError(f"the colour range must have minimum < maximum, got {low} to {high}")
    return np.clip((np.nan_to_num(values.astype(np.float64)) - low) / (high - low), 0.0, 1.0)


def _apply_map(position: np.ndarray, valid: np.ndarray, opencv_map: int) -> np.ndarray:
    """Colours of (H, W) positions in [0, 1]."""
    if valid.shape != position.shape:
        raise ValueError(f"valid must have the shape of the map, got {valid.shape} and {position.shape}")
    index = np.round(position * 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(index, opencv_map), cv2.COLOR_BGR2RGB)
    return np.where(valid[..., None], colors, np.uint8(INVALID_COLOR))


def _check_picture(picture: np.ndarray) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a picture must be RGB, uint8, (H, W, 3), got {picture.dtype} {picture.shape}")


def _color_bar(height: int, maximum: float, minimum: float, unit: str, colorize: Colorize) -> np.ndarray:
    """The bar, its ticks and numbers on a panel of its own, (height, width, 3)."""
    scale = _font_scale(height)
    line = _text_size("0", scale)[1]
    top, bottom = line, height - 1 - line  # rows of the first and the last colour: end labels need half a line
    ticks = _ticks(minimum, maximum, max_count=(bottom - top) // (3 * line))
    labels = _labels(ticks, unit)
    left, right = line, line + max(8, round(1.2 * line))
    text_x = right + max(5, line // 2)
    panel = _panel(height, text_x + max(_text_size(label, scale)[0] for label in labels) + line // 2)

    ramp = np.linspace(maximum, minimum, bottom - top + 1)[:, None].repeat(right - left, axis=1)
    panel[top : bottom + 1, left:right] = colorize(ramp, maximum, minimum, valid=np.ones_like(ramp, dtype=bool))
    for tick, label in zip(ticks, labels, strict=True):
        row = round(bottom - (tick - minimum) / (maximum - minimum) * (bottom - top))
        panel[row, right : right + max(2, line // 4)] = TEXT_COLOR
        _draw_text(panel, label, text_x, row + line // 2, scale)
    return panel


def _ticks(minimum: float, maximum: float, max_count: int) -> np.ndarray:
    """Both ends and the round numbers between them, as many as ``max_count`` steps have room for."""
    rough = (maximum - minimum) / max(max_count, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    inner = np.arange(np.ceil(minimum / step), np.floor(maximum / step) + 1) * step
    apart = (inner - minimum > 0.75 * step) & (maximum - inner > 0.75 * step)
    return np.array([minimum, *inner[apart], maximum])


def _labels(ticks: np.ndarray, unit: str) -> list[str]:
    """Numbers without needless digits; the unit stands at the top."""
    labels = [f"{tick:.4g}" for tick in ticks]
    return [*labels[:-1], f"{labels[-1]} {unit}".rstrip()]


def _font_scale(height: int) -> float:
    return float(np.clip(height / 700, MIN_FONT_SCALE, 2.0))


def _text_size(text: str, scale: float) -> tuple[int, int]:
    """Width and height [px] of a line of text, without what hangs below the base line."""
    return cv2.getTextSize(text, FONT, scale, 1)[0]


def _draw_text(picture: np.ndarray, text: str, x: int, baseline_y: int, scale: float) -> None:
    cv2.putText(picture, text, (x, baseline_y), FONT, scale, TEXT_COLOR, 1, cv2.LINE_AA)


def _panel(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PANEL_COLOR, dtype=np.uint8)


def _enlarge(picture: np.ndarray, height: int) -> np.ndarray:
    """Scale to ``height`` rows without making up new values."""
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)


def _with_caption(picture: np.ndarray, caption: str) -> np.ndarray:
    """The picture under a band that holds the caption."""
    scale = _font_scale(picture.shape[0])
    line = _text_size("0", scale)[1]
    band = _panel(2 * line + 4, picture.shape[1])
    margin = line // 2
    _draw_text(band, _shorten(caption, band.shape[1] - 2 * margin, scale), margin, line + line // 2 + 2, scale)
    return np.concatenate([band, picture], axis=0)


def _shorten(text: str, width: int, scale: float) -> str:
    """The longest beginning of ``text`` that fits ``width`` pixels, with ".." where something was cut."""
    if _text_size(text, scale)[0] <= width:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1) if _text_size(text[:n] + "..", scale)[0] <= width), 0)
    return text[:kept].rstrip() + ".." if kept else ""
