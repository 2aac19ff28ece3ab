"""A test: predict every frame of a source, score what has a truth, write everything into a result folder."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.flow_cache import make_flow_estimator
from evaluation.boards import CLIP, TITLES, Boards, Judging, Surfaces
from evaluation.frame import Frame
from evaluation.predictor import Predictor
from evaluation.region import EvalRegion
from evaluation.result_folder import KnownPoints, ResultFolder
from evaluation.scores import PREDICT_BATCH, RELATIVE_ALIGNMENTS, References, batches
from evaluation.segmentation import DynamicMasks
from evaluation.sources import Source, given_camera, needs_points
from evaluation.sparse import sparse_scores
from evaluation.surface_files import read_start
from util.checkpoint import versions
from util.errors import UserError
from util.intrinsics import INTRINSICS_JSON, Intrinsics, read_intrinsics, scale_intrinsics
from util.metrics import METRICS, simcol3d_metrics
from util.progress import progress_bar


class Tester:
    """Runs a test.

    Args:
        opt: options of ``test.py``.
        source: the frames.
        predictor: the method.
        references: see ``references_for``; None for bare weights, which do not know them.

    Raises:
        UserError, FileNotFoundError: the options ask for what this method, truth or data set does not have.
    """

    def __init__(self, opt: Namespace, source: Source, predictor: Predictor, references: References | None) -> None:
        self.opt, self.source, self.predictor = opt, source, predictor
        self.references = references
        self.judging = make_judging(opt, source, predictor)
        self.boards = self._make_boards(None)
        self.align = opt.align or self.boards.depth.alignments[0]
        self.simcol3d: list[tuple[np.ndarray, np.ndarray]] = []
        self.count = 0
        self.camera = find_camera(opt, source)

    def run(self, folder: Path) -> dict[str, Any]:
        """Write the results into ``folder`` and return what ``metrics.json`` holds."""
        count = min(filter(None, (self.source.count, self.opt.how_many)), default=None)
        with self._open_results(folder) as results:
            self.boards = self._make_boards(results.partial)
            with progress_bar(count, f"testing on {self.source.what}", "frames") as bar:
                for frames in batches(self._limited(), PREDICT_BATCH):
                    for frame, depth in zip(frames, self.predictor([frame.rgb for frame in frames]), strict=True):
                        self._take(frame, depth, results)
                    bar.update(len(frames))
            self.boards.finish()
            self._refuse_an_empty_test()
            for clip, paths in (self.boards.path.clips if self.boards.path else {}).items():
                results.add_path(clip, paths)
            metrics = self.metrics()
            results.finish(f"{self.opt.name}: {self.source.what}", metrics, self._facts(), TITLES[self.align])
        return metrics

    def metrics(self) -> dict[str, Any]:
        """Scores by table and per image, and where they come from."""
        board = self.boards.depth
        ours = board.rows.get("ours", {})
        return {
            **self._facts(),
            "frames": self.count,
            "scored": len(board.names),
            "tables": self.boards.tables(),
            "spread": {align: board.spread("ours", align) for align in ours},
            "temporal": self.boards.temporal.means(),
            "simcol3d": self._simcol3d(),
            **self.boards.details(),
            "per_image": [
                {"name": name} | {align: ours[align][index] for align in ours} for index, name in enumerate(board.names)
            ],
            "versions": versions(),
        }

    def _make_boards(self, spool: Path | None) -> Boards:
        build = partial(make_flow_estimator, self.opt)
        return Boards(self.predictor, self.references, build, self.judging, spool)

    def _open_results(self, folder: Path) -> ResultFolder:
        return ResultFolder(
            folder,
            max_depth_mm=getattr(self.opt, "max_depth_mm", 0.0),
            display_max_mm=self.opt.display_max_mm,
            metric=self.predictor.metric,
            relative_truth=self.source.relative,
        )

    def _limited(self) -> Iterator[Frame]:
        for index, frame in enumerate(self.source.frames()):
            if self.opt.how_many is not None and index >= self.opt.how_many:
                return
            yield frame

    def _take(self, frame: Frame, depth: np.ndarray, results: ResultFolder) -> None:
        """Score one frame and write what belongs to it."""
        self.count += 1
        if frame.K is None and needs_points(self.opt):
            frame = replace(frame, K=self._K_of(frame))
        scored = self.boards.add(frame, depth)
        results.add_depth(frame.name, depth, npy=self.opt.save_npy)
        if scored:
            self._add_compared(frame, depth, results)
        else:
            self._add_uncompared(frame, depth, results)
        if self.opt.save_ply:
            seen = depth if frame.sparse is None else np.where(frame.sparse.mask, depth, 0.0)
            results.add_points(frame.name, seen, frame.K, frame.rgb)
        if frame.clip is not None and self.opt.input is not None:
            results.add_video_frame(frame.rgb, depth, self.source.fps or self.opt.fps)
        if self.opt.protocol == "simcol3d":
            results.add_simcol3d(frame.name, depth)
            if frame.gt_mm is not None:
                self.simcol3d.append((depth, frame.gt_mm))

    def _add_compared(self, frame: Frame, depth: np.ndarray, results: ResultFolder) -> None:
        """A row of the gallery beside the truth, aligned as its scores are."""
        board, gt_mm = self.boards.depth, frame.gt_mm
        shown, scores = board.align(depth, gt_mm, self.align), board.of_image(-1, align=self.align)
        results.add_row(frame.name, frame.rgb, shown, gt_mm, scores, board.region.valid(gt_mm))

    def _add_uncompared(self, frame: Frame, depth: np.ndarray, results: ResultFolder) -> None:
        """A row of the gallery without a truth, or beside the points that SfM knows."""
        points = None
        if frame.sparse is not None and len(frame.sparse.depth):
            _, scale = sparse_scores(depth, frame.sparse)
            points = KnownPoints(frame.sparse.pixels, frame.sparse.depth / scale)
        scores = {name: value for name, value in self.boards.sparse.of_frame(frame.name).items() if name in METRICS}
        results.add_row(frame.name, frame.rgb, depth, None, scores, points=points)

    def _refuse_an_empty_test(self) -> None:
        if self.count == 0:
            raise UserError(f"{self.source.what} has no frames")
        if self.judging.masks is not None and not self.boards.depth.names:
            raise UserError(f"--seg_mask parts the scores, but no frame of {self.source.what} has a truth to score")

    def _K_of(self, frame: Frame) -> np.ndarray:
        """Intrinsics for the points of a frame that does not know its own."""
        if self.camera is None:
            raise UserError(
                f"points need a pinhole camera, and that of {frame.name} is not known; give --intrinsics or --fov"
            )
        return scale_intrinsics(self.camera.K, self.camera.size, frame.rgb.shape[:2])

    def _simcol3d(self) -> dict[str, float] | None:
        if not self.simcol3d:
            return None
        depths, gts = zip(*self.simcol3d, strict=True)
        return simcol3d_metrics(depths, gts)

    def _facts(self) -> dict[str, str]:
        checkpoint = str(self.opt.checkpoint_file)
        weights = {"weights": "averaged (--use_ema)"} if self.opt.use_ema else {}
        given = {"checkpoint": checkpoint, **weights, "input": str(self.opt.input or self.opt.dataroot)}
        flow = {"flow": self.boards.temporal.flow} if self.boards.temporal.scores else {}
        return given | self.source.facts | self.judging.region.facts() | flow


def make_judging(opt: Namespace, source: Source, predictor: Predictor) -> Judging:
    """What the options say of judging.

    Raises:
        UserError, FileNotFoundError: they ask for mm where there are none, or the label pictures have no colours.
    """
    region = EvalRegion.from_options(opt)
    if source.relative and opt.align not in (None, *RELATIVE_ALIGNMENTS):
        raise UserError(
            f"--align {opt.align}: this truth has neither unit nor zero, so depth is compared with it by "
            f"{', '.join(RELATIVE_ALIGNMENTS)} only; leave the flag out"
        )
    if source.relative and (region.min_mm is not None or region.max_mm is not None):
        raise UserError("--min_eval_mm and --max_eval_mm are in mm, but this truth has neither unit nor zero")
    if opt.protocol == "simcol3d" and not predictor.metric:
        raise UserError(
            "--protocol simcol3d clips depth to 20 cm and writes shares of it, but this method's depth has no mm; "
            "the table 'One scale a sequence' (--temporal) is its counterpart for such a method"
        )
    if opt.protocol == "registration" and source.relative:
        raise UserError("--protocol registration needs a truth in mm or none; this one has neither unit nor zero")
    masks = DynamicMasks(opt.seg_mask) if opt.seg_mask else None
    return Judging(source.relative, region, masks, find_surfaces(opt))


def find_surfaces(opt: Namespace) -> Surfaces | None:
    """What clouds are registered to, if they are; a single surface is read here, before anything takes long.

    Raises:
        UserError: the surface or its start cannot be read.
    """
    if opt.surface is None:
        return None
    surfaces = Surfaces(opt.surface, read_start(opt.surface_start) if opt.surface_start else None)
    if CLIP not in opt.surface:
        surfaces.of("")
    return surfaces


def find_camera(opt: Namespace, source: Source) -> Intrinsics | None:
    """The camera for points of frames that do not know theirs: ``--intrinsics``, ``--fov``, or the file beside.

    Returns:
        None if points are not asked for, or the first frame knows its own camera.

    Raises:
        UserError: points are wanted, but there is no frame, or its camera is unknown.
    """
    if not needs_points(opt):
        return None
    first = next(source.frames(), None)
    if first is None:
        raise UserError(f"{source.what} has no frames")
    if first.K is not None:
        return None
    given, beside = given_camera(opt, first.rgb.shape[:2]), source.folder / INTRINSICS_JSON
    if given is None and not beside.is_file():
        raise UserError(f"points need a pinhole camera: there is no {beside}; give --intrinsics or --fov")
    return given or read_intrinsics(beside)
