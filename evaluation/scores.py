"""Scores of a split of pairs, beside those of two references that look at nothing or at brightness only."""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from data.pairs_dataset import PairsDataset
from evaluation.predictor import Predictor
from util.errors import UserError
from util.metrics import ALIGNMENTS, METRICS, depth_metrics, summarise
from util.progress import progress_bar
from util.references import brightness_depth, constant_depth, fit_brightness_scale, fit_constant

MAX_REFERENCE_PAIRS = 256  # the two numbers do not change with more
PREDICT_BATCH = 8

Scores = dict[str, dict[str, dict[str, float]]]  # method, alignment, metric


@dataclass(frozen=True)
class References:
    """What the references learned from training pairs: a mean depth, and the k of depth = k / sqrt(intensity) [mm]."""

    constant_mm: float
    brightness_k_mm: float

    @classmethod
    def fit(cls, dataset: PairsDataset) -> "References":
        """From at most ``MAX_REFERENCE_PAIRS`` pairs, evenly spread over the dataset."""
        count = min(len(dataset), MAX_REFERENCE_PAIRS)
        picked = np.linspace(0, len(dataset) - 1, count).astype(int)
        triples = [_triple(*dataset.raw(index)[1:]) for index in picked]
        return cls(fit_constant((depth, valid) for _, depth, valid in triples), fit_brightness_scale(triples))

    def predict(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """Depth [mm] (H, W) of each reference for an RGB frame in [0, 1] (H, W, 3)."""
        image = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None]
        constant, brightness = constant_depth(image, self.constant_mm), brightness_depth(image, self.brightness_k_mm)
        return {"constant": constant[0, 0].numpy(), "brightness": brightness[0, 0].numpy()}


@dataclass
class ScoreBoard:
    """Scores of images, a row an image and method, under each alignment that has a meaning.

    An image whose truth is invalid everywhere has no scores; ``unscored`` names it.
    """

    alignments: Sequence[str] = ALIGNMENTS
    metrics: Sequence[str] = METRICS
    names: list[str] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)

    def add(self, name: str, depths: dict[str, np.ndarray], gt_mm: np.ndarray) -> bool:
        """Score the depth maps [mm] (H, W) of one image, by method, against its truth; False if that has no pixel."""
        if not (gt_mm > 0).any():
            self.unscored.append(name)
            return False
        self.names.append(name)
        for method, depth in depths.items():
            by_alignment = self.rows.setdefault(method, {align: [] for align in self.alignments})
            for align in self.alignments:
                scores = depth_metrics(depth, gt_mm, align=align)
                by_alignment[align].append({metric: scores[metric] for metric in self.metrics})
        return True

    def means(self) -> Scores:
        """Mean over the images, by method, alignment and metric."""
        return {
            method: {align: _means(scores) for align, scores in by_alignment.items()}
            for method, by_alignment in self.rows.items()
        }

    def spread(self, method: str, align: str) -> dict[str, dict[str, Any]]:
        """Mean, standard deviation, minimum and maximum of each metric, and which images have them."""
        return summarise(self.rows[method][align], self.names)

    def of_image(self, index: int, method: str = "ours", align: str | None = None) -> dict[str, float]:
        """The scores of one image."""
        return self.rows[method][align or self.alignments[0]][index]


def find_split(opt: Namespace, phase: str) -> PairsDataset | None:
    """The pairs of a split, None where the data set has no such split."""
    return PairsDataset.from_options(opt, phase) if (opt.dataroot / f"{phase}_A").is_dir() else None


def score_pairs(predictor: Predictor, dataset: PairsDataset, references: References | None, what: str) -> ScoreBoard:
    """Scores over a dataset, each image at the size of its truth; shows progress as ``what``.

    Raises:
        UserError: a file cannot be read, or no truth of the dataset has a valid pixel.
    """
    board = ScoreBoard()
    with progress_bar(len(dataset), what, "images") as bar:
        for samples in batches(map(dataset.raw, range(len(dataset))), PREDICT_BATCH):
            for (name, rgb, gt_mm), depth in zip(samples, predictor([rgb for _, rgb, _ in samples]), strict=True):
                board.add(name, by_method(depth, rgb, references), gt_mm)
            bar.update(len(samples))
    if not board.names:
        raise UserError(f"no depth map of {dataset.pairs[0][1].parent} has a valid pixel, so nothing can be scored")
    return board


def by_method(depth: np.ndarray, rgb: np.ndarray, references: References | None) -> dict[str, np.ndarray]:
    """Depth maps of one frame: the method's, called ``ours``, and those of the references."""
    return {"ours": depth} | (references.predict(rgb) if references else {})


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of ``size``, the last one shorter."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _means(scores: list[dict[str, float]]) -> dict[str, float]:
    return {metric: float(np.mean([score[metric] for score in scores])) for metric in scores[0]}


def _triple(rgb: np.ndarray, depth_mm: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
    depth = torch.from_numpy(depth_mm)[None, None]
    return image, depth, depth > 0
