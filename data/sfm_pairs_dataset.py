"""Pairs of frames of one clip, with the sparse depth, soft masks, flow and poses of its structure from motion."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.base_dataset import BaseDataset, Sample, to_image_tensor
from data.sfm.augment import AUGMENTATIONS, augment_picture
from data.sfm.confidence import CONFIDENCES
from data.sfm.drawing import View, point_flow, points_in_sight, sparse_map
from data.sfm.find import open_sfm_clips
from data.sfm.prepare import Preparation, PreparedClip
from data.sfm.split import Block, split_clips, whole
from data.sfm.window import MASK_LEVEL
from data.transforms import BLACK, FLIPPED, Preprocessing, flip_sample
from util.errors import UserError

CACHE = "sfm_cache"
MIN_OVERLAP = 0.05  # of a view's points; below, pairs teach nothing


class SfmPairsDataset(BaseDataset):
    """A view and another one of its clip, some registered views apart, in a box around the lens circle.

    Each sample, in shares of the clip's global scale where it has a length: ``frames`` (2, 3, H, W) in [-1, 1], black
    outside the mask; ``mask`` (1, H, W) bool, of both; ``sparse_depth`` (2, 1, H, W), 0 where there is no point, with
    its ``confidence`` (2, 1, H, W); ``sparse_flow`` (2, 2, H, W) from each frame to the other one in picture widths and
    heights, with ``flow_confidence`` (2, 1, H, W), 0 where unknown; ``intrinsics`` (3, 3) [px]; ``pose`` (2, 4, 4).
    """

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        group = parser.add_argument_group("structure from motion")
        group.add_argument(
            "--sfm_root",
            type=Path,
            help="folder of clips with their SfM (or one clip), split by --max_gap and splits/*.txt; default: "
            "<dataroot>/sfm_<phase>",
        )
        group.add_argument(
            "--max_gap", type=int, default=30, help="largest distance of a pair, and between splits [registered views]"
        )
        if not is_train:
            return
        group.add_argument("--min_gap", type=int, default=5, help="smallest distance of a pair [registered views]")
        group.add_argument("--sfm_cache", type=Path, help=f"where prepared frames are kept; default: {CACHE}/ in there")
        group.add_argument(
            "--soft_mask", choices=tuple(CONFIDENCES), default="frames_parallax", help="how far a point is trusted"
        )
        group.add_argument(
            "--visibility_overlap",
            type=int,
            default=0,
            help="views around, whose points a view also has; 0: those triangulated from it",
        )
        group.add_argument(
            "--inlier_share", type=float, default=0.99, help="of points whose z^2 * brightness is alike; 1: keep all"
        )
        group.add_argument(
            "--sfm_preparation",
            choices=("exact", "published"),
            default="exact",
            help="published: intrinsics, overlap, rounding, collisions and scale as in the authors' code of 2022",
        )
        group.add_argument("--sfm_divisor", type=int, default=64, help="sides of the box are multiples of it [px]")
        group.add_argument(
            "--augment", choices=tuple(AUGMENTATIONS), default="none", help="changes to the colours of each frame"
        )

    @classmethod
    def from_options(cls, opt: Namespace, phase: str | None = None) -> "SfmPairsDataset":
        """The clips of a phase, by default ``opt.phase``.

        Raises:
            FileNotFoundError, UserError: there are none, or they cannot be used; says what to do.
        """
        blocks = open_blocks(opt, phase or opt.phase)
        how = Preparation(
            replace(Preprocessing.from_options(opt), flip=False),  # of samples, not of what is prepared
            opt.sfm_divisor,
            opt.soft_mask,
            opt.visibility_overlap,
            opt.inlier_share,
            published=opt.sfm_preparation == "published",
        )
        cache = opt.sfm_cache or sfm_folder(opt, phase or opt.phase) / CACHE
        return cls(blocks, how, cache, (opt.min_gap, opt.max_gap), opt.augment, flip=opt.flip)

    def __init__(
        self,
        blocks: Sequence[Block],
        how: Preparation,
        cache: Path,
        gaps: tuple[int, int] = (5, 30),
        augment: str = "none",
        *,
        flip: bool = False,
    ) -> None:
        self.how, self.augment, self.gaps, self.flip = how, augment, gaps, flip
        box = how.box_of([block.clip for block in blocks])
        self.clips = [PreparedClip(block.clip, how, box, cache) for block in blocks]
        self.samples = [
            (number, view, others)
            for number, (block, clip) in enumerate(zip(blocks, self.clips, strict=True))
            for view, others in partners(with_points(block.views, clip.views), gaps)
        ]
        if not self.samples:
            names = ", ".join(block.name for block in blocks[:3])
            raise UserError(
                f"no two views with points lie {gaps[0]} to {gaps[1]} registered views apart ({names}); lower "
                "--min_gap, or raise --visibility_overlap or --inlier_share where views have no points"
            )
        self._refuse_pairs_without_overlap()

    def __len__(self) -> int:
        return len(self.samples)

    def files(self, index: int) -> list[Path]:
        """The frame whose view it is, and the frames of all views that may stand beside it."""
        number, view, others = self.samples[index]
        return [self.clips[number].clip.frames[one] for one in (view, *others)]

    def _refuse_pairs_without_overlap(self) -> None:
        """
        Raises:
            UserError: the views of most pairs see nothing in common by their points and poses; names the worst one.
        """
        shares = [self._overlap(index) for index in range(len(self))]
        if np.median(shares) >= MIN_OVERLAP:
            return
        number, view, others = self.samples[int(np.argmin(shares))]
        clip = self.clips[number].clip
        here, there = clip.numbers[view], clip.numbers[middle_one(others)]
        raise UserError(
            f"{clip.folder}: the views of a pair hardly see the same place; of the points in frame {here}, "
            f"{100 * min(shares):.0f} % lie in frame {there} too (in the median pair {100 * np.median(shares):.0f} %). "
            "Poses may be the wrong way round (they are camera to world), or --max_gap is too large"
        )

    def _overlap(self, index: int) -> float:
        """Share of a view's points that are in sight of the middle one of those that may stand beside it."""
        number, view, others = self.samples[index]
        clip, points = self.clips[number], self.clips[number].views[view].points
        seen = points_in_sight(clip.in_camera(middle_one(others), points), points, clip.K, clip.mask)
        return len(seen.points) / len(points)

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        number, view, others = self.samples[index]
        clip = self.clips[number]
        both = (view, middle_one(others) if rng is None else int(rng.choice(others)))
        mask = clip.mask >= MASK_LEVEL * 255
        maps = [self._maps(clip, here, there) for here, there in (both, both[::-1])]
        sample = {
            "frames": torch.stack([self._picture(clip, one, mask, rng) for one in both]),
            "mask": torch.from_numpy(mask)[None],
            **{name: torch.stack([one[name] for one in maps]) for name in maps[0]},
            "intrinsics": torch.from_numpy(clip.K).float(),
            "pose": torch.from_numpy(clip.poses[list(both)]).float(),
        }
        return flip_sample(sample) if self.flip and rng is not None and rng.random() < FLIPPED else sample

    def _picture(self, clip: PreparedClip, view: int, mask: np.ndarray, rng: np.random.Generator | None) -> Tensor:
        """(3, H, W); black outside the mask, as endoscopes show it and as frames of a test are."""
        rgb = clip.frame(view)
        rgb = rgb if rng is None else augment_picture(rgb, rng, self.augment)
        return torch.where(torch.from_numpy(mask), to_image_tensor(rgb.astype(np.float32) / 255), BLACK)

    def _maps(self, clip: PreparedClip, here: int, there: int) -> Sample:
        """What is known at the points of a view, and of their way to the other one."""
        view, confidence = clip.views[here], clip.confidence
        ends = (clip.in_camera(one, view.points) for one in (here, there))
        flow, known = point_flow(*ends, clip.K, clip.size, rounding=self.how.published)
        trust = confidence[view.points]
        values = (view.depth, trust, *flow.T, trust * known)
        depth, trusted, *way, way_trusted = (torch.from_numpy(sparse_map(view, value, clip.size)) for value in values)
        return {
            "sparse_depth": depth[None],
            "confidence": trusted[None],
            "sparse_flow": torch.stack(way),
            "flow_confidence": way_trusted[None],
        }


def open_blocks(opt: Namespace, phase: str) -> list[Block]:
    """The blocks of a phase: of ``--sfm_root``, which is split, or all clips of ``<dataroot>/sfm_<phase>``.

    Raises:
        FileNotFoundError, UserError: there are none, or a clip cannot be read.
    """
    folder = sfm_folder(opt, phase)
    clips = open_sfm_clips(folder)
    if opt.sfm_root is None:
        return [whole(clip) for clip in clips.values()]
    blocks = split_clips(folder, clips, opt.max_gap).get(phase, [])
    if not blocks:
        raise FileNotFoundError(
            f"{folder} has no clip for the split {phase}; write their names into {folder}/splits/{phase}.txt, one a "
            "line, or parts of them: NAME FIRST-LAST (frame numbers)"
        )
    return blocks


def has_split(opt: Namespace, phase: str) -> bool:
    """Whether there are clips for a phase."""
    folder = sfm_folder(opt, phase)
    if opt.sfm_root is None:
        return folder.is_dir()
    return bool(split_clips(folder, open_sfm_clips(folder), opt.max_gap).get(phase))


def sfm_folder(opt: Namespace, phase: str) -> Path:
    """Where the clips of a phase are."""
    return opt.sfm_root or opt.dataroot / f"sfm_{phase}"


def middle_one(others: np.ndarray) -> int:
    """The view that stands beside another one where nothing is left to chance."""
    return int(others[len(others) // 2])


def with_points(views: np.ndarray, drawn: Sequence[View]) -> np.ndarray:
    """Those of the views into which at least one point is drawn."""
    return np.array([view for view in views.tolist() if len(drawn[view].points)], dtype=np.int64)


def partners(views: np.ndarray, gaps: tuple[int, int]) -> list[tuple[int, np.ndarray]]:
    """Each view with those that may stand beside it: ``gaps[0]`` to ``gaps[1]`` registered views before or after.

    Of few views the least gap is half of their number, as published. Views without any are left out.
    """
    least = min(gaps[0], max(1, len(views) // 2))
    pairs = []
    for view in views.tolist():
        distance = np.abs(views - view)
        others = views[(distance >= least) & (distance <= gaps[1])]
        if len(others):
            pairs.append((view, others))
    return pairs
