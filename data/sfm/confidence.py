"""How far each SfM point is trusted: the sparse soft mask (Liu et al., CARE 2018, Eq. 2)."""

from collections.abc import Callable

import numpy as np

from data.sfm.clip import SfmClip, project_points

FRAMES_SCALE = 5.0  # views; of the 2018 code


def point_confidence(clip: SfmClip, mode: str = "frames_parallax") -> np.ndarray:
    """Confidence c_i of each point, float64 (N,), by one of ``CONFIDENCES``.

    With n_i the views that point i was triangulated from, a_i its accumulated parallax and a_0 the median of a:

        frames_parallax:  (1 - exp(-n_i / 5)) (1 - exp(-a_i / a_0))
        frames:           1 - exp(-n_i / 5)                   of the 2018 code
        product:          n_i a_i / max_k n_k a_k             the paper to the letter
        binary:           1                                   of the 2022 code

    The paper says that c grows with n and a, and prints no formula. A loss with these weights depends on their ratios
    only.

    Raises:
        ValueError: the mode is unknown; lists the known ones.
    """
    if mode not in CONFIDENCES:
        raise ValueError(f"unknown soft mask {mode!r}, known are: {', '.join(CONFIDENCES)}")
    return CONFIDENCES[mode](clip)


def accumulated_parallax(clip: SfmClip) -> np.ndarray:
    """a_i, the way of each point's projection through the views of its track, in frame order [px of the frames], (N,).

    a_i = sum over consecutive views (v, w) of its track of |pi_w(X_i) - pi_v(X_i)|; a step out of sight counts 0.
    """
    order = np.lexsort((clip.observations[:, 0], clip.observations[:, 1]))
    views, points = clip.observations[order].T
    extrinsics = clip.cam_from_world[views]  # (M, 4, 4)
    in_camera = np.einsum("mij,mj->mi", extrinsics[:, :3, :3], clip.points[points]) + extrinsics[:, :3, 3]
    pixels = project_points(in_camera, clip.camera.K)
    steps = np.nan_to_num(np.linalg.norm(np.diff(pixels, axis=0), axis=1))
    same = points[1:] == points[:-1]
    return np.bincount(points[1:][same], steps[same], minlength=len(clip.points))


def _frames(clip: SfmClip) -> np.ndarray:
    return 1 - np.exp(-clip.track_lengths / FRAMES_SCALE)


def _frames_parallax(clip: SfmClip) -> np.ndarray:
    parallax = accumulated_parallax(clip)
    typical = np.median(parallax)
    return _frames(clip) * (1 - np.exp(-parallax / typical)) if typical > 0 else _frames(clip)


def _product(clip: SfmClip) -> np.ndarray:
    product = clip.track_lengths * accumulated_parallax(clip)
    return product / product.max() if product.max() > 0 else np.ones(len(clip.points))


def _binary(clip: SfmClip) -> np.ndarray:
    return np.ones(len(clip.points))


CONFIDENCES: dict[str, Callable[[SfmClip], np.ndarray]] = {
    "frames_parallax": _frames_parallax,
    "frames": _frames,
    "product": _product,
    "binary": _binary,
}
