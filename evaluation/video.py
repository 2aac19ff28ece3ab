"""Scores of clips: consistency over time and, where the truth is known, depth, its scale and the camera's path."""

from collections.abc import Callable

from evaluation.boards import Boards
from evaluation.predictor import Predictor
from evaluation.scores import PREDICT_BATCH, References, batches
from evaluation.sources import Source
from models.geometry.flow import FlowEstimator
from util.progress import progress_bar


def score_video(
    predictor: Predictor, source: Source, references: References | None, build_estimator: Callable[[], FlowEstimator]
) -> Boards:
    """Score the clips of ``source``; true flow is used where the set has it.

    Raises:
        UserError: a frame cannot be read.
    """
    boards = Boards(predictor, references, build_estimator)
    with progress_bar(source.count, f"scores on {source.what}", "frames") as bar:
        for frames in batches(source.frames(), PREDICT_BATCH):
            for frame, depth in zip(frames, predictor([frame.rgb for frame in frames]), strict=True):
                boards.add(frame, depth)
            bar.update(len(frames))
    boards.finish()
    return boards
