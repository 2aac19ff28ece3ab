"""A test: predict every frame of a source, score what has a truth, write everything into a result folder."""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.flow_cache import make_flow_estimator
from evaluation.frame import Frame
from evaluation.predictor import Predictor
from evaluation.result_folder import ResultFolder
from evaluation.scores import PREDICT_BATCH, References, ScoreBoard, batches, by_method
from evaluation.sources import Source
from evaluation.temporal import TemporalBoard
from util.checkpoint import versions
from util.errors import UserError
from util.intrinsics import INTRINSICS_JSON, Intrinsics, intrinsics_from_fov, read_intrinsics, scale_intrinsics
from util.metrics import align_depth, simcol3d_metrics
from util.progress import progress_bar

# A truth of unknown scale and offset can be compared in no other way, and has no mm.
RELATIVE_ALIGNMENTS = ("scale_shift",)
RELATIVE_METRICS = ("abs_rel", "rmse_log", "log10", "delta1", "delta2", "delta3")
TITLES = {"none": "Not aligned", "median": "Median-scaled", "scale_shift": "Scale and shift aligned"}


class Tester:
    """Runs a test.

    Args:
        opt: options of ``test.py``.
        source: the frames.
        predictor: the method.
        references: fitted on the training pairs; None for bare weights, which do not know them.
    """

    def __init__(self, opt: Namespace, source: Source, predictor: Predictor, references: References | None) -> None:
        self.opt, self.source, self.predictor = opt, source, predictor
        self.references = references
        self.board = ScoreBoard(RELATIVE_ALIGNMENTS, RELATIVE_METRICS) if source.relative else ScoreBoard()
        self.align = self.board.alignments[-1] if source.relative else opt.align
        self.temporal = TemporalBoard(partial(make_flow_estimator, opt), predictor.device)
        self.trajectory: list[tuple[np.ndarray, np.ndarray]] = []
        self.count = 0
        self.K = find_intrinsics(opt, source)

    def run(self, folder: Path) -> dict[str, Any]:
        """Write the results into ``folder`` and return what ``metrics.json`` holds."""
        count = min(filter(None, (self.source.count, self.opt.how_many)), default=None)
        max_depth_mm = getattr(self.opt, "max_depth_mm", 0.0)
        with ResultFolder(folder, max_depth_mm=max_depth_mm, display_max_mm=self.opt.display_max_mm) as results:
            with progress_bar(count, f"testing on {self.source.what}", "frames") as bar:
                for frames in batches(self._limited(), PREDICT_BATCH):
                    for frame, depth in zip(frames, self.predictor([frame.rgb for frame in frames]), strict=True):
                        self._take(frame, depth, results)
                    bar.update(len(frames))
            if self.count == 0:
                raise UserError(f"{self.source.what} has no frames")
            metrics = self.metrics()
            results.finish(f"{self.opt.name}: {self.source.what}", metrics, self._facts(), TITLES[self.align])
        return metrics

    def metrics(self) -> dict[str, Any]:
        """Scores by table and per image, and where they come from."""
        means, ours = self.board.means(), self.board.rows.get("ours", {})
        tables = {
            TITLES[align]: {method: rows[align] for method, rows in means.items()} for align in self.board.alignments
        }
        return {
            **self._facts(),
            "frames": self.count,
            "scored": len(self.board.names),
            "tables": {title: rows for title, rows in tables.items() if rows},
            "spread": {align: self.board.spread("ours", align) for align in ours},
            "temporal": self.temporal.means(),
            "simcol3d": self._simcol3d(),
            "per_image": [
                {"name": name} | {align: ours[align][index] for align in ours}
                for index, name in enumerate(self.board.names)
            ],
            "versions": versions(),
        }

    def _limited(self) -> Iterator[Frame]:
        for index, frame in enumerate(self.source.frames()):
            if self.opt.how_many is not None and index >= self.opt.how_many:
                return
            yield frame

    def _take(self, frame: Frame, depth: np.ndarray, results: ResultFolder) -> None:
        """Score one frame and write what belongs to it."""
        self.count += 1
        scores: dict[str, float] = {}
        depths = by_method(depth, frame.rgb, self.references)
        self.temporal.add(frame, depths if frame.gt_mm is None else depths | {"truth": frame.gt_mm})
        if frame.gt_mm is not None and self.board.add(frame.name, depths, frame.gt_mm):
            scores = self.board.of_image(-1, align=self.align)
        results.add_depth(frame.name, depth, npy=self.opt.save_npy)
        shown = align_depth(depth, frame.gt_mm, align=self.align) if scores else depth
        results.add_row(frame.name, frame.rgb, shown, frame.gt_mm if scores else None, scores)
        if self.K is not None:
            results.add_points(frame.name, depth, self._scaled(frame.rgb.shape[:2]), frame.rgb)
        if frame.clip is not None and self.opt.input is not None:
            results.add_video_frame(frame.rgb, depth, self.source.fps or self.opt.fps)
        if self.opt.protocol == "simcol3d":
            results.add_simcol3d(frame.name, depth)
            if frame.gt_mm is not None:
                self.trajectory.append((depth, frame.gt_mm))

    def _scaled(self, size: tuple[int, int]) -> np.ndarray:
        """Intrinsics for frames of ``size`` (H, W)."""
        return scale_intrinsics(self.K.K, self.K.size, size)

    def _simcol3d(self) -> dict[str, float] | None:
        if not self.trajectory:
            return None
        depths, gts = zip(*self.trajectory, strict=True)
        return simcol3d_metrics(depths, gts)

    def _facts(self) -> dict[str, str]:
        checkpoint = str(self.opt.checkpoint_file)
        weights = {"weights": "averaged (--use_ema)"} if self.opt.use_ema else {}
        given = {"checkpoint": checkpoint, **weights, "input": str(self.opt.input or self.opt.dataroot)}
        flow = {"flow": self.temporal.flow} if self.temporal.scores else {}
        return given | self.source.facts | flow


def find_intrinsics(opt: Namespace, source: Source) -> Intrinsics | None:
    """The camera for ``--save_ply``: ``--intrinsics``, ``--fov``, or the file beside the frames; None if not asked for.

    Raises:
        UserError: point clouds are wanted, but the camera is unknown.
    """
    if not opt.save_ply:
        return None
    if opt.intrinsics is not None:
        return read_intrinsics(opt.intrinsics)
    if opt.fov is not None:
        size = next(source.frames()).rgb.shape[:2]
        return Intrinsics(intrinsics_from_fov(opt.fov, size[1], size[0]), size)
    beside = source.folder / INTRINSICS_JSON
    if not beside.is_file():
        raise UserError(f"--save_ply needs a pinhole camera: there is no {beside}; give --intrinsics or --fov")
    return read_intrinsics(beside)
