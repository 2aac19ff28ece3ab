"""A method as a function from frames to depth maps, whatever their size."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from data.base_dataset import to_image_tensor
from data.transforms import Preprocessing, crop_middle
from models.base_model import BaseModel
from util.errors import UserError
from util.precision import Precision


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

    def _prepare(self, frame: np.ndarray) -> Tensor:
        sample = self.preprocessing.resize({"image": to_image_tensor(frame)})
        return self.preprocessing.pad(sample)["image"]

    def _restore(self, depth: Tensor, size: tuple[int, int]) -> np.ndarray:
        """(1, h, w) on the device to (H, W)."""
        depth = crop_middle(depth, self.preprocessing.size_of(*size))
        if depth.shape[-2:] != size:
            depth = interpolate(depth[None], size, mode="bilinear", align_corners=False)[0]
        return depth[0].cpu().numpy()
