"""All that frames are scored by, in one pass over them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.frame import Frame
from evaluation.predictor import Predictor
from evaluation.region import EvalRegion
from evaluation.registration_board import RegistrationBoard
from evaluation.scores import References, ScoreBoard, Scores, by_method
from evaluation.segmentation import DynamicMasks
from evaluation.sequence_scale import SequenceScaleBoard
from evaluation.sparse import SparseBoard, interpolated_depth
from evaluation.surface_files import read_surface
from evaluation.temporal import TemporalBoard
from evaluation.trajectory import TrajectoryBoard
from models.geometry.flow import FlowEstimator
from models.geometry.similarity import Similarity
from models.geometry.surface import Surface

TITLES = {"none": "Not aligned", "median": "Median-scaled", "scale_shift": "Scale and shift aligned"}
ONE_SCALE = "One scale a sequence"
SCALES = "Scales of the frames [mm / unit of depth]"
PATHS = "Camera path, aligned by one similarity a clip"
SPARSE = "At the points of structure from motion, median-scaled"
AGREEMENT = "Frames seen from each other by the motion of SfM"
REGISTERED = "Registered to the surface, by one similarity a frame"
REGISTRATION_FOLDER = "registration"  # of the result folder
PARTS = ("static", "dynamic")

Tables = dict[str, dict[str, dict[str, float]]]  # title, method, metric


CLIP = "{clip}"  # in the name of a surface's file


@dataclass(frozen=True)
class Surfaces:
    """What clouds are registered to.

    Args:
        file: of the surface [mm]; ``CLIP`` in it stands for the clip's name.
        surface_from_world: where the world of the poses is another one.
    """

    file: str
    surface_from_world: Similarity | None = None

    def board(self, folder: Path | None) -> RegistrationBoard:
        """A board of such surfaces, each of which is read once; ``folder`` gets the clouds."""
        return RegistrationBoard(lru_cache(self.of), surface_from_world=self.surface_from_world, folder=folder)

    def of(self, clip: str) -> Surface:
        """The surface of a clip.

        Raises:
            UserError: its file cannot be read.
        """
        return read_surface(Path(self.file.replace(CLIP, clip)))


@dataclass(frozen=True)
class Judging:
    """How frames are judged, where it is not as usual.

    Args:
        relative_truth: the truth has neither unit nor zero.
        region: which of its pixels count.
        masks: where things move, if scores are to be given apart for it.
        surfaces: what clouds are registered to, if they are.
    """

    relative_truth: bool = False
    region: EvalRegion = EvalRegion()
    masks: DynamicMasks | None = None
    surfaces: Surfaces | None = None


class Boards:
    """The boards that have a meaning for a method.

    Depth and its consistency over time always, one scale for a sequence where depth has no unit, the camera's path
    where the method predicts motion, points of structure from motion where a clip has them.

    Args:
        predictor: the method.
        references: are scored beside it.
        build_estimator: of flow, see ``TemporalBoard``.
        judging: which pixels of the truth, and how.
        spool: folder for what waits for the end of a clip, see ``SequenceScaleBoard``, and for registered clouds.
    """

    def __init__(
        self,
        predictor: Predictor,
        references: References | None,
        build_estimator: Callable[[], FlowEstimator],
        judging: Judging | None = None,
        spool: Path | None = None,
    ) -> None:
        self.references, self.judging = references, judging or Judging()
        relative, region = self.judging.relative_truth, self.judging.region
        self.depth = ScoreBoard.judging(predictor.metric, relative, region)
        parts = PARTS if self.judging.masks else ()
        self.parts = {part: ScoreBoard.judging(predictor.metric, relative, region) for part in parts}
        self.temporal = TemporalBoard(build_estimator, predictor.device, metric=predictor.metric)
        self.scale = None if predictor.metric or relative else SequenceScaleBoard(region, spool)
        self.path = TrajectoryBoard(predictor) if predictor.predicts_motion else None
        self.sparse = SparseBoard()
        self.registration = None
        if self.judging.surfaces is not None:
            self.registration = self.judging.surfaces.board(None if spool is None else spool / REGISTRATION_FOLDER)

    def add(self, frame: Frame, depth: np.ndarray) -> bool:
        """Score a frame and its predicted depth (H, W), in the order of the frames; whether its depth was judged."""
        self.sparse.add(frame, depth)
        depths = by_method(depth, frame.rgb, self.references) | _from_points(frame)
        # A truth of unknown scale and offset has neither depth in mm nor ratios of depth over time.
        truth = {} if frame.gt_mm is None or self.judging.relative_truth else {"truth": frame.gt_mm}
        self.temporal.add(frame, depths | truth)
        if self.registration is not None:
            self.registration.add(frame, depths | truth)
        if self.path is not None:
            self.path.add(frame)
        if self.scale is not None:
            self.scale.add(frame, depths)
        if frame.gt_mm is None or not self.depth.add(frame.name, depths, frame.gt_mm):
            return False
        if self.judging.masks is not None:
            dynamic = self.judging.masks.dynamic(frame.name, frame.gt_mm.shape)
            self.parts["static"].add(frame.name, depths, frame.gt_mm, part=~dynamic)
            self.parts["dynamic"].add(frame.name, depths, frame.gt_mm, part=dynamic)
        return True

    def finish(self) -> None:
        """To be called after the last frame."""
        for board in (self.scale, self.path, self.sparse, self.registration):
            if board is not None:
                board.finish()

    def tables(self) -> Tables:
        """Mean scores by title and method; a table without scores is left out."""
        tables = by_title(self.depth)
        if self.scale is not None:
            scaled = {ONE_SCALE: self.scale.all().means()}
            tables = _insert_after(TITLES["median"], tables, scaled) | {SCALES: self.scale.spread()}
        for part, board in self.parts.items():
            tables |= {f"{part.capitalize()}, {title.lower()}": rows for title, rows in by_title(board).items()}
        if self.path is not None:
            tables[PATHS] = self.path.means()
        if self.registration is not None:
            tables[REGISTERED] = self.registration.means()
        tables |= {SPARSE: self.sparse.means(), AGREEMENT: self.sparse.agreement_means()}
        return {title: rows for title, rows in tables.items() if rows}

    def details(self) -> dict[str, Any]:
        """What the tables do not say: scores clip by clip, and what could not be scored."""
        scale, poses = None, None
        if self.scale is not None:
            scale = {"all": self.scale.spread(), "clips": {}}
            for clip, frames in self.scale.clips.items():
                means = frames.means()
                scale["clips"][clip] = {method: row | means[method] for method, row in frames.spread().items()}
        if self.path is not None:
            clips = {clip: paths.scores for clip, paths in self.path.clips.items()}
            poses = {"mean": self.path.means(), "clips": clips, "unscored": self.path.unscored}
        parts = {part: {"scored": len(board.names)} for part, board in self.parts.items()}
        sparse = {"unscored": self.sparse.unscored} if self.sparse.rows or self.sparse.unscored else None
        registration = self.registration.details() if self.registration else None
        return {
            **{"unscored": self.depth.unscored, "parts": parts, "scale": scale, "poses": poses},
            **{"sparse": sparse, "registration": registration},
        }


def by_title(board: ScoreBoard) -> Tables:
    """Mean scores by the alignment's title and method."""
    means: Scores = board.means()
    return {TITLES[align]: {method: rows[align] for method, rows in means.items()} for align in board.alignments}


def _from_points(frame: Frame) -> dict[str, np.ndarray]:
    """What SfM alone says of a frame whose depth is judged."""
    if frame.sparse is None or frame.gt_mm is None:
        return {}
    depth = interpolated_depth(frame.sparse, frame.gt_mm.shape)
    return {} if depth is None else {"interpolated": depth}


def _insert_after(title: str, tables: Tables, more: Tables) -> Tables:
    found = list(tables).index(title) + 1
    items = list(tables.items())
    return dict(items[:found] + list(more.items()) + items[found:])
