"""Whether depth keeps one scale through a sequence: the scale of each frame, and scores under one for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from evaluation.frame import Frame
from evaluation.region import EvalRegion
from util.metrics import METRICS, MIN_DEPTH_MM, depth_metrics

Depths = Mapping[str, np.ndarray]
Means = dict[str, dict[str, float]]  # method, metric


@dataclass
class ScaledFrames:
    """Scales and scores of frames, by method."""

    scales: dict[str, list[float]] = field(default_factory=dict)
    scores: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(self, other: "ScaledFrames") -> None:
        for mine, others in ((self.scales, other.scales), (self.scores, other.scores)):
            for method, values in others.items():
                mine.setdefault(method, []).extend(values)

    def spread(self) -> Means:
        """``scale_mean``, ``scale_std`` [mm / unit of depth] and ``scale_spread`` = std / mean, by method."""
        return {method: scale_spread(np.array(scales)) for method, scales in self.scales.items()}

    def means(self) -> Means:
        """Mean of each depth metric over the frames, by method."""
        return {
            method: {metric: float(np.mean([score[metric] for score in scores])) for metric in METRICS}
            for method, scores in self.scores.items()
        }


class SequenceScaleBoard:
    """Scores clips under one scale each, the median of their frames' scales.

        scale of a frame = median(gt) / median(pred)    over the pixels that are judged

    A clip is known when its last frame has come, and would not fit into memory until then: its judged pixels wait in a
    temporary file. Frames without truth or clip are left out.

    Args:
        region: what is judged.
        folder: where the temporary file is; None is the system's place for such files.
    """

    def __init__(self, region: EvalRegion | None = None, folder: Path | None = None) -> None:
        self.clips: dict[str, ScaledFrames] = {}
        self.region, self._folder = region or EvalRegion(), folder
        self._clip: str | None = None
        self._scales: list[dict[str, float]] = []
        self._spool: IO[bytes] | None = None

    def add(self, frame: Frame, depths: Depths) -> None:
        """Take the depth maps (H, W) of a frame, by method; those of a clip must follow each other."""
        if frame.clip != self._clip:
            self.finish()
        if frame.clip is None or frame.gt_mm is None:
            return
        valid = self.region.valid(frame.gt_mm)
        if not valid.any():
            return
        gt_mm, preds = frame.gt_mm[valid], {method: depth[valid] for method, depth in depths.items()}
        self._clip = frame.clip
        self._spool = self._spool or TemporaryFile(dir=self._folder)  # noqa: SIM115 - ``finish`` closes it
        for pixels in (gt_mm, *preds.values()):
            np.save(self._spool, pixels)
        self._scales.append({method: median_scale(pred, gt_mm) for method, pred in preds.items()})

    def finish(self) -> None:
        """Score the clip whose frames have come; to be called after the last frame."""
        if self._spool is not None and self._clip is not None:
            self.clips.setdefault(self._clip, ScaledFrames()).add(self._score_clip(self._spool))
            self._spool.close()
        self._clip, self._scales, self._spool = None, [], None

    def all(self) -> ScaledFrames:
        """The frames of all clips, each counting alike."""
        whole = ScaledFrames()
        for frames in self.clips.values():
            whole.add(frames)
        return whole

    def spread(self) -> Means:
        """``spread`` of all frames, and ``scale_spread_clip``, the mean over the clips of their own, by method."""
        of_clips = [frames.spread() for frames in self.clips.values()]
        return {
            method: row | {"scale_spread_clip": float(np.mean([clip[method]["scale_spread"] for clip in of_clips]))}
            for method, row in self.all().spread().items()
        }

    def _score_clip(self, spool: IO[bytes]) -> ScaledFrames:
        methods = list(self._scales[0])
        scales = {method: [frame[method] for frame in self._scales] for method in methods}
        scores: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
        spool.seek(0)
        for _ in self._scales:
            gt_mm = np.load(spool)[None]  # (1, N)
            for method in methods:
                scaled = np.load(spool)[None].astype(np.float64) * np.median(scales[method])
                scores[method].append(depth_metrics(self.region.clamp(scaled), gt_mm))
        return ScaledFrames(scales, scores)


def median_scale(pred: np.ndarray, gt_mm: np.ndarray) -> float:
    """median(gt) / median(pred) of the judged pixels (N,) [mm / unit of pred], as ``median`` alignment has it."""
    return float(np.median(gt_mm.astype(np.float64)) / max(np.median(pred.astype(np.float64)), MIN_DEPTH_MM))


def scale_spread(scales: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation (of the population) and their ratio for the frames' scales (N,)."""
    mean, std = float(scales.mean()), float(scales.std())
    return {"scale_mean": mean, "scale_std": std, "scale_spread": std / mean}
