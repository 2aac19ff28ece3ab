"""Scores of a split of pairs, beside those of two references that look at nothing or at brightness only."""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data.bad_samples import read_or_next
from data.formats import open_format
from data.pairs_dataset import PairsDataset
from evaluation.predictor import Predictor
from evaluation.region import EvalRegion
from util.errors import UserError
from util.metrics import ALIGNMENTS, METRICS, align_depth, depth_metrics, summarise
from util.progress import progress_bar
from util.references import brightness_depth, constant_depth, fit_brightness_scale, fit_constant

MAX_REFERENCE_PAIRS = 256  # the two numbers do not change with more
PREDICT_BATCH = 8
SCALE_FREE_ALIGNMENTS = ("median", "scale_shift")  # of a method whose depth has one unknown scale
# A truth of unknown scale and offset can be compared in no other way, and has no mm.
RELATIVE_ALIGNMENTS = ("scale_shift",)
RELATIVE_METRICS = ("abs_rel", "rmse_log", "log10", "delta1", "delta2", "delta3")
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


def references_for(metric: bool, fitted: Mapping[str, float] | None) -> References | None:
    """The references beside a method: fitted on its training pairs, if it has any.

    Beside a method without a scale they need no fit, since theirs falls out by the alignment too.
    """
    if not metric:
        return References(1.0, 1.0)
    return References(**fitted) if fitted else None


@dataclass
class ScoreBoard:
    """Scores of images, a row an image and method, under each alignment that has a meaning.

    An image without a pixel that is judged has no scores; ``unscored`` names it.
    """

    alignments: Sequence[str] = ALIGNMENTS
    metrics: Sequence[str] = METRICS
    region: EvalRegion = EvalRegion()
    names: list[str] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)

    @classmethod
    def judging(cls, metric: bool, relative_truth: bool = False, region: EvalRegion | None = None) -> "ScoreBoard":
        """A board with the alignments that have a meaning, the first being the main one.

        Args:
            metric: whether the method's depth is in mm, or has one unknown scale.
            relative_truth: whether the truth has neither unit nor zero.
            region: what is judged.
        """
        if relative_truth:
            return cls(RELATIVE_ALIGNMENTS, RELATIVE_METRICS, region or EvalRegion())
        return cls(ALIGNMENTS if metric else SCALE_FREE_ALIGNMENTS, METRICS, region or EvalRegion())

    def add(
        self, name: str, depths: Mapping[str, np.ndarray], gt_mm: np.ndarray, part: np.ndarray | None = None
    ) -> bool:
        """Score the depth maps (H, W) of one image, by method, against its truth; False if no pixel is judged."""
        scores = self.score(depths, gt_mm, part)
        self.enter(name, scores)
        return scores is not None

    def score(
        self, depths: Mapping[str, np.ndarray], gt_mm: np.ndarray, part: np.ndarray | None = None
    ) -> Scores | None:
        """The scores of one image, not entered yet; None if no pixel is judged.

        Args:
            depths: [mm], or in the method's unit, (H, W), by method.
            gt_mm: (H, W), 0 where invalid.
            part: bool, (H, W), the only pixels that are judged; the alignment is that of the whole image all the same.
        """
        valid = self.region.valid(gt_mm)
        judged = valid if part is None else valid & part
        if not judged.any():
            return None
        # Only the pixels that decide the alignment, (1, N); in float64, since aligned depth has the type it came in.
        gt, among = gt_mm[valid][None], judged[valid][None]
        preds = {method: depth[valid][None].astype(np.float64) for method, depth in depths.items()}
        return {
            method: {align: self._metrics(pred, gt, among, align) for align in self.alignments}
            for method, pred in preds.items()
        }

    def align(self, depth: np.ndarray, gt_mm: np.ndarray, align: str) -> np.ndarray:
        """A depth map (H, W) as it is judged: aligned by the pixels of the region, then clamped to its range."""
        return self.region.clamp(align_depth(depth, gt_mm, self.region.valid(gt_mm), align))

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

    def _metrics(self, pred: np.ndarray, gt: np.ndarray, among: np.ndarray, align: str) -> dict[str, float]:
        """Aligned over all pixels given, scored over ``among``; (1, N) each."""
        scores = depth_metrics(self.region.clamp(align_depth(pred, gt, None, align)), gt, among)
        return {metric: scores[metric] for metric in self.metrics}


def find_split(opt: Namespace, phase: str) -> PairsDataset | None:
    """The pairs of a split, None where there is no data set or it has no such split."""
    there = opt.dataroot.is_dir() and phase in open_format(opt).phases()
    return PairsDataset.from_options(opt, phase) if there else None


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
        The same in every process: each image once, in the dataset's order. The first of its ``alignments`` is ``none``
        where depth is in mm, and ``median`` for a method without a scale.

    Raises:
        UserError, OSError: a file cannot be read (by any process), or no truth of the dataset has a valid pixel.
    """
    if world > 1 and gather is None:
        raise ValueError(f"the scores of {world} processes must be gathered")
    board = ScoreBoard.judging(predictor.metric, dataset.source.relative(dataset.items[0]))
    mine = range(rank, len(dataset), world)
    with progress_bar(len(mine), what, "images") if rank == 0 else tqdm(disable=True) as bar:
        shares = gathered(lambda: _score_share(board, predictor, dataset, references, mine, bar), gather)
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


def gathered(work: Callable[[], Any], gather: Gather | None) -> list[Any]:
    """What each process has made of its work, in the order of their ranks.

    A user's mistake that one of them meets is raised in all: raised before they gather, it would leave the others
    waiting.
    """
    try:
        share = work()
    except (UserError, OSError) as fault:
        share = fault
    shares = gather(share) if gather else [share]
    for fault in shares:
        if isinstance(fault, Exception):
            raise fault
    return shares


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
