"""What a training is judged by while it runs: depth of the eval split, or the losses on clips that are held out."""

from argparse import Namespace
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import default_collate
from tqdm import tqdm

from data.clips_dataset import CLIPS, ClipsDataset
from data.loading import require_one_size
from data.pairs_dataset import PairsDataset
from data.sfm_pairs_dataset import SfmPairsDataset, has_split
from evaluation.predictor import Predictor
from evaluation.scores import find_split, gathered, score_pairs
from models.base_model import BaseModel
from util.engine import Engine
from util.errors import UserError
from util.progress import progress_bar

EVAL = "eval"  # the phase
GUIDES = ("pseudo_depth",)  # what a training is guided by and never judged by
MAX_BATCHES = 200  # of video, spread over it; as published for SC-Depth

HeldOut = PairsDataset | ClipsDataset | SfmPairsDataset


class HeldOutScores(NamedTuple):
    """Scores by name, and the one of which the lowest is the best."""

    scores: dict[str, float]
    ranked_by: str


def find_held_out(opt: Namespace, method: BaseModel) -> HeldOut | None:
    """What the method of a training is judged by; None where the data set has nothing for it.

    Raises:
        UserError, FileNotFoundError: video is asked for, but there is none.
    """
    if method.validates_by(opt) == "depth":
        return find_split(opt, EVAL)
    if "sfm" in opt.streams:
        return SfmPairsDataset.from_options(opt, EVAL) if has_split(opt, EVAL) else None
    root = opt.val_video_root or (opt.dataroot / f"video_{EVAL}" if opt.video_dataset == CLIPS else opt.dataroot)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root} of clips to validate on; give --val_video_root")
    parts = [part for part in opt.video_parts if part not in GUIDES]
    return ClipsDataset.from_options(Namespace(**vars(opt) | {"video_parts": parts}), EVAL, root)


def score_held_out(data: HeldOut, predictor: Predictor, engine: Engine, batch_size: int, what: str) -> HeldOutScores:
    """Scores of the networks as they are now, the same in every process of a training.

    Args:
        data: see ``find_held_out``.
        predictor, engine: of the method.
        batch_size: clips that are worked on at a time.
        what: what is being done, for the bar.

    Raises:
        UserError, OSError: a file cannot be read, by any process.
    """
    processes = engine.processes
    if isinstance(data, PairsDataset):
        board = score_pairs(predictor, data, None, what, processes.rank, processes.size, processes.gather)
        return HeldOutScores(board.means()["ours"][board.alignments[0]], "abs_rel")
    shares = gathered(lambda: _mean_terms(data, engine, batch_size, what), processes.gather)
    rows = [row for share in shares for row in share]
    if not rows:
        raise UserError("there is no clip to validate on")
    means = {name: _mean_of_known([row[name] for row in rows]) for name in rows[0]}
    return HeldOutScores(means | {"total": sum(means.values())}, "total")


def _mean_of_known(values: list[float]) -> float:
    """Mean of the batches that say something; infinite when none does."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("inf")


@torch.no_grad()
def _mean_terms(
    data: ClipsDataset | SfmPairsDataset, engine: Engine, batch_size: int, what: str
) -> list[dict[str, float]]:
    """The terms of this process' batches."""
    engine.method.eval()
    count = min(MAX_BATCHES, -(-len(data) // batch_size))
    starts = np.linspace(0, max(0, len(data) - batch_size), count).astype(int)
    starts = starts[engine.processes.rank :: engine.processes.size]
    rows, stream = [], "sfm" if isinstance(data, SfmPairsDataset) else "video"
    with progress_bar(len(starts), what, "batches") if engine.processes.main else tqdm(disable=True) as bar:
        for start in starts:
            samples = [data[index] for index in range(start, min(start + batch_size, len(data)))]
            require_one_size(samples)
            with engine.precision.autocast():
                terms = engine.method.validation_terms(engine.to_device({stream: default_collate(samples)}))
            rows.append({name: float(term) for name, term in terms.items()})
            bar.update(1)
    return rows
