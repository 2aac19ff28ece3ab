"""A method as a function from frames to depth maps, whatever their size, and from two frames to the camera's motion."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from data.base_dataset import to_image_tensor
from data.transforms import Preprocessing, crop_middle
from models import create_model
from models.base_model import BaseModel
from util.errors import UserError
from util.precision import Precision, choose_precision
from util.run_state import load_pretrained


class Predictor:
    """Resizes frames as in training, predicts, and brings the depth back to the frames' size.

    Args:
        method: its ``predict`` is called in evaluation mode.
        preprocessing: that of the training.
        device: where the method is.
        precision: of the networks; depth comes out as float32 whatever it is.
    """

    def __init__(
        self, method: BaseModel, preprocessing: Preprocessing, device: torch.device, precision: Precision | None = None
    ) -> None:
        self.method, self.preprocessing, self.device = method, preprocessing, device
        self.precision = precision or Precision("fp32", device)

    @property
    def metric(self) -> bool:
        """Whether the depth is in mm, or has one unknown scale."""
        return self.method.metric

    @property
    def predicts_motion(self) -> bool:
        """Whether ``motions`` can be asked for."""
        return self.method.predicts_motion

    @torch.no_grad()
    def __call__(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Depth of RGB frames in [0, 1], (H, W, 3) each: float32 (H, W) in the method's unit.

        Raises:
            UserError: it is not finite, since the weights are spoiled.
        """
        self.method.eval()
        pictures = [self._prepare(frame) for frame in frames]
        sizes = [picture.shape[-2:] for picture in pictures]
        if len(set(sizes)) > 1:  # frames of different sizes make no batch
            return [depth for frame in frames for depth in self([frame])]
        with self.precision.autocast():
            depths = self.method.predict(torch.stack(pictures).to(self.device)).float()
        if not depths.isfinite().all():
            raise UserError("the predicted depth is not finite: these weights are spoiled; take an earlier checkpoint")
        return [self._restore(depth, frame.shape[:2]) for depth, frame in zip(depths, frames, strict=True)]

    @torch.no_grad()
    def motions(
        self, frames_tgt: Sequence[np.ndarray], frames_src: Sequence[np.ndarray], K: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """The camera's motion between frames: ``src_from_tgt``, float64 (4, 4) each.

        Args:
            frames_tgt, frames_src: RGB in [0, 1], (H, W, 3) each.
            K: of both frames of a pair, at their size, (3, 3) each [px].

        Returns:
            Translation is in the unit of the method's depth.

        Raises:
            ValueError: the method does not predict motion.
            UserError: the frames of a pair differ in size, or a motion is not finite, since the weights are spoiled.
        """
        if not self.predicts_motion:
            raise ValueError(f"{type(self.method).__name__} does not predict the camera's motion")
        pairs = list(zip(frames_tgt, frames_src, K, strict=True))
        for tgt, src, _ in pairs:
            if tgt.shape != src.shape:
                sizes = ["x".join(map(str, frame.shape[:2])) for frame in (tgt, src)]
                raise UserError(f"frames of one clip are {sizes[0]} and {sizes[1]} pixels: there is no motion between")
        if len({tgt.shape for tgt, _, _ in pairs}) > 1:  # frames of different sizes make no batch
            return [motion for pair in pairs for motion in self.motions(*[[part] for part in pair])]
        self.method.eval()
        tgt, src, cameras = (torch.stack(parts).to(self.device) for parts in self._prepare_pairs(pairs))
        # Not in half precision: along a path the roundings of its motions add up.
        motions = self.method.predict_motion(tgt, src, cameras).double().cpu().numpy()
        if not np.isfinite(motions).all():
            raise UserError("the predicted motion is not finite: these weights are spoiled; take an earlier checkpoint")
        return list(motions)

    def _prepare_pairs(self, pairs: Sequence[tuple[np.ndarray, ...]]) -> list[tuple[Tensor, ...]]:
        """Target frames, source frames and cameras, as the network sees them."""
        prepared = []
        for tgt, src, K in pairs:
            frames = torch.stack([to_image_tensor(tgt), to_image_tensor(src)])
            sample = self.preprocessing.resize({"frames": frames, "intrinsics": torch.from_numpy(K).float()})
            sample = self.preprocessing.pad(sample)
            prepared.append((*sample["frames"], sample["intrinsics"]))
        return list(zip(*prepared, strict=True))

    def _prepare(self, frame: np.ndarray) -> Tensor:
        sample = self.preprocessing.resize({"image": to_image_tensor(frame)})
        return self.preprocessing.pad(sample)["image"]

    def _restore(self, depth: Tensor, size: tuple[int, int]) -> np.ndarray:
        """(1, h, w) on the device to (H, W)."""
        depth = crop_middle(depth, self.preprocessing.size_of(*size))
        if depth.shape[-2:] != size:
            depth = interpolate(depth[None], size, mode="bilinear", align_corners=False)[0]
        return depth[0].cpu().numpy()


def trained_predictor(opt: Namespace) -> tuple[Predictor, dict[str, Any]]:
    """The trained networks that resolved options (``TrainedOptions``) name, and the facts that are kept with them.

    Raises:
        FileNotFoundError, UserError: the file is not there, is damaged, or does not fit the method.
    """
    device = torch.device("cuda", opt.gpu_ids[0]) if opt.gpu_ids else torch.device("cpu")
    method = create_model(opt)
    facts = load_pretrained(method, opt.checkpoint_file, ema=opt.use_ema)
    precision = choose_precision(opt.precision, device)
    precision.set_backends()
    return Predictor(method.to(device), Preprocessing.from_options(opt), device, precision), facts
