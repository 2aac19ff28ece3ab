"""Which points a view is said to see: those it was used to triangulate, or also those of the views around it."""

from typing import Literal

import numpy as np

from data.sfm.clip import SfmClip

Interval = Literal["closed", "half_open"]


def visible_points(clip: SfmClip, overlap: int = 0, interval: Interval = "closed") -> list[np.ndarray]:
    """Numbers of the points of each view, ascending.

    ``closed``: point i counts in view a when its track has a view in [a - overlap, a + overlap]; 0 leaves the raw
    tracks, the paper's b_ij. ``half_open`` is as published, [a - overlap, a + overlap), which is empty for 0. More
    overlap gives more points a frame and a steadier scale, but also points that are hidden there.
    Source: Liu et al., CARE 2018, Eq. 1; the interval is that of the authors' code of 2022.

    Args:
        clip: has the tracks.
        overlap: counted in registered views, not in frame numbers.
        interval: whether the upper end belongs to it.

    Raises:
        ValueError: ``overlap`` is negative.
    """
    if overlap < 0:
        raise ValueError(f"overlap must not be negative, got {overlap}")
    views = np.arange(len(clip))
    last = views + overlap - (interval == "half_open")
    begins = np.searchsorted(clip.observations[:, 0], views - overlap, side="left")
    ends = np.searchsorted(clip.observations[:, 0], last, side="right")
    return [np.unique(clip.observations[begin:end, 1]) for begin, end in zip(begins, ends, strict=True)]
