"""Which views of which clips belong to which split: whole clips, or blocks of a clip with a gap between them.

Neighbouring frames are near copies, so frames are never shuffled into splits.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.formats.splits import PHASES, TEST_SHARE, split_by_share
from data.sfm.clip import SfmClip
from util.errors import UserError

LINE = re.compile(r"(?P<name>.+?)(?:\s+(?P<first>\d+)-(?P<last>\d+))?")
MIN_TRAIN_VIEWS = 2


@dataclass(frozen=True)
class Block:
    """Views of one clip that belong to one split: their numbers (positions in the clip), int64, all with a picture."""

    clip: SfmClip
    views: np.ndarray

    @property
    def name(self) -> str:
        """The clip's name, and the frames if they are not all of it."""
        if len(self.views) == len(self.clip.views_with_frames):
            return self.clip.name
        first, last = self.clip.numbers[self.views[[0, -1]]]
        return f"{self.clip.name}_{first}-{last}"


def split_clips(root: Path, clips: Mapping[str, SfmClip], gap: int) -> dict[str, list[Block]]:
    """The blocks of each split.

    ``<root>/splits/<phase>.txt`` say it, a clip a line, or a part of one: ``NAME FIRST-LAST`` in frame numbers. Without
    such files, three clips and more are shared out as wholes (``split_by_share``), and of fewer each is cut: the last
    fifth is for testing, the views within ``gap`` before it are left out.

    Args:
        root: folder of the clips.
        clips: by name.
        gap: in registered views; the largest distance of a pair that is learned from.

    Raises:
        UserError: a line cannot be read or names what is not there, a frame is in two splits, or a clip is too short
            for the gap.
    """
    said = {phase: root / "splits" / f"{phase}.txt" for phase in PHASES}
    if any(file.is_file() for file in said.values()):
        split = {phase: _read(file, clips) if file.is_file() else [] for phase, file in said.items()}
        _refuse_leaks(split, root)
        return split
    if len(clips) >= len(PHASES):
        by_share = split_by_share(list(clips))
        return {phase: [whole(clips[name]) for name in by_share.get(phase, [])] for phase in PHASES}
    cut = [_cut(clip, gap) for clip in clips.values()]
    return {"train": [train for train, _ in cut], "eval": [], "test": [test for _, test in cut]}


def whole(clip: SfmClip) -> Block:
    """All views of a clip that have a picture."""
    return Block(clip, clip.views_with_frames)


def _cut(clip: SfmClip, gap: int) -> tuple[Block, Block]:
    """The part for training, and that for testing."""
    views = clip.views_with_frames
    num_test = max(1, round(TEST_SHARE * len(views)))
    test = views[-num_test:]
    train = views[views < test[0] - gap]
    if len(train) < MIN_TRAIN_VIEWS:
        raise UserError(
            f"{clip.folder} has {len(views)} registered views with a picture: a test block of {num_test} and a gap of "
            f"{gap} before it leave {len(train)} for training; use a smaller --max_gap, or more clips"
        )
    return Block(clip, train), Block(clip, test)


def _read(file: Path, clips: Mapping[str, SfmClip]) -> list[Block]:
    blocks = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = LINE.fullmatch(text)
        if found is None or found["name"] not in clips:
            known = ", ".join(list(clips)[:10])
            raise UserError(f"{file}, line {number}: {text!r} names no clip here (there are: {known})")
        clip = clips[found["name"]]
        if found["first"] is None:
            blocks.append(whole(clip))
            continue
        first, last = int(found["first"]), int(found["last"])
        frames = clip.numbers[clip.views_with_frames]
        views = clip.views_with_frames[(frames >= first) & (frames <= last)]
        if not len(views):
            raise UserError(
                f"{file}, line {number}: {clip.name} has no registered frame from {first} to {last} with a picture; it "
                f"has {frames.min()} to {frames.max()}"
            )
        blocks.append(Block(clip, views))
    return blocks


def _refuse_leaks(split: Mapping[str, list[Block]], root: Path) -> None:
    """
    Raises:
        UserError: a frame is in two splits.
    """
    phase_of: dict[tuple[str, int], str] = {}
    for phase, blocks in split.items():
        for block in blocks:
            for view in block.views.tolist():
                earlier = phase_of.setdefault((block.clip.name, view), phase)
                if earlier != phase:
                    number = block.clip.numbers[view]
                    raise UserError(
                        f"{root / 'splits'}: frame {number} of {block.clip.name} is in {earlier}.txt and in "
                        f"{phase}.txt: results would leak"
                    )
