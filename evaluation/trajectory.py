"""The camera's path: predicted motions from frame to frame, chained, and compared with the true poses of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.frame import Frame
from evaluation.predictor import Predictor
from models.geometry.similarity import MIN_POINTS, Similarity, is_one_point, umeyama

BATCH = 8
FORWARD = "constant forward velocity"  # the reference: equal steps along the optical axis, without a turn

Scores = dict[str, float]


@dataclass(frozen=True)
class ClipPaths:
    """A clip's true path and the others, aligned with it by one similarity each."""

    true_mm: np.ndarray  # (T, 3)
    aligned_mm: dict[str, np.ndarray]  # (T, 3) by method
    scores: dict[str, Scores]  # by method


class TrajectoryBoard:
    """Asks for the motion between neighbours of a clip, and scores the path that they make.

    Clips without poses are left out; of the others ``unscored`` says why there is no score.

    Args:
        predictor: predicts motion.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.clips: dict[str, ClipPaths] = {}
        self.unscored: dict[str, str] = {}
        self._predictor = predictor
        self._clip: str | None = None
        self._poses: list[np.ndarray | None] = []
        self._cameras = True  # whether all are known
        self._motions: list[np.ndarray] = []
        self._waiting: list[Frame] = []  # the motion from each to the next is not asked for yet

    def add(self, frame: Frame) -> None:
        """Take the next frame; those of a clip follow each other."""
        if frame.clip != self._clip:
            self.finish()
        if frame.clip is None:
            return
        self._clip = frame.clip
        self._poses.append(frame.pose)
        if frame.pose is None:
            return
        self._cameras = self._cameras and frame.K is not None
        self._waiting.append(frame)
        if len(self._waiting) > BATCH:
            self._predict()

    def finish(self) -> None:
        """Score the clip whose frames have come; to be called after the last frame."""
        if self._clip is not None and any(pose is not None for pose in self._poses):
            self._close(self._clip)
        self._clip, self._poses, self._cameras, self._motions, self._waiting = None, [], True, [], []

    def means(self) -> dict[str, Scores]:
        """Mean of each score over the clips, by method."""
        rows: dict[str, list[Scores]] = {}
        for paths in self.clips.values():
            for method, scores in paths.scores.items():
                rows.setdefault(method, []).append(scores)
        return {
            method: {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
            for method, scores in rows.items()
        }

    def _close(self, clip: str) -> None:
        true = np.array([pose for pose in self._poses if pose is not None])
        why_not = self._why_not(true)
        if why_not:
            self.unscored[clip] = why_not
            return
        self._predict()
        paths = {"ours": chain(self._motions), FORWARD: forward_path(len(true))}
        aligned = {method: align_path(path, true) for method, path in paths.items()}
        self.clips[clip] = ClipPaths(
            true[:, :3, 3],
            {method: similarity.apply(paths[method][:, :3, 3]) for method, similarity in aligned.items()},
            {method: path_metrics(paths[method], true, similarity) for method, similarity in aligned.items()},
        )

    def _why_not(self, true: np.ndarray) -> str:
        """Why the clip has no score; empty when it has one."""
        if len(true) < len(self._poses):
            return f"only {len(true)} of {len(self._poses)} frames have a pose"
        if len(true) < MIN_POINTS:
            return f"fewer than {MIN_POINTS} frames"
        if not self._cameras:
            return "the camera is not known; give --intrinsics or --fov"
        return "the true camera stands still" if is_one_point(true[:, :3, 3]) else ""

    def _predict(self) -> None:
        """Ask for the motions of the frames that wait; the last of them waits on for its successor."""
        if len(self._waiting) > 1 and self._cameras:
            tgt, src = self._waiting[:-1], self._waiting[1:]
            frames_tgt, frames_src = ([frame.rgb for frame in frames] for frames in (tgt, src))
            self._motions += self._predictor.motions(frames_tgt, frames_src, [frame.K for frame in tgt])
        self._waiting = self._waiting[-1:]


def chain(motions: Sequence[np.ndarray]) -> np.ndarray:
    """Poses from the motions between neighbours, the first camera being the world.

        world_from_next = world_from_this (next_from_this)^-1

    Args:
        motions: ``src_from_tgt`` (4, 4), this frame being the target and the next one the source.

    Returns:
        world_from_cam, (number of motions + 1, 4, 4), in the unit of the motions.
    """
    poses = [np.eye(4)]
    for next_from_this in motions:
        poses.append(poses[-1] @ np.linalg.inv(next_from_this))
    return np.array(poses)


def forward_path(count: int) -> np.ndarray:
    """world_from_cam (T, 4, 4) of a camera that goes on by 1 a frame along its axis."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = np.arange(count)
    return poses


def align_path(pred: np.ndarray, true: np.ndarray) -> Similarity:
    """The similarity that brings predicted positions onto true ones; poses (T, 4, 4), T >= 3.

    A predicted camera that never moves goes to the middle of the true path, which is best whatever its scale: 0.

    Raises:
        ValueError: as ``umeyama``, when the true camera stands still.
    """
    positions, true_mm = pred[:, :3, 3], true[:, :3, 3]
    if is_one_point(positions):
        return Similarity(0.0, np.eye(3), true_mm.mean(axis=0))
    return umeyama(positions, true_mm)


def path_metrics(pred: np.ndarray, true: np.ndarray, similarity: Similarity) -> Scores:
    """Errors of a path that is aligned by a similarity (s, R, t).

        ate_mm = sqrt mean |s R p + t - g|^2                                    over the positions p, g
        E = (true step)^-1 (predicted step, its translation times s)            for each step this_from_next
        rpe_mm = mean |translation of E|,    rpe_deg = mean angle of E's rotation
        rpe_step = rpe_mm / mean length of a true step

    Source: Sturm et al., IROS 2012, with means over steps of one frame.

    Args:
        pred: world_from_cam of any world and unit, (T, 4, 4).
        true: world_from_cam [mm], (T, 4, 4), not all in one place.
        similarity: of ``align_path``.

    Returns:
        These, ``path_mm`` (length of the true path) and ``path_scale`` (s [mm / unit of pred]).
    """
    error_mm = similarity.apply(pred[:, :3, 3]) - true[:, :3, 3]
    true_steps, steps = _steps(true), _steps(pred)
    steps[:, :3, 3] *= similarity.scale
    errors = np.linalg.inv(true_steps) @ steps
    rpe_mm = np.linalg.norm(errors[:, :3, 3], axis=1).mean()
    lengths = np.linalg.norm(true_steps[:, :3, 3], axis=1)
    return {
        "ate_mm": float(np.sqrt(np.square(error_mm).sum(axis=1).mean())),
        "rpe_mm": float(rpe_mm),
        "rpe_deg": float(np.degrees(rotation_angles(errors[:, :3, :3])).mean()),
        "rpe_step": float(rpe_mm / lengths.mean()),
        "path_mm": float(lengths.sum()),
        "path_scale": similarity.scale,
    }


def rotation_angles(rotations: np.ndarray) -> np.ndarray:
    """Angles of rotations (N, 3, 3) [rad], in [0, pi]; from sine and cosine, since arccos alone is blunt near 0."""
    turn = rotations - rotations.transpose(0, 2, 1)
    sine = np.linalg.norm(np.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], axis=1), axis=1) / 2
    return np.arctan2(sine, (np.trace(rotations, axis1=1, axis2=2) - 1) / 2)


def _steps(world_from_cam: np.ndarray) -> np.ndarray:
    """this_from_next of neighbours, (T - 1, 4, 4)."""
    return np.linalg.inv(world_from_cam[:-1]) @ world_from_cam[1:]
