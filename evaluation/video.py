"""Scores of the clips of a split: consistency over time and, where the truth is known, depth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.clip_truth import ClipTruth
from data.clips import Clip, find_clips
from evaluation.predictor import Predictor
from evaluation.scores import PREDICT_BATCH, References, ScoreBoard, batches
from evaluation.temporal import FlowOfPair, PairFlow, estimate_pair, mean_scores, score_clip
from models.geometry.flow import FlowEstimator
from util.progress import progress_bar


@dataclass(frozen=True)
class VideoScores:
    """Temporal scores of the method and of the truth, and depth scores where there is a truth."""

    temporal: dict[str, float]
    temporal_of_truth: dict[str, float] | None
    depth: ScoreBoard
    flow: str  # where the flow came from


def score_video(
    predictor: Predictor,
    dataroot: Path,
    split: str,
    references: References | None,
    build_estimator: Callable[[], FlowEstimator],
) -> VideoScores:
    """Score all clips of ``dataroot/split``.

    True flow is used where the set has it; only where it lacks it an estimator is built, which may need a download.

    Raises:
        FileNotFoundError: there are no clips.
        UserError: a clip cannot be read.
    """
    clips = find_clips(dataroot / split)
    board = ScoreBoard()
    ours: list[dict[str, float]] = []
    of_truth: list[dict[str, float]] = []
    truths = [ClipTruth(dataroot, split, clip) for clip in clips]
    estimator = None if all(truth.exists() for truth in truths) else build_estimator()
    with progress_bar(sum(map(len, clips)), f"scores on {split}", "frames") as bar:
        for clip, truth in zip(clips, truths, strict=True):
            depths = [depth for batch in batches(clip_frames(clip), PREDICT_BATCH) for depth in predictor(batch)]
            flow_of = clip_flow(clip, truth, estimator, predictor.device)
            _collect(ours, score_clip(depths, flow_of))
            if truth.exists():
                gts = [truth.depth_mm(index) for index in range(len(clip))]
                _collect(of_truth, score_clip(gts, flow_of))
                _add_depth(board, clip, depths, gts, references)
            bar.update(len(clip))
    return VideoScores(mean_scores(ours) or {}, mean_scores(of_truth), board, estimator.name if estimator else "truth")


def clip_frames(clip: Clip) -> Iterator[np.ndarray]:
    """One frame after the other, RGB in [0, 1] (H, W, 3): a whole film would not fit into memory."""
    return (clip.read(index, 1)[0] for index in range(len(clip)))


def clip_flow(clip: Clip, truth: ClipTruth, estimator: FlowEstimator | None, device: torch.device) -> FlowOfPair:
    """The true flow of a clip, or the estimated one."""
    if truth.exists():
        return lambda index: PairFlow(*truth.flow_fwd(index))
    return lambda index: estimate_pair(*clip.read(index, 2), estimator, device)


def _collect(scores: list[dict[str, float]], score: dict[str, float] | None) -> None:
    if score is not None:
        scores.append(score)


def _add_depth(
    board: ScoreBoard,
    clip: Clip,
    depths: list[np.ndarray],
    gts: list[np.ndarray],
    references: References | None,
) -> None:
    for index, (frame, depth, gt_mm) in enumerate(zip(clip_frames(clip), depths, gts, strict=True)):
        by_method = {"ours": depth} | (references.predict(frame) if references else {})
        board.add(f"{clip.name}/{clip.files[index].stem}", by_method, gt_mm)
