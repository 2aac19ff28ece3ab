"""Pseudo-depth of clips: what a single-image network says of each frame, made once and read while training.

``<folder>/<clip>/<frame's stem>.png`` (8 or 16 bits, grey) or ``.npy`` (float, (H, W)): depth or inverse depth of each
frame, in a scale of its own, 0 where unknown. ``<folder>/pseudo_depth.json`` may say which of the two it is.

``python -m data.pseudo_depth`` makes such a folder with any depth network of this framework.
"""

from data.pseudo_depth.files import (
    PSEUDO_DEPTH_JSON,
    PseudoDepth,
    add_options,
    default_folder,
    frame_stem,
    write_pseudo_depth,
    write_pseudo_depth_json,
)

__all__ = [
    "PSEUDO_DEPTH_JSON",
    "PseudoDepth",
    "add_options",
    "default_folder",
    "frame_stem",
    "write_pseudo_depth",
    "write_pseudo_depth_json",
]
