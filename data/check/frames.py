"""Frames with depth: what is measured of one, and what is wrong with it or with a split of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data.check.findings import HISTOGRAM_EDGES_MM, WARNING, Finding, Summary
from data.formats import DataFormat, Item
from util.errors import UserError
from util.intrinsics import Intrinsics

MIN_LEVELS = 32  # distinct depth values of a frame; fewer is a picture of depth, or depth in too coarse a unit
MAX_INVALID = 0.5  # share of a split's pixels
# Endoscopes look at what is millimetres to some centimetres away.
MIN_MEDIAN_MM, MAX_MEDIAN_MM = 2.0, 250.0
FINGERPRINT_SIDE = 16
MAX_ASPECT_ERROR = 0.01
FOCAL_RANGE = (0.2, 5.0)  # of the picture's width
CENTRE_RANGE = (0.25, 0.75)  # of the picture's sides


@dataclass(frozen=True)
class FrameFacts:
    """What is measured of a frame with its depth.

    Args:
        depth_mm: smallest, median and largest valid depth; None when there is none.
        levels: number of distinct valid depths.
        fingerprint: 256 bits of the picture that stay when it is resized or compressed.
    """

    item: Item
    size: tuple[int, int]
    depth_mm: tuple[float, float, float] | None
    invalid: float
    levels: int
    histogram: np.ndarray
    fingerprint: np.ndarray


def measure(source: DataFormat, item: Item) -> FrameFacts | Finding:
    """Read a frame and its depth; a finding when they cannot be read or do not fit together."""
    try:
        rgb, depth_mm = source.read_frame(item.image), source.read_depth_mm(item)
    except (UserError, OSError) as error:
        return Finding("unreadable", "", str(error)) if _names(error, item) else _unreadable(item, error)
    if rgb.shape[:2] != depth_mm.shape:
        sizes = ["x".join(map(str, array.shape[:2])) for array in (depth_mm, rgb)]
        return Finding(
            "size", str(item.depth), f"is {sizes[0]} pixels, its frame {sizes[1]}", "render or copy it again"
        )
    valid = depth_mm[depth_mm > 0]
    return FrameFacts(
        item,
        rgb.shape[:2],
        (float(valid.min()), float(np.median(valid)), float(valid.max())) if valid.size else None,
        1 - valid.size / depth_mm.size,
        np.unique(valid).size,
        np.histogram(valid, HISTOGRAM_EDGES_MM)[0],
        fingerprint(rgb),
    )


def fingerprint(rgb: np.ndarray) -> np.ndarray:
    """Which of two neighbouring pixels is the brighter one, in a picture of 16 x 17: uint8 (32,)."""
    small = cv2.resize(rgb.mean(axis=2), (FINGERPRINT_SIDE + 1, FINGERPRINT_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1])


def faults_of_a_frame(facts: FrameFacts, source: DataFormat) -> Iterator[Finding]:
    """What is wrong with one frame by itself."""
    depth = str(facts.item.depth)
    if facts.depth_mm is None:
        yield Finding("no depth", depth, "has no valid pixel", "leave this frame out")
        return
    if facts.levels < MIN_LEVELS:
        yield Finding(
            "few depths",
            depth,
            f"has {facts.levels} distinct depths, fewer than {MIN_LEVELS}",
            "it may be a mask, a preview, or a depth map that was saved with too few bits",
            WARNING,
        )
    if source.full_scale_mm is not None and facts.depth_mm[2] > source.full_scale_mm * (1 + 1e-6):
        yield Finding(
            "too deep",
            depth,
            f"reaches {facts.depth_mm[2]:.1f} mm, beyond the {source.full_scale_mm:g} mm of this data set",
            "check --dataset and --depth_format",
        )


def faults_of_a_split(name: str, frames: Sequence[FrameFacts], source: DataFormat) -> Iterator[Finding]:
    """What shows only in many frames together."""
    yield from _unlikely_depths(name, frames, source)
    sizes: dict[str, dict[tuple[int, int], Item]] = {}
    for facts in frames:
        sizes.setdefault(facts.item.sequence, {}).setdefault(facts.size, facts.item)
    for sequence, found in sizes.items():
        if len(found) > 1:
            listed = ", ".join(f"{h}x{w} ({item.image.name})" for (h, w), item in found.items())
            place = f"the sequence {sequence} of {name}" if sequence else f"the split {name}"
            yield Finding("sizes", place, f"has frames of several sizes: {listed}", "resize them or split it", WARNING)
    for item, size in {facts.item.sequence: (facts.item, facts.size) for facts in reversed(frames)}.values():
        yield from faults_of_a_camera(str(item.image), source, item, size)


def _unlikely_depths(name: str, frames: Sequence[FrameFacts], source: DataFormat) -> Iterator[Finding]:
    medians = [facts.depth_mm[1] for facts in frames if facts.depth_mm is not None]
    if not medians or source.relative(frames[0].item):
        return
    middle = float(np.median(medians))
    if not MIN_MEDIAN_MM <= middle <= MAX_MEDIAN_MM:
        yield Finding(
            "unlikely depth",
            f"the split {name}",
            f"has a median depth of {middle:.4g} mm, which no endoscope sees",
            f"{_likely_unit(middle)}; say --depth_format, or mm_per_unit in a depth.json beside the depth maps",
        )
    invalid = float(np.mean([facts.invalid for facts in frames]))
    if invalid > MAX_INVALID:
        yield Finding(
            "invalid", f"the split {name}", f"has no depth in {invalid:.0%} of its pixels", "is that meant so?", WARNING
        )


def _likely_unit(median_mm: float) -> str:
    if median_mm < MIN_MEDIAN_MM:
        return "these are probably metres (1000 mm a unit)" if median_mm < 0.2 else "these are probably centimetres"
    return "these are probably micrometres, or raw values that were never scaled"


def faults_of_a_camera(place: str, source: DataFormat, item: Item, size: tuple[int, int]) -> Iterator[Finding]:
    """Whether the camera of a frame of ``size`` (H, W) can be its camera."""
    try:
        camera = source.camera(item, size)
    except (UserError, OSError) as error:
        yield Finding("camera", "", str(error))
        return
    if camera is not None:
        yield from misfits_of(camera, place, size)


def misfits_of(camera: Intrinsics, place: str, size: tuple[int, int]) -> Iterator[Finding]:
    """A camera against the size (H, W) of its pictures."""
    (height, width), (K, (camera_height, camera_width)) = size, camera
    fix = "scale the camera with the picture, or take that of this endoscope"
    if abs(camera_width / camera_height * height / width - 1) > MAX_ASPECT_ERROR:
        what = f"is {height}x{width} pixels, but its camera is of a picture of {camera_height}x{camera_width}"
        yield Finding("camera", place, f"{what}, of another shape", fix)
    for name, value, side in (("cx", K[0, 2], camera_width), ("cy", K[1, 2], camera_height)):
        if not CENTRE_RANGE[0] * side <= value <= CENTRE_RANGE[1] * side:
            yield Finding("camera", place, f"has a camera with {name} {value:.1f} in a picture of {side} pixels", fix)
    for name, value in (("fx", K[0, 0]), ("fy", K[1, 1])):
        if not FOCAL_RANGE[0] * camera_width <= value <= FOCAL_RANGE[1] * camera_width:
            what = f"has a camera with {name} {value:.1f} px in a picture {camera_width} px wide"
            yield Finding("camera", place, what, fix)


def summarise(name: str, frames: Sequence[FrameFacts], count: int) -> Summary:
    """The line of a split."""
    summary = Summary(name, count=count, sequences=len({facts.item.sequence for facts in frames}))
    for facts in frames:
        summary.add_size(facts.size)
    if frames:
        summary.invalid = float(np.mean([facts.invalid for facts in frames]))
        summary.histogram = np.sum([facts.histogram for facts in frames], axis=0).tolist()
    depths = np.array([facts.depth_mm for facts in frames if facts.depth_mm is not None])
    if depths.size:
        summary.depth_mm = float(depths[:, 0].min()), float(np.median(depths[:, 1])), float(depths[:, 2].max())
    return summary


def _names(error: Exception, item: Item) -> bool:
    return any(str(file) in str(error) for file in item.files)


def _unreadable(item: Item, error: Exception) -> Finding:
    return Finding("unreadable", str(item.image), f"cannot be read ({error})")
