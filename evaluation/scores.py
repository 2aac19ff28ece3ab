"""Scores of a split of pairs, beside those of two references that look at nothing or at brightness only."""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data.bad_samples import read_or_next
from data.formats import open_format
from data.pairs_dataset import PairsDataset
from evaluation.predictor import Predictor
from util.errors import UserError
from util.metrics import ALIGNMENTS, METRICS, depth_metrics, summarise
from util.progress import progress_bar
from util.references import brightness_depth, constant_depth, fit_brightness_scale, fit_constant

MAX_REFERENCE_PAIRS = 256  # the two numbers do not change with more
PREDICT_BATCH = 8

Scores = dict[str, dict[str, dict[str, float]]]  # method, alignment, metric
Gather = Callable[[Any], list[Any]]  # an object of each process -> those of all, in the order of their ranks


@dataclass(frozen=True)
class References:
    """What the references learned from training pairs: a mean depth, and the k of depth = k / sqrt(intensity) [mm]."""

    constant_mm: float
    brightness_k_mm: float

    @classmethod
    def fit(cls, dataset: PairsDataset, skip_bad: bool = False) -> "References":
        """From at most ``MAX_REFERENCE_PAIRS`` pairs, evenly spread over the dataset.

        Args:
            dataset: training pairs.
            skip_bad: take the next pair in place of one that cannot be read, as the training does.

        Raises:
            UserError, OSError: a file cannot be read, or no pixel is valid.
        """
        count = min(len(dataset), MAX_REFERENCE_PAIRS)
        picked = np.linspace(0, len(dataset) - 1, count).astype(int).tolist()
        pairs = (read_or_next(dataset.raw, dataset, index)[1] if skip_bad else dataset.raw(index) for index in picked)
        triples = [_triple(rgb, depth_mm) for _, rgb, depth_mm in pairs]
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
        scores = self.score(depths, gt_mm)
        self.enter(name, scores)
        return scores is not None

    def score(self, depths: dict[str, np.ndarray], gt_mm: np.ndarray) -> Scores | None:
        """The scores of one image, not entered yet; None if its truth has no pixel."""
        if not (gt_mm > 0).any():
            return None
        return {
            method: {align: self._metrics(depth, gt_mm, align) for align in self.alignments}
            for method, depth in depths.items()
        }

    def enter(self, name: str, scores: Scores | None) -> None:
        """Add the rows of one image, as ``score`` gives them."""
        (self.unscored if scores is None else self.names).append(name)
        for method, by_alignment in (scores or {}).items():
            rows = self.rows.setdefault(method, {align: [] for align in self.alignments})
            for align, row in by_alignment.items():
                rows[align].append(row)

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

    def _metrics(self, depth: np.ndarray, gt_mm: np.ndarray, align: str) -> dict[str, float]:
        scores = depth_metrics(depth, gt_mm, align=align)
        return {metric: scores[metric] for metric in self.metrics}


def find_split(opt: Namespace, phase: str) -> PairsDataset | None:
    """The pairs of a split, None where the data set has no such split."""
    return PairsDataset.from_options(opt, phase) if phase in open_format(opt).phases() else None


def score_pairs(
    predictor: Predictor,
    dataset: PairsDataset,
    references: References | None,
    what: str,
    rank: int = 0,
    world: int = 1,
    gather: Gather | None = None,
) -> ScoreBoard:
    """Scores over a dataset, each image at the size of its truth; shows progress as ``what``.

    Args:
        predictor: gives the depth.
        dataset: is scored.
        references: are scored beside it.
        what: what is being done, for the bar, which the first process shows.
        rank, world: which process this is, of how many; each scores every ``world``-th image.
        gather: brings an object of each process to all of them, in the order of the ranks; needed with several.

    Returns:
        The same in every process: each image once, in the dataset's order.

    Raises:
        UserError, OSError: a file cannot be read (by any process), or no truth of the dataset has a valid pixel.
    """
    if world > 1 and gather is None:
        raise ValueError(f"the scores of {world} processes must be gathered")
    board = ScoreBoard()
    mine = range(rank, len(dataset), world)
    with progress_bar(len(mine), what, "images") if rank == 0 else tqdm(disable=True) as bar:
        share = _or_fault(lambda: _score_share(board, predictor, dataset, references, mine, bar))
    shares = gather(share) if gather else [share]
    for fault in shares:
        if isinstance(fault, Exception):
            raise fault
    for index in range(len(dataset)):
        board.enter(*shares[index % world][index // world])
    if not board.names:
        raise UserError(f"no depth map of {dataset.items[0].depth.parent} has a valid pixel, so nothing can be scored")
    return board


def _score_share(
    board: ScoreBoard,
    predictor: Predictor,
    dataset: PairsDataset,
    references: References | None,
    indices: Sequence[int],
    bar: tqdm,
) -> list[tuple[str, Scores | None]]:
    """Names and scores of the images ``indices``."""
    share = []
    for samples in batches(map(dataset.raw, indices), PREDICT_BATCH):
        for (name, rgb, gt_mm), depth in zip(samples, predictor([rgb for _, rgb, _ in samples]), strict=True):
            share.append((name, board.score(by_method(depth, rgb, references), gt_mm)))
        bar.update(len(samples))
    return share


def _or_fault(work: Callable[[], Any]) -> Any:
    """Its result, or the user's mistake it met: raised before all gather, it would leave the others waiting."""
    try:
        return work()
    except (UserError, OSError) as fault:
        return fault


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
