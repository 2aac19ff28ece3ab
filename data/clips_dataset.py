"""Short clips of video without truth, with the optical flow between their frames."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch

from data import flow_cache
from data.base_dataset import BaseDataset, Sample, to_image_tensor
from data.clips import Clip
from data.flow_cache import FlowCache, make_flow_estimator
from data.formats import FORMATS, open_clips, open_sequences
from data.transforms import Preprocessing
from util.errors import UserError
from util.intrinsics import INTRINSICS_JSON, Intrinsics, read_intrinsics, scale_intrinsics

CLIPS = "folder"


class ClipsDataset(BaseDataset):
    """Triplets (or pairs) of neighbouring frames of real video.

    Expects ``root/<clip>/*.jpg`` (frames in the order of their names; an ``intrinsics.json`` beside them is read), or
    the published data set's ``root/*.png`` with two frames side by side. Each sample: ``frames`` (T, 3, H, W) in
    [-1, 1]; ``flow_fwd``, ``flow_bwd`` (T-1, 2, H, W) [px]; ``mask_fwd``, ``mask_bwd`` (T-1, 1, H, W) bool; and
    ``intrinsics`` (3, 3) [px] when all clips have them.
    """

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        group = parser.add_argument_group("video clips")
        group.add_argument("--video_root", type=Path, help="folder of clips; default: <dataroot>/video_<phase>")
        group.add_argument(
            "--video_dataset",
            choices=tuple(FORMATS),
            default=CLIPS,
            help="layout of --video_root: clips, or a data set whose sequences are the clips (default: --dataroot)",
        )
        group.add_argument(
            "--clip_length", type=int, choices=(2, 3), default=3, help="frames of a clip that is learned from"
        )
        flow_cache.add_options(group)

    @classmethod
    def from_options(cls, opt: Namespace) -> "ClipsDataset":
        """The clips of ``opt.phase``; fills the flow cache first, on the first GPU if there is one."""
        of_clips = opt.video_dataset == CLIPS
        root = opt.video_root or (opt.dataroot / f"video_{opt.phase}" if of_clips else opt.dataroot)
        clips = open_clips(root) if of_clips else open_sequences(opt, root)
        cache = FlowCache.filled(opt, root, clips, make_flow_estimator(opt), "_undistorted" if opt.undistort else "")
        return cls(clips, cache.preprocessing, cache, opt.clip_length, opt.frame_step)

    def __init__(
        self, clips: list[Clip], preprocessing: Preprocessing, flow_cache: FlowCache, length: int = 3, step: int = 1
    ) -> None:
        self.preprocessing = preprocessing
        self.flow_cache = flow_cache
        self.length, self.step = length, step
        self.clips = clips
        self.windows = [(c, s) for c, clip in enumerate(clips) for s in range(len(clip) - (length - 1) * step)]
        if not self.windows:
            longest = max(len(clip) for clip in clips)
            raise UserError(
                f"no clip has {(length - 1) * step + 1} frames (the longest of {len(clips)} has {longest}); "
                "use a smaller --clip_length or --frame_step"
            )
        self.intrinsics = [read_clip_intrinsics(clip) for clip in clips]

    def __len__(self) -> int:
        return len(self.windows)

    def files(self, index: int) -> list[Path]:
        """The frames of the window, or the one file that holds them side by side."""
        which, start = self.windows[index]
        clip = self.clips[which]
        span = slice(start, start + self.length * self.step, self.step)
        return list(clip.files if clip.side_by_side else clip.files[span])

    def sample(self, index: int, rng: np.random.Generator | None) -> Sample:
        which, start = self.windows[index]
        frames = self.clips[which].read(start, self.length, self.step)
        sample = {"frames": torch.stack([to_image_tensor(frame) for frame in frames])}
        if all(self.intrinsics):
            K, of_size = self.intrinsics[which]
            sample["intrinsics"] = torch.from_numpy(scale_intrinsics(K, of_size, frames[0].shape[:2])).float()
        flow = self.flow_cache.read(self.clips[which], start, self.length - 1)
        sample = self.preprocessing.pad(self.preprocessing.resize(sample) | flow)
        return sample if rng is None else self.preprocessing.augment(sample, rng)


def read_clip_intrinsics(clip: Clip) -> Intrinsics | None:
    """The clip's own camera, or that of an ``intrinsics.json`` beside the frames, if there is one."""
    path = clip.files[0].parent / INTRINSICS_JSON
    return clip.camera or (read_intrinsics(path) if path.is_file() else None)
