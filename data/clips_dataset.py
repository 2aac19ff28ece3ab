"""Short clips of video without truth, with the optical flow between their frames."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data import flow_cache, pseudo_depth
from data.base_dataset import BaseDataset, Sample, to_image_tensor
from data.clips import Clip
from data.flow_cache import FlowCache, make_flow_estimator
from data.formats import FORMATS, open_clips, open_sequences
from data.formats.packed import PACKED_JSON
from data.pseudo_depth import PseudoDepth
from data.transforms import Preprocessing, grid_size, resize_sample
from data.view_mask import find_view, resize_view
from util.errors import UserError
from util.intrinsics import (
    INTRINSICS_JSON,
    Intrinsics,
    NoPinhole,
    intrinsics_from_fov,
    read_intrinsics,
    scale_intrinsics,
)

CLIPS = "folder"
VIEW_FRAMES = 16  # of a clip, in which its view is looked for


class ClipsDataset(BaseDataset):
    """Triplets (or pairs) of neighbouring frames of real video.

    Expects ``root/<clip>/*.jpg`` (frames in the order of their names; an ``intrinsics.json`` beside them is read), or
    the published data set's ``root/*.png`` with two frames side by side. Each sample: ``frames`` (T, 3, H, W) in
    [-1, 1]; ``intrinsics`` (3, 3) [px] when all clips have them; and those of the following that are asked for:

    - ``flow_fwd``, ``flow_bwd`` (T-1, 2, H, W) [px] with ``mask_fwd``, ``mask_bwd`` (T-1, 1, H, W) bool;
    - ``view`` (1, H, W) bool: where the frames of the clip show what the camera sees;
    - ``pseudo_depth`` (1, H, W) of the middle frame, without a unit, 0 where unknown.
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
        if is_train:
            group.add_argument(
                "--fov", type=float, help="horizontal field of view of clips without an intrinsics.json [degrees]"
            )
            group.add_argument(
                "--val_video_root",
                type=Path,
                help="clips held out, for methods that are judged by video; default: <dataroot>/video_eval",
            )
            pseudo_depth.add_options(group)
        flow_cache.add_options(group)

    @classmethod
    def from_options(cls, opt: Namespace, phase: str | None = None, root: Path | None = None) -> "ClipsDataset":
        """The clips of a phase, by default ``opt.phase``, with what ``opt.video_parts`` asks for.

        Flow is computed first where it is not there yet, on the first GPU if there is one.

        Raises:
            FileNotFoundError, UserError: clips, cameras or pseudo-depth are missing or wrong; says what to do.
        """
        phase, of_clips = phase or opt.phase, opt.video_dataset == CLIPS
        root = root or opt.video_root or (opt.dataroot / f"video_{phase}" if of_clips else opt.dataroot)
        clips = open_clips(root) if of_clips else open_sequences(Namespace(**vars(opt) | {"phase": phase}), root)
        cache = pseudo = None
        if "flow" in opt.video_parts:
            cache = FlowCache.filled(
                opt, root, clips, make_flow_estimator(opt), "_undistorted" if opt.undistort else ""
            )
        packed = (root.parent / PACKED_JSON).is_file()
        if "pseudo_depth" in opt.video_parts:
            if packed:
                raise UserError(f"{root} is packed, and pseudo-depth is found by the frames' own names; give the clips")
            pseudo = PseudoDepth.from_options(opt, root, clips)
        if "intrinsics" in opt.video_parts:
            # Frames were resized in packing, not always with their aspect: a guess from their size now would be wrong.
            clips = with_cameras(clips, None if packed else opt.fov)
        return cls(
            clips,
            Preprocessing.from_options(opt),
            cache,
            opt.clip_length,
            opt.frame_step,
            view="view" in opt.video_parts,
            pseudo_depth=pseudo,
        )

    def __init__(
        self,
        clips: list[Clip],
        preprocessing: Preprocessing,
        flow_cache: FlowCache | None = None,
        length: int = 3,
        step: int = 1,
        *,
        view: bool = False,
        pseudo_depth: PseudoDepth | None = None,
    ) -> None:
        self.preprocessing, self.flow_cache, self.pseudo_depth = preprocessing, flow_cache, pseudo_depth
        self.length, self.step = length, step
        self.clips = clips
        self.windows = [(c, s) for c, clip in enumerate(clips) for s in range(len(clip) - (length - 1) * step)]
        if not self.windows:
            longest = max(len(clip) for clip in clips)
            raise UserError(
                f"no clip has {(length - 1) * step + 1} frames (the longest of {len(clips)} has {longest}); "
                "use a smaller --clip_length or --frame_step"
            )
        self.intrinsics = [_camera_or_none(clip, guessing=True) for clip in clips]
        self.views = ClipViews() if view else None

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
        clip = self.clips[which]
        frames = clip.read(start, self.length, self.step)
        sample = {"frames": torch.stack([to_image_tensor(frame) for frame in frames])}
        if all(self.intrinsics):
            K, of_size = self.intrinsics[which]
            sample["intrinsics"] = torch.from_numpy(scale_intrinsics(K, of_size, frames[0].shape[:2])).float()
        sample = self.preprocessing.resize(sample)
        sample = self.preprocessing.pad(sample | self._made_beside(clip, start, grid_size(sample)))
        return sample if rng is None else self.preprocessing.augment(sample, rng)

    def _made_beside(self, clip: Clip, start: int, size: tuple[int, int]) -> Sample:
        """What does not come from the frames of the window themselves, at their ``size`` (H, W) for the network."""
        made: Sample = {}
        if self.flow_cache is not None:
            made |= self.flow_cache.read(clip, start, self.length - 1)
        if self.views is not None:
            made |= resize_sample({"view": self.views.of(clip)}, size)
        if self.pseudo_depth is not None:
            middle = start + (self.length - 1) // 2 * self.step
            depth = torch.from_numpy(self.pseudo_depth.read(clip, middle))[None]
            made |= resize_sample({"pseudo_depth": depth}, size)
        return made


class ClipViews:
    """Where the frames of each clip show what the camera sees, found when it is first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Tensor] = {}

    def of(self, clip: Clip) -> Tensor:
        """bool (1, H, W), from ``VIEW_FRAMES`` frames spread over the clip and, if there is one, its view file."""
        if clip.name not in self._known:
            view, told = find_view(_readable_frames(clip)), clip.view()
            view = view if told is None else view & resize_view(told, view.shape)
            self._known[clip.name] = torch.from_numpy(view)[None]
        return self._known[clip.name]


def _readable_frames(clip: Clip) -> list[np.ndarray]:
    """Frames spread over the clip; some that cannot be read spoil nothing but the samples that they are in.

    Raises:
        UserError, OSError: none of them can be read, or they differ in size.
    """
    frames, faults = [], []
    for index in np.linspace(0, len(clip) - 1, min(VIEW_FRAMES, len(clip))).astype(int):
        try:
            frames += clip.read(int(index), 1)
        except (UserError, OSError) as fault:
            faults.append(fault)
    if not frames:
        raise faults[0]
    sizes = sorted({frame.shape[:2] for frame in frames})
    if len(sizes) > 1:
        listed = " and ".join(f"{height}x{width}" for height, width in sizes)
        raise UserError(f"the frames of clip {clip.place} differ in size ({listed}); make clips of one size each")
    return frames


def with_cameras(clips: list[Clip], fov_deg: float | None) -> list[Clip]:
    """The clips, each with a pinhole camera: its own, or one of that horizontal field of view.

    Raises:
        UserError: a clip has none, and no field of view is given.
    """
    unknown = [clip for clip in clips if _camera_or_none(clip, fov_deg is not None) is None]
    if unknown and fov_deg is None:
        raise UserError(
            f"{len(unknown)} of {len(clips)} clips have no camera, e.g. {unknown[0].place}; write an "
            f"{INTRINSICS_JSON} beside their frames (before packing them), or give the endoscope's field of view by "
            "--fov DEGREES, with --learn_intrinsics where it is a guess"
        )
    names = {clip.name for clip in unknown}
    return [replace(clip, camera=guess_camera(clip, fov_deg)) if clip.name in names else clip for clip in clips]


def _camera_or_none(clip: Clip, guessing: bool) -> Intrinsics | None:
    """The clip's camera; one that bends lines is an error, or is none where the user gives a guess for such."""
    try:
        return read_clip_intrinsics(clip)
    except NoPinhole:
        if not guessing:
            raise
        return None


def guess_camera(clip: Clip, fov_deg: float) -> Intrinsics:
    """A pinhole that looks straight through the middle of the clip's frames."""
    size = clip.read(0, 1)[0].shape[:2]
    return Intrinsics(intrinsics_from_fov(fov_deg, size[1], size[0]), size)


def read_clip_intrinsics(clip: Clip) -> Intrinsics | None:
    """The clip's own camera, or that of an ``intrinsics.json`` beside the frames, if there is one."""
    path = clip.files[0].parent / INTRINSICS_JSON
    return clip.camera or (read_intrinsics(path) if path.is_file() else None)
