"""The frames of a test, each with what is known of it, and where they come from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np


class PairFlow(NamedTuple):
    """Flow from a frame to the next [px], (2, H, W), and where both see the point, bool (H, W)."""

    flow: np.ndarray
    mask: np.ndarray


class SparseTruth(NamedTuple):
    """What structure from motion knows of a frame, in the unit of its clip, which is not mm."""

    pixels: np.ndarray  # row and column of each point's rounded projection, int64 (N, 2), one point a pixel
    depth: np.ndarray  # along the optical axis, (N,)
    pose: np.ndarray  # world_from_cam, (4, 4)
    mask: np.ndarray  # bool (H, W), inside the lens circle
    view: int  # place among the registered views of the clip


@dataclass(frozen=True)
class Frame:
    """One frame to predict."""

    name: str
    rgb: np.ndarray  # (H, W, 3) in [0, 1]
    gt_mm: np.ndarray | None = None  # (H, W), 0 where invalid
    clip: str | None = None  # neighbours with the same clip follow each other
    flow_to_next: PairFlow | None = None  # the true one, where it is known
    pose: np.ndarray | None = None  # world_from_cam [mm], (4, 4), where it is known
    K: np.ndarray | None = None  # of the frame's size [px], (3, 3), where it is needed and known
    sparse: SparseTruth | None = None  # of a frame whose clip has SfM


@dataclass
class Source:
    """Frames in order. ``what`` names the results; ``count`` is None for a video that does not say its length."""

    what: str
    frames: Callable[[], Iterator[Frame]]
    count: int | None
    folder: Path  # of the frames; the camera's intrinsics.json may be there
    relative: bool = False  # the truth has no unit: only aligned scores mean something
    fps: float | None = None  # of a video
    facts: dict[str, str] = field(default_factory=dict)
