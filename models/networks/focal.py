"""Focal lengths that are learned, for endoscopes without a calibration."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPEED = 10.0  # the weights change by about the learning rate a step, but a focal length may be off by half


class FocalLengths(nn.Module):
    """Two factors on the focal lengths of a guessed camera, the same for all frames.

        fx' = fx exp(10 w_x),    fy' = fy exp(10 w_y)

    The principal point stays where the guess has it: it can hardly be told from a turn of the camera. A factor is the
    same in pictures that were resized, cropped or mirrored, whose K follows them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_factor = nn.Parameter(torch.zeros(2))

    def forward(self, K: Tensor) -> Tensor:
        """K (B, 3, 3) [px] with other focal lengths."""
        return K * (1 + torch.diag(F.pad(self.factors() - 1, (0, 1))))

    def factors(self) -> Tensor:
        """(2,): on fx and on fy."""
        return (SPEED * self.log_factor).exp()
