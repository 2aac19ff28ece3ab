"""Scores of clips: consistency over time and, where the truth is known, depth."""

from collections.abc import Callable
from dataclasses import dataclass

from evaluation.predictor import Predictor
from evaluation.scores import PREDICT_BATCH, References, ScoreBoard, batches, by_method
from evaluation.sources import Source
from evaluation.temporal import TemporalBoard
from models.geometry.flow import FlowEstimator
from util.progress import progress_bar


@dataclass(frozen=True)
class VideoScores:
    """Consistency of the method, the references and the truth, and depth scores where there is a truth."""

    temporal: TemporalBoard
    depth: ScoreBoard


def score_video(
    predictor: Predictor, source: Source, references: References | None, build_estimator: Callable[[], FlowEstimator]
) -> VideoScores:
    """Score the clips of ``source``; true flow is used where the set has it.

    Raises:
        UserError: a frame cannot be read.
    """
    scores = VideoScores(TemporalBoard(build_estimator, predictor.device), ScoreBoard())
    with progress_bar(source.count, f"scores on {source.what}", "frames") as bar:
        for frames in batches(source.frames(), PREDICT_BATCH):
            for frame, depth in zip(frames, predictor([frame.rgb for frame in frames]), strict=True):
                depths = by_method(depth, frame.rgb, references)
                truth = {} if frame.gt_mm is None else {"truth": frame.gt_mm}
                scores.temporal.add(frame, depths | truth)
                if frame.gt_mm is not None:
                    scores.depth.add(frame.name, depths, frame.gt_mm)
            bar.update(len(frames))
    return scores
