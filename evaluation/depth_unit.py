"""The unit in which depth is written and coloured: mm, or a median that is fixed once where depth has no mm."""

from dataclasses import dataclass

import numpy as np

from util.errors import UserError

FIRST_FRAME = "median of the first frame"
FIRST_TRUTH = "median of the first truth"
DISPLAY_MAX = 4.0  # depth of the darkest colour, in medians
STEP = 1 / 4096  # of 16-bit files, in medians: up to 16 of them


@dataclass(frozen=True)
class DepthUnit:
    """A unit of depth.

    Args:
        name: in words.
        display_max: depth of the darkest colour, in this unit.
        size: how much of what depth comes in is one of this unit.
    """

    name: str
    display_max: float
    size: float = 1.0

    @property
    def behind_numbers(self) -> str:
        """What stands behind a number, e.g. ``100 mm``."""
        return self.name if self.name == "mm" else f"× {self.name}"

    @property
    def on_bars(self) -> str:
        """The same where there is room for a word only."""
        return self.name if self.name == "mm" else ""

    def of(self, depth: np.ndarray) -> np.ndarray:
        """Depth in this unit."""
        return depth if self.size == 1.0 else depth / np.float32(self.size)


def median_unit(depth: np.ndarray, name: str) -> DepthUnit:
    """The median of this depth map (H, W), over what is above 0, as a unit.

    Raises:
        UserError: nothing is above 0.
    """
    above = depth[depth > 0]
    if not above.size:
        raise UserError(f"the depth has no scale of its own and is to be written by the {name}, which is 0 everywhere")
    return DepthUnit(name, DISPLAY_MAX, float(np.median(above)))
