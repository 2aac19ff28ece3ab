"""One frame of a test, with what is known of it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class PairFlow(NamedTuple):
    """Flow from a frame to the next [px], (2, H, W), and where both see the point, bool (H, W)."""

    flow: np.ndarray
    mask: np.ndarray


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
