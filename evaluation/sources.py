"""Where the frames of a test come from: a split, clips, a folder, a picture or a video, with truth or without."""

from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from data.clip_truth import ClipTruth
from data.clips import VIDEO_SUFFIXES, Clip
from data.clips_dataset import read_clip_intrinsics
from data.depth_files import find_encoding, read_depth_mm
from data.formats import open_clips
from data.image_files import IMAGE_SUFFIXES, natural_key, read_rgb
from data.pairing import find_pairs
from data.pairs_dataset import PairsDataset
from evaluation.frame import Frame, PairFlow, Source
from evaluation.sfm_source import PREFIX, sfm_source
from util.errors import UserError
from util.intrinsics import Intrinsics, NoPinhole, intrinsics_from_fov, read_intrinsics, scale_intrinsics
from util.video_files import read_video_frames, video_info

Camera = Callable[[Clip, tuple[int, int]], Intrinsics | None]  # of a clip's frames of a size (H, W)


def open_source(opt: Namespace) -> Source:
    """The source that ``--input`` (with ``--truth``) or ``--phase`` names.

    Raises:
        FileNotFoundError, UserError: it is not there, empty, or of no known kind.
    """
    if opt.input is None:
        if opt.phase.startswith(PREFIX):
            return sfm_source(opt, opt.phase.removeprefix(PREFIX))
        if not opt.phase.startswith("video_"):
            return split_source(opt)

        def camera(clip: Clip, size: tuple[int, int]) -> Intrinsics | None:
            return given_camera(opt, size) or clip_camera(clip, size)

        return clips_source(opt.dataroot, opt.phase, camera, always=needs_points(opt))
    if opt.input.is_dir():
        return folder_source(opt.input, opt.truth, opt.depth_format, opt.temporal)
    if opt.input.suffix.lower() in VIDEO_SUFFIXES:
        if opt.truth is not None:
            raise UserError(
                f"--truth {opt.truth}: the depth of a video cannot be paired by name; cut it into frames first: "
                f"ffmpeg -i {opt.input} FOLDER/%06d.png"
            )
        return video_source(opt.input)
    if opt.input.suffix.lower() in IMAGE_SUFFIXES:
        return picture_source(opt.input, opt.truth, opt.depth_format)
    known = ", ".join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
    raise UserError(f"--input {opt.input} is neither a folder, a picture nor a video (known: {known})")


def needs_points(opt: Namespace) -> bool:
    """Whether depth becomes points, which need a camera."""
    return opt.save_ply or opt.protocol == "registration"


def given_camera(opt: Namespace, size: tuple[int, int]) -> Intrinsics | None:
    """The camera that ``--intrinsics`` or ``--fov`` describes, for frames of ``size`` (H, W)."""
    if getattr(opt, "intrinsics", None) is not None:  # a training has no such option
        return read_intrinsics(opt.intrinsics)
    if getattr(opt, "fov", None) is not None:
        return Intrinsics(intrinsics_from_fov(opt.fov, size[1], size[0]), size)
    return None


def clip_camera(clip: Clip, size: tuple[int, int]) -> Intrinsics | None:
    """The pinhole camera that is known of the clip itself."""
    try:
        return read_clip_intrinsics(clip)
    except NoPinhole:
        return None


def split_source(opt: Namespace) -> Source:
    """A split of pairs; with ``--temporal`` the frames of a sequence are a clip, with poses where they are known."""
    dataset = PairsDataset.from_options(opt, opt.phase)
    relative = dataset.source.relative(dataset.items[0])

    def frames() -> Iterator[Frame]:
        for index in range(len(dataset)):
            name, rgb, gt_mm = dataset.raw(index)
            item, size = dataset.items[index], gt_mm.shape
            clip = (item.sequence or opt.phase) if opt.temporal else None
            pose = dataset.source.pose(item) if opt.temporal else None
            K = None
            if needs_points(opt) or pose is not None:
                K = _scaled(given_camera(opt, size) or dataset.source.camera(item, size), size)
            yield Frame(name, rgb, gt_mm, clip, pose=pose, K=K)

    return Source(opt.phase, frames, len(dataset), opt.dataroot, relative)


def clips_source(dataroot: Path, split: str, camera: Camera = clip_camera, *, always: bool = False) -> Source:
    """The clips of a split, with the truth for judging where the set has it.

    Args:
        dataroot: folder of the data set.
        split: e.g. ``video_test``.
        camera: gives that of a clip; asked for where poses are known.
        always: ask for it also where they are not.
    """
    clips = open_clips(dataroot / split)

    def frames() -> Iterator[Frame]:
        for clip in clips:
            truth = ClipTruth(dataroot, split, clip)
            poses, K_of = truth.poses(), _cameras_of(clip, camera)
            for index, rgb in enumerate(clip_frames(clip)):
                name = f"{clip.name}/{index if clip.side_by_side else clip.files[index].stem}"
                known: dict[str, Any] = {}
                if truth.exists():
                    flow = PairFlow(*truth.flow_fwd(index)) if index + 1 < len(clip) else None
                    known |= {"gt_mm": truth.depth_mm(index), "flow_to_next": flow}
                if poses is not None or always:
                    known |= {"pose": None if poses is None else poses[index], "K": K_of(rgb.shape[:2])}
                yield Frame(name, rgb, clip=clip.name, **known)

    return Source(split, frames, sum(map(len, clips)), clips[0].files[0].parent)


def _cameras_of(clip: Clip, camera: Camera) -> Callable[[tuple[int, int]], np.ndarray | None]:
    """K for a clip's frames of a size (H, W); each is looked up once."""
    return cache(lambda size: _scaled(camera(clip, size), size))


def _scaled(camera: Intrinsics | None, size: tuple[int, int]) -> np.ndarray | None:
    """K for frames of ``size`` (H, W)."""
    return None if camera is None else scale_intrinsics(camera.K, camera.size, size)


def clip_frames(clip: Clip) -> Iterator[np.ndarray]:
    """One frame after the other, RGB in [0, 1] (H, W, 3): a whole film would not fit into memory."""
    return (clip.read(index, 1)[0] for index in range(len(clip)))


def folder_source(folder: Path, truth: Path | None, depth_format: str, temporal: bool) -> Source:
    """A folder of frames; depth maps beside them (by the name rules) or in ``truth`` are the truth."""
    pairing = find_pairs(folder, truth or folder)
    truth_of = dict(pairing.pairs)
    files = sorted([*truth_of, *pairing.frames_alone], key=natural_key)
    if not files:
        raise FileNotFoundError(f"no frames in {folder} (looked for {', '.join(IMAGE_SUFFIXES)})")
    if truth is not None and not truth_of:
        raise UserError(
            f"no depth map in {truth} belongs to a frame in {folder}; they pair by name, e.g. the same stem"
        )

    doubled = [stem for stem, count in Counter(file.stem for file in files).items() if count > 1]

    def frames() -> Iterator[Frame]:
        for file in files:
            name = file.name if file.stem in doubled else file.stem
            yield _frame(name, file, truth_of.get(file), depth_format, clip=folder.name if temporal else None)

    relative = bool(truth_of) and find_encoding(truth_of[min(truth_of)], depth_format, bits=8).relative
    facts = {"frames without truth": str(len(pairing.frames_alone))} if truth_of and pairing.frames_alone else {}
    return Source(folder.resolve().name, frames, len(files), folder, relative, facts=facts)


def picture_source(file: Path, truth: Path | None, depth_format: str) -> Source:
    """One frame; ``truth`` may be its depth map or the folder of it."""
    folder = truth or file.parent
    depth = truth if truth is not None and truth.is_file() else dict(find_pairs(file.parent, folder).pairs).get(file)
    if truth is not None and depth is None:
        raise UserError(f"no depth map in {truth} belongs to {file}; they pair by name, e.g. the same stem")
    relative = depth is not None and find_encoding(depth, depth_format, bits=8).relative
    return Source(
        file.stem, lambda: iter([_frame(file.stem, file, depth, depth_format, None)]), 1, file.parent, relative
    )


def video_source(file: Path) -> Source:
    """The frames of a video file."""
    info = video_info(file)

    def frames() -> Iterator[Frame]:
        for index, rgb in enumerate(read_video_frames(file)):
            yield Frame(f"{index:06d}", rgb.astype(np.float32) / 255.0, clip=file.stem)

    return Source(file.stem, frames, info.num_frames, file.parent, fps=info.fps)


def _frame(name: str, file: Path, depth: Path | None, depth_format: str, clip: str | None) -> Frame:
    rgb = read_rgb(file)
    gt_mm = None if depth is None else read_depth_mm(depth, depth_format)
    if gt_mm is not None and gt_mm.shape != rgb.shape[:2]:
        raise UserError(
            f"{file} is {rgb.shape[0]}x{rgb.shape[1]} pixels, its depth map {depth} {gt_mm.shape[0]}x{gt_mm.shape[1]}"
        )
    return Frame(name, rgb, gt_mm, clip)
