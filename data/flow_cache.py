"""Optical flow of clips, computed once and kept beside the data: training only reads it.

``<cache>/<estimator>_<size>_step<k>/<clip>/`` holds ``flow.npy``, float16 (N, 2, 2, H, W): pair, forward and backward,
(x, y) in pixels of the resized frames; ``mask.npy``, bool (N, 2, 1, H, W): where the flow there and back agree and both
ends lie in the view; and ``source.json``, written last: what the two were made from.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.base_dataset import to_image_tensor
from data.clips import Clip
from data.transforms import Preprocessing, resize_picture
from data.view_mask import find_view
from models.geometry.flow import FlowEstimator, forward_backward_mask, inside_image, warp
from util.files import atomic_path, write_text
from util.progress import progress_bar

FORMAT = 1  # of the files below; a change makes caches of before be computed anew


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

    def fill(self, clips: Sequence[Clip], estimator: Callable[[], FlowEstimator], device: torch.device) -> None:
        """Compute what is missing or was made from other files; shows progress when there is something to do."""
        built = estimator()
        missing = [clip for clip in clips if not self._is_current(clip, built.fingerprint)]
        if not missing:
            return
        with progress_bar(sum(self.num_pairs(clip) for clip in missing), f"flow ({built.name})", "pairs") as bar:
            for clip in missing:
                self._compute(clip, built, device, bar.update)

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
        try:
            return json.loads((self._at(clip) / "source.json").read_text()) == self._source(clip, fingerprint)
        except (OSError, ValueError):
            return False

    def _source(self, clip: Clip, fingerprint: str) -> dict[str, object]:
        """What the flow of a clip is made from; names and sizes stand for the frames' content."""
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in clip.files]
        frames = hashlib.sha256(json.dumps(stats).encode()).hexdigest()
        work = [self.preprocessing.mode, self.preprocessing.load_size, self.step]
        return {"format": FORMAT, "estimator": fingerprint, "frames": frames, "work": work}

    def _compute(
        self, clip: Clip, estimator: FlowEstimator, device: torch.device, advance: Callable[[int], object]
    ) -> None:
        frames = [self._frame(clip, index) for index in range(len(clip))]
        view = torch.from_numpy(find_view(((frame + 1) / 2).permute(1, 2, 0).numpy() for frame in frames)).to(device)
        flows, masks = [], []
        for index in range(self.num_pairs(clip)):
            src, tgt = ((frames[i][None].to(device) + 1) / 2 for i in (index, index + self.step))
            flow = torch.cat([estimator(src, tgt), estimator(tgt, src)])  # (2, 2, H, W): forward, backward
            flow = flow.half().float()  # the mask belongs to the flow as it is kept
            flows.append(flow.half().cpu().numpy())
            masks.append(pair_masks(flow, view).cpu().numpy())
            advance(1)
        self._write(clip, np.stack(flows), np.stack(masks), self._source(clip, estimator.fingerprint))

    def _frame(self, clip: Clip, index: int) -> Tensor:
        """(3, H, W) in [-1, 1], resized as in training."""
        picture = to_image_tensor(clip.read(index, 1)[0])
        return resize_picture(picture, self.preprocessing.size_of(*picture.shape[-2:]))

    def _write(self, clip: Clip, flow: np.ndarray, mask: np.ndarray, source: dict[str, object]) -> None:
        (self._at(clip) / "source.json").unlink(missing_ok=True)
        for name, array in (("flow", flow), ("mask", mask)):
            with atomic_path(self._at(clip) / f"{name}.npy") as temporary:
                np.save(temporary, array)
        write_text(self._at(clip) / "source.json", json.dumps(source) + "\n")


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
