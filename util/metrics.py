"""Scores of depth maps against the truth, and their alignment where a prediction has no scale of its own.

Everything is computed in float64. Depth is in mm; the truth is read where it is above 0 and finite.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray | Tensor

ALIGNMENTS = ("none", "median", "scale_shift")
METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "delta1", "delta2", "delta3", "l1_cm", "rmse_cm")
MIN_DEPTH_MM = 1e-3  # predictions below are lifted to it in logarithms and ratios, and in the median's ratio
CONSTANT_RTOL = 1e-6  # a prediction whose relative spread is below has no shape to scale, only rounding of float32
MM_PER_CM = 10.0
SIMCOL3D_FULL_SCALE_CM = 20.0
SIMCOL3D_EPSILON_CM = 1e-4


def depth_metrics(pred_mm: Array, gt_mm: Array, valid: Array | None = None, align: str = "none") -> dict[str, float]:
    """Errors of one depth map or of a batch; each image is aligned and scored by itself, then the images are averaged.

        abs_rel = mean |p - g| / g           sq_rel [mm] = mean (p - g)^2 / g       rmse [mm] = sqrt mean (p - g)^2
        rmse_log = sqrt mean (ln p - ln g)^2        log10 = mean |log10 p - log10 g|
        delta_k = share of pixels with max(p / g, g / p) < 1.25^k
        l1_cm = mean |p - g| / 10            rmse_cm = rmse / 10

    Source: Eigen et al., NeurIPS 2014, for all but the last line.

    Args:
        pred_mm: p [mm], (H, W), (1, H, W) or (B, 1, H, W).
        gt_mm: g [mm], of the same shape.
        valid: bool, of the same shape; pixels without truth (0 or not finite) never count. Default: all others.
        align: ``none``, ``median`` or ``scale_shift``, see ``align_depth``.

    Returns:
        The metrics named in ``METRICS``.

    Raises:
        ValueError: the shapes differ, the alignment is unknown, an image has no valid pixel, or a prediction is not
            finite where the truth is valid.
    """
    images = _images(pred_mm, gt_mm, valid)
    scores = [_score(_align(pred, pred[mask], gt[mask], align)[mask], gt[mask]) for pred, gt, mask in images]
    return {name: float(np.mean([score[name] for score in scores])) for name in METRICS}


def align_depth(pred: Array, gt: Array, valid: Array | None = None, align: str = "none") -> Array:
    """Bring a prediction to the scale of the truth, an image at a time.

        median:       p median(g) / median(p)
        scale_shift:  s p + t,    s, t minimise sum (s p + t - g)^2

    with medians and sums over the valid pixels. A constant prediction has no scale to fit and becomes mean(g) under
    ``scale_shift``; a median below ``MIN_DEPTH_MM`` counts as that.

    Args: as ``depth_metrics``; ``pred`` needs no unit unless ``align`` is ``none``.

    Returns:
        All pixels of the prediction, aligned, as array or tensor of its own type and shape; integers become float32.

    Raises:
        ValueError: as ``depth_metrics``.
    """
    aligned = [_align(p, p[mask], g[mask], align) for p, g, mask in _images(pred, gt, valid)]
    stacked = np.stack(aligned).reshape(tuple(pred.shape))
    if isinstance(pred, Tensor):
        dtype = pred.dtype if pred.is_floating_point() else torch.float32
        return torch.from_numpy(stacked).to(device=pred.device, dtype=dtype)
    return stacked.astype(pred.dtype if np.issubdtype(pred.dtype, np.floating) else np.float32)


def summarise(per_image: Sequence[dict[str, float]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Spread of each metric over images.

    Args:
        per_image: metrics of each image, all with the same keys.
        names: what each image is called.

    Returns:
        ``{metric: {"mean", "std", "min", "max", "min_name", "max_name"}}``; std is that of the population.

    Raises:
        ValueError: there is no image, or names or keys do not match.
    """
    if not per_image or len(per_image) != len(names):
        raise ValueError(f"need one name an image and at least one, got {len(per_image)} images, {len(names)} names")
    for name, scores in zip(names, per_image, strict=True):
        if scores.keys() != per_image[0].keys():
            raise ValueError(f"{name} has metrics {sorted(scores)}, {names[0]} has {sorted(per_image[0])}")
    return {key: _spread(np.array([scores[key] for scores in per_image]), names) for key in per_image[0]}


def simcol3d_metrics(preds_mm: Sequence[Array], gts_mm: Sequence[Array]) -> dict[str, float]:
    """Scores of one trajectory by the protocol of the SimCol3D challenge, task 1.

    Predictions are clipped to 0 to 20 cm, then the whole trajectory gets one scale, from the frames' mean depths:

        s = sum_i mean(p_i) mean(g_i) / sum_i mean(p_i)^2
        L1_i = mean |s p - g|,    rel_i = 100 median |s p - g| / (g + 1e-4),    RMSE_i = sqrt mean (s p - g)^2

    in cm, over all pixels of frame i, then averaged over the frames.
    Source: Rau et al., "SimCol3D", Medical Image Analysis 2024, and the challenge's evaluation code.

    Args:
        preds_mm: predicted depth of each frame [mm], (H, W) or (1, H, W).
        gts_mm: true depth of each frame [mm].

    Returns:
        ``scale``, ``l1_cm``, ``median_rel_percent``, ``rmse_cm``.

    Raises:
        ValueError: numbers of frames or shapes differ, there is no frame, a depth is not finite, or all predictions
            are 0.
    """
    if len(preds_mm) != len(gts_mm) or not len(gts_mm):
        raise ValueError(f"need as many predictions as true maps and at least one, got {len(preds_mm)}, {len(gts_mm)}")
    preds = [_float64(pred).clip(0, SIMCOL3D_FULL_SCALE_CM * MM_PER_CM) / MM_PER_CM for pred in preds_mm]
    gts = [_float64(gt) / MM_PER_CM for gt in gts_mm]
    for index, (pred, gt) in enumerate(zip(preds, gts, strict=True)):
        if pred.shape != gt.shape or not (np.isfinite(pred).all() and np.isfinite(gt).all()):
            raise ValueError(f"frame {index}: need finite depth of one shape, got {pred.shape} and {gt.shape}")
    mean_pred, mean_gt = (np.array([depth.mean() for depth in depths]) for depths in (preds, gts))
    if not mean_pred.any():
        raise ValueError("all predictions are 0 or below, so the trajectory has no scale")
    scale = (mean_pred * mean_gt).sum() / np.square(mean_pred).sum()
    frames = [_simcol3d_frame(scale * pred, gt) for pred, gt in zip(preds, gts, strict=True)]
    return {"scale": float(scale)} | {key: float(np.mean([frame[key] for frame in frames])) for key in frames[0]}


def _simcol3d_frame(pred_cm: np.ndarray, gt_cm: np.ndarray) -> dict[str, float]:
    error = np.abs(pred_cm - gt_cm)
    return {
        "l1_cm": error.mean(),
        "median_rel_percent": 100 * np.median(error / (gt_cm + SIMCOL3D_EPSILON_CM)),
        "rmse_cm": np.sqrt(np.square(error).mean()),
    }


def _score(p: np.ndarray, g: np.ndarray) -> dict[str, float]:
    """Metrics of the valid pixels (N,) of one image."""
    error = p - g
    lifted = p.clip(min=MIN_DEPTH_MM)
    log_error = np.log(lifted / g)
    ratio = np.maximum(lifted / g, g / lifted)
    rmse = np.sqrt(np.square(error).mean())
    return {
        "abs_rel": (np.abs(error) / g).mean(),
        "sq_rel": (np.square(error) / g).mean(),
        "rmse": rmse,
        "rmse_log": np.sqrt(np.square(log_error).mean()),
        "log10": np.abs(log_error).mean() / np.log(10),
        **{f"delta{k}": (ratio < 1.25**k).mean() for k in (1, 2, 3)},
        "l1_cm": np.abs(error).mean() / MM_PER_CM,
        "rmse_cm": rmse / MM_PER_CM,
    }


def _align(image: np.ndarray, p: np.ndarray, g: np.ndarray, align: str) -> np.ndarray:
    """``image`` aligned by what its valid pixels p and g (N,) say."""
    if align == "none":
        return image
    if align == "median":
        return image * (np.median(g) / max(np.median(p), MIN_DEPTH_MM))
    if align == "scale_shift":
        mean_p, mean_g = p.mean(), g.mean()
        variance = np.square(p - mean_p).mean()
        constant = variance <= np.square(CONSTANT_RTOL * mean_p)
        scale = 0.0 if constant else ((p - mean_p) * (g - mean_g)).mean() / variance
        return scale * (image - mean_p) + mean_g
    raise ValueError(f"unknown alignment {align!r}, known are: {', '.join(ALIGNMENTS)}")


def _images(pred: Array, gt: Array, valid: Array | None) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Checked (prediction, truth, mask), each (H, W), an image at a time."""
    shapes = [tuple(x.shape) for x in (pred, gt, valid) if x is not None]
    if len(set(shapes)) > 1:
        raise ValueError(f"prediction, truth and mask must have one shape, got {shapes}")
    ndim = len(shapes[0])
    if ndim not in (2, 3, 4) or (ndim > 2 and shapes[0][-3] != 1):
        raise ValueError(f"depth must be (H, W), (1, H, W) or (B, 1, H, W), got {shapes[0]}")
    pred, gt = (_float64(x).reshape(-1, *shapes[0][-2:]) for x in (pred, gt))
    mask = np.isfinite(gt) & (gt > 0)
    if valid is not None:
        mask &= _numpy(valid).astype(bool).reshape(mask.shape)
    for index in range(len(mask)):
        if not mask[index].any():
            raise ValueError(f"image {index} of {len(mask)} has no valid pixel: the truth is 0 or masked everywhere")
        if not np.isfinite(pred[index][mask[index]]).all():
            raise ValueError(f"image {index} of {len(mask)} has predictions that are not finite at valid pixels")
    return list(zip(pred, gt, mask, strict=True))


def _spread(values: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    low, high = int(values.argmin()), int(values.argmax())
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values[low]),
        "max": float(values[high]),
        "min_name": names[low],
        "max_name": names[high],
    }


def _numpy(x: Array) -> np.ndarray:
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)


def _float64(x: Array) -> np.ndarray:
    return _numpy(x.double() if isinstance(x, Tensor) else x).astype(np.float64)
