"""Optical flow of clips, computed once and kept beside the data: training only reads it.

``<cache>/<estimator>_<size>_step<k>/<clip>/`` holds ``flow.npy``, float16 (N, 2, 2, H, W): pair, forward and backward,
(x, y) in pixels of the resized frames; ``mask.npy``, bool (N, 2, 1, H, W): where the flow there and back agree and both
ends lie in the view; and ``source.json``, written last: what the two were made from.
"""

import hashlib
import json
import sys
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.array_files import array_writer
from data.base_dataset import to_image_tensor
from data.clips import Clip
from data.transforms import Preprocessing, resize_picture
from data.view_mask import find_view, resize_view
from models.geometry.flow import (
    FlowEstimator,
    create_flow_estimator,
    forward_backward_mask,
    inside_image,
    warp,
)
from util.errors import UserError
from util.files import atomic_path, remove_partial_files, write_text
from util.progress import progress_bar

FORMAT = 1  # of the files below; a change makes caches of before be computed anew
METHODS = ("auto", "raft_large", "raft_small", "dis")
ABANDONED_S = 86400.0  # a half-written file that nobody has written to for so long is of a killed process [s]


def add_options(parser: ArgumentParser, more_methods: tuple[str, ...] = ()) -> None:
    """Which flow is computed, and where it is kept."""
    parser.add_argument("--frame_step", type=int, default=1, help="distance between the frames of a clip")
    parser.add_argument(
        "--flow", choices=(*METHODS, *more_methods), default="auto", help="estimator; auto: RAFT with CUDA, else DIS"
    )
    parser.add_argument("--flow_weights", type=Path, help="file of RAFT weights; without it they are downloaded")
    parser.add_argument("--flow_cache", type=Path, help="where flow is kept; default: flow_cache/ beside the clips")


class FlowCache:
    """Flow and masks between frame i and i + step of each clip, at the size of ``preprocessing``.

    Args:
        folder: where the cache lies.
        preprocessing: gives the size of the frames.
        step: distance of the two frames of a pair.
    """

    def __init__(self, folder: Path, preprocessing: Preprocessing, step: int = 1) -> None:
        self.folder = folder
        self.preprocessing = preprocessing
        self.step = step

    @classmethod
    def filled(
        cls, opt: Namespace, root: Path, clips: Sequence[Clip], estimator: FlowEstimator, kind: str = ""
    ) -> "FlowCache":
        """The cache that options ask for, with the flow of all clips; computed on the first GPU if there is one.

        Args:
            opt: of ``add_options`` and ``Preprocessing``, and ``gpu_ids``.
            root: folder of the clips.
            clips: those in it.
            estimator: see ``make_flow_estimator``.
            kind: what was done to their frames, when they are not as the files show them.

        Raises:
            UserError: see ``fill``.
        """
        preprocessing = Preprocessing.from_options(opt)
        size = preprocessing.load_size
        size = f"{size}x{preprocessing.load_height}" if preprocessing.load_height else f"{size}"
        name = f"{estimator.name}_{preprocessing.mode}{size}_step{opt.frame_step}{kind}"
        folder = (opt.flow_cache or root.parent / "flow_cache") / root.name / name
        cache = cls(folder, preprocessing, opt.frame_step)
        cache.fill(clips, estimator, torch.device("cuda", opt.gpu_ids[0]) if opt.gpu_ids else torch.device("cpu"))
        return cache

    def fill(self, clips: Sequence[Clip], estimator: FlowEstimator, device: torch.device) -> None:
        """Compute what is missing or was made from other files; shows progress when there is something to do.

        Raises:
            UserError: a frame cannot be read, or the frames of a clip differ in size.
        """
        remove_partial_files(self.folder, ABANDONED_S)  # not all: another run may be filling this cache just now
        usable = [clip for clip in clips if self.num_pairs(clip) > 0]
        missing = [clip for clip in usable if not self._is_current(clip, estimator.fingerprint)]
        if not missing:
            return
        with progress_bar(sum(self.num_pairs(clip) for clip in missing), f"flow ({estimator.name})", "pairs") as bar:
            for clip in missing:
                self._compute(clip, estimator, device, bar.update)

    def num_pairs(self, clip: Clip) -> int:
        return max(0, len(clip) - self.step)

    def read(self, clip: Clip, first: int, count: int) -> dict[str, Tensor]:
        """Flow of the pairs (first, first + step), (first + step, first + 2 step), ..., ``count`` of them.

        Returns:
            ``flow_fwd``, ``flow_bwd`` float32 (count, 2, H, W) [px]; ``mask_fwd``, ``mask_bwd`` bool (count, 1, H, W).
        """
        rows = slice(first, first + count * self.step, self.step)
        flow = torch.from_numpy(np.load(self._at(clip) / "flow.npy", mmap_mode="r")[rows].astype(np.float32))
        mask = torch.from_numpy(np.load(self._at(clip) / "mask.npy", mmap_mode="r")[rows].copy())
        return {"flow_fwd": flow[:, 0], "flow_bwd": flow[:, 1], "mask_fwd": mask[:, 0], "mask_bwd": mask[:, 1]}

    def _at(self, clip: Clip) -> Path:
        return self.folder / clip.name

    def _is_current(self, clip: Clip, fingerprint: str) -> bool:
        folder = self._at(clip)
        try:
            source = json.loads((folder / "source.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return source == self._source(clip, fingerprint) and (folder / "flow.npy").is_file()

    def _source(self, clip: Clip, fingerprint: str) -> dict[str, object]:
        """What the flow of a clip is made from; names and sizes stand for the frames' content."""
        stats = [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in clip.stats()]
        frames = hashlib.sha256(json.dumps(stats).encode()).hexdigest()
        height = self.preprocessing.load_height
        work = [self.preprocessing.mode, self.preprocessing.load_size, self.step, *([height] if height else [])]
        source = {"format": FORMAT, "estimator": fingerprint, "frames": frames, "work": work}
        if clip.view_file is None:
            return source
        return source | {"view": hashlib.sha256(clip.view_file.read_bytes()).hexdigest()}

    def _compute(
        self, clip: Clip, estimator: FlowEstimator, device: torch.device, advance: Callable[[int], object]
    ) -> None:
        """Flow and masks of a clip, written pair by pair: a whole film would not fit into memory."""
        source, folder = self._source(clip, estimator.fingerprint), self._at(clip)
        view = self._view(clip)
        (folder / "source.json").unlink(missing_ok=True)
        with atomic_path(folder / "flow.npy") as flow_path, atomic_path(folder / "mask.npy") as mask_path:
            shape = (self.num_pairs(clip), 2, 2, *view.shape)
            with (
                array_writer(flow_path, np.float16, shape) as add_flow,
                array_writer(mask_path, np.bool_, (*shape[:2], 1, *view.shape)) as add_mask,
            ):
                for src, tgt in pairs_of(self._frames(clip), self.step):
                    flow = flow_both_ways(estimator, src[None].to(device), tgt[None].to(device)).half()
                    # The mask belongs to the flow as it is kept.
                    mask = pair_masks(flow.float(), torch.from_numpy(view).to(device))
                    add_flow(flow.cpu().numpy())
                    add_mask(mask.cpu().numpy())
                    advance(1)
        write_text(folder / "source.json", json.dumps(source) + "\n")

    def _view(self, clip: Clip) -> np.ndarray:
        """Where all frames of a clip show what the camera sees, at their size here: bool (H, W)."""
        view = find_view(frame.permute(1, 2, 0).numpy() for frame in self._frames(clip))
        known = clip.view()
        return view if known is None else view & resize_view(known, view.shape)

    def _frames(self, clip: Clip) -> Iterator[Tensor]:
        """The frames one by one, (3, H, W) in [0, 1], resized as in training."""
        first = clip.read(0, 1)[0].shape
        for index in range(len(clip)):
            picture = to_image_tensor(clip.read(index, 1)[0])
            if picture.shape[-2:] != first[:2]:
                raise UserError(
                    f"the frames of clip {clip.place} differ in size: the first is {first[0]}x{first[1]} pixels, "
                    f"{clip.files[index].name} {picture.shape[-2]}x{picture.shape[-1]}"
                )
            yield (resize_picture(picture, self.preprocessing.size_of(*first[:2])) + 1) / 2


def make_flow_estimator(opt: Namespace) -> FlowEstimator:
    """The estimator that ``--flow`` names; ``auto`` is RAFT on a GPU or with weights at hand, else DIS.

    On a GPU whose machine cannot download RAFT's weights, ``auto`` falls back to DIS and says so.

    Raises:
        UserError: the weights do not fit, or cannot be downloaded for an estimator that was asked for.
    """
    if opt.flow != "auto":
        return create_flow_estimator(opt.flow, opt.flow_weights)
    if opt.flow_weights or opt.gpu_ids:
        try:
            return create_flow_estimator("raft_large", opt.flow_weights)
        except UserError as error:
            if opt.flow_weights:
                raise
            sys.stderr.write(f"{error}; going on with --flow dis\n")
    return create_flow_estimator("dis")


def pairs_of(frames: Iterator[Tensor], step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame with the one ``step`` later; holds no more than is needed for that."""
    window: deque[Tensor] = deque(maxlen=step + 1)
    for frame in frames:
        window.append(frame)
        if len(window) == step + 1:
            yield window[0], window[-1]


def flow_both_ways(estimator: FlowEstimator, src: Tensor, tgt: Tensor) -> Tensor:
    """Forward and backward flow [px] of one pair (1, 3, H, W) in [0, 1]: (2, 2, H, W)."""
    return torch.cat([estimator(src, tgt), estimator(tgt, src)])


def pair_masks(flow: Tensor, view: Tensor) -> Tensor:
    """Where both frames of a pair see the point, and see it inside the view.

    Args:
        flow: forward and backward [px], (2, 2, H, W).
        view: bool (H, W), shared by both frames.

    Returns:
        bool (2, 1, H, W), on the grid of the first frame and of the second.
    """
    inside_view = view.float().expand(2, 1, -1, -1)
    lands_in_view = warp(inside_view, flow, padding="zeros") > 0.99
    return forward_backward_mask(flow, flow.flip(0)) & inside_image(flow) & lands_in_view & view
