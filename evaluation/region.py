"""Which pixels of a true depth map are judged, and the range of an aligned prediction: published conventions."""

from argparse import Namespace
from dataclasses import dataclass

import numpy as np

from util.errors import UserError

# Garg et al., ECCV 2016: rows from and to, columns from and to, as shares of height and width.
KITTI_SHARES = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
NYU_CROP, NYU_SIZE = (45, 471, 41, 601), (480, 640)  # Eigen et al., NeurIPS 2014

Crop = tuple[int, int, int, int]  # rows from TOP to BOTTOM, columns from LEFT to RIGHT, the ends not among them


@dataclass(frozen=True)
class EvalRegion:
    """What is judged; by default all pixels that have a truth, and predictions as they are.

    Args:
        min_mm, max_mm: true depth counts where min < gt < max [mm]; the aligned prediction is clamped to [min, max].
        crop: ``none``, ``kitti``, ``nyu``, or rows and columns.
    """

    min_mm: float | None = None
    max_mm: float | None = None
    crop: str | Crop = "none"

    @classmethod
    def from_options(cls, opt: Namespace) -> "EvalRegion":
        return cls(opt.min_eval_mm, opt.max_eval_mm, opt.eval_crop)

    def valid(self, gt_mm: np.ndarray) -> np.ndarray:
        """Where a true depth map (H, W) [mm] is judged, bool (H, W).

        Raises:
            UserError: the crop does not fit this size.
        """
        top, bottom, left, right = self.crop_of(*gt_mm.shape)
        valid = np.zeros(gt_mm.shape, bool)
        valid[top:bottom, left:right] = True
        valid &= np.isfinite(gt_mm) & (gt_mm > (self.min_mm or 0.0))
        return valid if self.max_mm is None else valid & (gt_mm < self.max_mm)

    def clamp(self, pred_mm: np.ndarray) -> np.ndarray:
        """An aligned prediction [mm] within the range; without one it stays as it is."""
        return pred_mm if self.min_mm is None and self.max_mm is None else pred_mm.clip(self.min_mm, self.max_mm)

    def crop_of(self, height: int, width: int) -> Crop:
        """Rows and columns that count in a picture of this size.

        Raises:
            UserError: the crop does not fit this size.
        """
        if self.crop == "none":
            return 0, height, 0, width
        if self.crop == "kitti":
            top, bottom, left, right = KITTI_SHARES
            return int(top * height), int(bottom * height), int(left * width), int(right * width)
        if self.crop == "nyu":
            if (height, width) != NYU_SIZE:
                raise UserError(
                    f"--eval_crop nyu is rows and columns of {NYU_SIZE[0]}x{NYU_SIZE[1]} pixels, but the truth has "
                    f"{height}x{width}; give TOP,BOTTOM,LEFT,RIGHT instead"
                )
            return NYU_CROP
        if self.crop[1] > height or self.crop[3] > width:
            raise UserError(f"--eval_crop {crop_text(self.crop)} reaches beyond the truth, which has {height}x{width}")
        return self.crop

    def facts(self) -> dict[str, str]:
        """What differs from judging everything, in words."""
        facts = {}
        if self.min_mm is not None or self.max_mm is not None:
            above = "" if self.min_mm is None else f"above {self.min_mm:g} mm"
            below = "" if self.max_mm is None else f"below {self.max_mm:g} mm"
            facts["judged depth"] = " and ".join(filter(None, (above, below)))
        if self.crop != "none":
            facts["judged crop"] = crop_text(self.crop)
        return facts


def crop_text(crop: str | Crop) -> str:
    """As it is written on the command line."""
    return crop if isinstance(crop, str) else ",".join(map(str, crop))
