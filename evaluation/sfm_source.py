"""Frames of clips with structure from motion, as a source of a test: its points judge where there is no other truth."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.clip_truth import ClipTruth
from data.clips import Clip
from data.image_files import read_rgb
from data.sfm.clip import INSIDE, SfmClip
from data.sfm.drawing import one_a_pixel, points_in_sight
from data.sfm.split import Block
from data.sfm_pairs_dataset import open_blocks, sfm_folder
from evaluation.frame import Frame, Source, SparseTruth
from util.errors import UserError

PREFIX = "sfm_"  # of phases: sfm_test are the clips, or the part of --sfm_root, that are for testing


def sfm_source(opt: Namespace, phase: str) -> Source:
    """The frames of a phase (``train``, ``eval``, ``test``) of ``--sfm_root``, or of ``<dataroot>/sfm_<phase>``.

    Where ``<dataroot>/truth/video_<phase>/<clip>`` has true depth (the embedded phantom), that is there as well.

    Raises:
        FileNotFoundError, UserError: there are no such clips, or one cannot be read.
    """
    blocks = open_blocks(opt, phase)

    def frames() -> Iterator[Frame]:
        for block in blocks:
            yield from block_frames(block, opt.dataroot if opt.sfm_root is None else None, f"video_{phase}")

    count = sum(len(block.views) for block in blocks)
    folder = sfm_folder(opt, phase)
    return Source(f"{PREFIX}{phase}", frames, count, folder, facts={"input": str(folder)})


def block_frames(block: Block, dataroot: Path | None = None, split: str = "") -> Iterator[Frame]:
    """The frames of a block in order.

    Args:
        block: of an SfM clip.
        dataroot, split: where true depth of a clip of that name may be (``data.clip_truth``); None: nowhere.

    Raises:
        UserError: a frame cannot be read, or has another size than the clip's camera.
    """
    clip, views = block.clip, block.views.tolist()
    known = Clip(clip.name, tuple(clip.frames[view] for view in views))
    truth = None if dataroot is None else ClipTruth(dataroot, split, known)
    for index, (view, file) in enumerate(zip(views, known.files, strict=True)):
        rgb = read_rgb(file)
        if rgb.shape[:2] != clip.camera.size:
            raise UserError(f"{file} is {rgb.shape[:2]} pixels, but the camera of {clip.folder} {clip.camera.size}")
        gt_mm = truth.depth_mm(index) if truth is not None and truth.exists() else None
        sparse = sparse_truth(clip, view)
        yield Frame(f"{block.name}/{file.stem}", rgb, gt_mm, block.name, K=clip.camera.K, sparse=sparse)


def sparse_truth(clip: SfmClip, view: int) -> SparseTruth:
    """The points that a view was used to triangulate, at full size."""
    begin, end = np.searchsorted(clip.observations[:, 0], [view, view + 1])
    points = clip.observations[begin:end, 1]
    drawn = one_a_pixel(points_in_sight(clip.in_camera(view, points), points, clip.camera.K, clip.mask))
    pixels = np.stack(np.divmod(drawn.pixels, clip.camera.size[1]), axis=1)
    return SparseTruth(pixels, drawn.depth, clip.poses[view], clip.mask == INSIDE, view)
