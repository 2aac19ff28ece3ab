"""Exact optical flow and visibility between two frames of a rigid colon."""

from dataclasses import dataclass

import numpy as np

from data.phantom.camera import Intrinsics, transform, transform_inverse
from data.phantom.raycast import Raycaster

ROUNDING_PX = 1.0 / 128.0  # half a step of the flow files: what is stored as on the border is on it
MIN_DEPTH_MM = 0.5  # points nearer to the other camera's plane have no usable projection


@dataclass(frozen=True)
class TrueFlow:
    """Motion of the points seen in one frame to another frame.

    Attributes:
        flow: x and y motion [px], (H, W, 2); 0 where the point falls behind the other camera.
        defined: where ``flow`` means something, (H, W) bool.
        visible: where the other frame shows the same point, inside its picture, (H, W) bool.
    """

    flow: np.ndarray
    defined: np.ndarray
    visible: np.ndarray


def true_flow(
    raycaster: Raycaster,
    camera: Intrinsics,
    depth_mm: np.ndarray,
    world_from_here: np.ndarray,
    world_from_there: np.ndarray,
    inside: np.ndarray,
) -> TrueFlow:
    """Project the points of one frame into another and look whether tissue is in between.

        flow(x) = project(there_from_world world_from_here (depth K^-1 x)) - x

    Args:
        raycaster: casts the rays from the other camera to the points.
        camera: intrinsics of both frames.
        depth_mm: depth of this frame (H, W) [mm].
        world_from_here: pose of this frame (4, 4).
        world_from_there: pose of the other frame (4, 4).
        inside: the part of the picture that is not black, the same in both frames, (H, W) bool.
    """
    x, y = camera.pixel_grid()
    points = transform(world_from_here, camera.unproject(x, y) * depth_mm.reshape(-1, 1))
    there_x, there_y, there_z = camera.project(transform_inverse(world_from_there, points))
    defined = there_z > MIN_DEPTH_MM
    seen = defined & inside.reshape(-1) & _lands_inside(inside, there_x, there_y)
    visible = np.zeros(len(x), bool)
    visible[seen] = raycaster.is_visible(world_from_there[:3, 3], points[seen])
    flow = np.where(defined[:, None], np.stack([there_x - x, there_y - y], axis=1), 0.0)
    shape = depth_mm.shape
    return TrueFlow(flow.reshape(*shape, 2), defined.reshape(shape), visible.reshape(shape))


def _lands_inside(inside: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """True where (x, y) lies between pixel centres of the picture and its nearest pixel is inside the view."""
    height, width = inside.shape
    within = (x >= -ROUNDING_PX) & (x <= width - 1 + ROUNDING_PX)
    within &= (y >= -ROUNDING_PX) & (y <= height - 1 + ROUNDING_PX)
    column = np.clip(np.round(np.where(within, x, 0.0)).astype(int), 0, width - 1)
    row = np.clip(np.round(np.where(within, y, 0.0)).astype(int), 0, height - 1)
    return within & inside[row, column]
