"""Depth metrics: by hand, by a loop over pixels, under alignment, and what they refuse."""

import math

import numpy as np
import pytest
import torch

from util.metrics import ALIGNMENTS, METRICS, align_depth, depth_metrics, simcol3d_metrics, summarise

SHAPE = (2, 1, 5, 7)


def depths(seed=0, shape=SHAPE):
    """A truth with invalid pixels and a prediction near it [mm]."""
    rng = np.random.default_rng(seed)
    gt = rng.uniform(5, 100, shape)
    pred = gt * rng.uniform(0.6, 1.7, shape)
    gt[rng.random(shape) < 0.2] = 0
    return pred, gt


def slow_metrics(pred, gt):
    """Sums over the valid pixels of one image, from the equations."""
    pairs = [(p, g) for p, g in zip(pred.ravel().tolist(), gt.ravel().tolist(), strict=True) if g > 0]
    n = len(pairs)
    scores = {
        "abs_rel": sum(abs(p - g) / g for p, g in pairs) / n,
        "sq_rel": sum((p - g) ** 2 / g for p, g in pairs) / n,
        "rmse": math.sqrt(sum((p - g) ** 2 for p, g in pairs) / n),
        "rmse_log": math.sqrt(sum((math.log(p) - math.log(g)) ** 2 for p, g in pairs) / n),
        "log10": sum(abs(math.log10(p) - math.log10(g)) for p, g in pairs) / n,
        "l1_cm": sum(abs(p - g) for p, g in pairs) / n / 10,
    }
    scores["rmse_cm"] = scores["rmse"] / 10
    for k in (1, 2, 3):
        scores[f"delta{k}"] = sum(max(p / g, g / p) < 1.25**k for p, g in pairs) / n
    return scores


def test_metrics_by_hand():
    pred, gt = np.array([[12.0, 30.0, 99.0]]), np.array([[10.0, 20.0, 0.0]])
    scores = depth_metrics(pred, gt)
    assert scores == pytest.approx(
        {
            "abs_rel": (0.2 + 0.5) / 2,
            "sq_rel": (4 / 10 + 100 / 20) / 2,
            "rmse": math.sqrt((4 + 100) / 2),
            "rmse_log": math.sqrt((math.log(1.2) ** 2 + math.log(1.5) ** 2) / 2),
            "log10": (math.log10(1.2) + math.log10(1.5)) / 2,
            "delta1": 0.5,
            "delta2": 1.0,
            "delta3": 1.0,
            "l1_cm": (0.2 + 1.0) / 2,
            "rmse_cm": math.sqrt(52) / 10,
        }
    )
    assert tuple(scores) == METRICS
    assert all(type(value) is float for value in scores.values())


def test_metrics_equal_the_loop_over_pixels_averaged_over_images():
    pred, gt = depths()
    expected = [slow_metrics(pred[b], gt[b]) for b in range(2)]
    scores = depth_metrics(pred, gt)
    for key in METRICS:
        assert scores[key] == pytest.approx((expected[0][key] + expected[1][key]) / 2), key


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_batch_equals_its_images_one_by_one(align):
    pred, gt = depths()
    gt[1, ..., :5] = 0  # images with different numbers of valid pixels
    singles = [depth_metrics(pred[b], gt[b], align=align) for b in range(2)]
    scores = depth_metrics(pred, gt, align=align)
    assert scores == pytest.approx({key: (singles[0][key] + singles[1][key]) / 2 for key in METRICS})


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (1, 1, 5, 7)])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_arrays_and_tensors_of_all_shapes_agree(shape, kind):
    pred, gt = depths(shape=(5, 7))
    scores = depth_metrics(kind(pred.reshape(shape)), kind(gt.reshape(shape)), align="median")
    assert scores == depth_metrics(pred, gt, align="median")


def test_exact_prediction_is_perfect():
    _, gt = depths()
    scores = depth_metrics(gt, gt)
    assert [scores[f"delta{k}"] for k in (1, 2, 3)] == [1, 1, 1]
    assert all(scores[key] == 0 for key in METRICS if not key.startswith("delta"))


def test_delta_is_strict_and_holds_both_ways():
    gt = np.full((1, 4), 8.0)
    assert depth_metrics(np.array([[10.0, 6.4, 9.9, 6.5]]), gt)["delta1"] == 0.5  # 1.25 both ways does not count


def test_depth_zero_is_invalid_and_never_read():
    pred, gt = depths()
    spoilt = np.where(gt > 0, pred, np.nan)
    assert depth_metrics(spoilt, gt) == depth_metrics(pred, gt)


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_mask_can_only_take_pixels_away(align):
    pred, gt = depths()
    valid = np.random.default_rng(1).random(SHAPE) < 0.7
    masked = depth_metrics(pred, gt, valid, align)
    assert masked == depth_metrics(pred, np.where(valid, gt, 0), align=align)
    assert depth_metrics(pred, gt, np.ones(SHAPE, bool), align) == depth_metrics(pred, gt, align=align)
    gt[0, 0, 0, :3] = (np.nan, np.inf, -1.0)
    assert depth_metrics(pred, gt, np.ones(SHAPE, bool), align) == depth_metrics(
        pred, np.where(np.isfinite(gt), gt, 0).clip(0), align=align
    )


def test_predictions_of_zero_or_below_stay_finite_in_logarithms():
    gt = np.full((1, 2), 10.0)
    scores = depth_metrics(np.array([[0.0, -3.0]]), gt)
    assert scores["rmse_log"] == pytest.approx(math.log(10 / 1e-3))
    assert scores["delta3"] == 0
    assert scores["abs_rel"] == pytest.approx((1 + 1.3) / 2)


def test_median_alignment_forgives_a_scale_only():
    pred, gt = depths()
    assert depth_metrics(0.01 * pred, gt, align="median") == pytest.approx(depth_metrics(pred, gt, align="median"))
    assert depth_metrics(3 * gt, gt, align="median")["abs_rel"] == pytest.approx(0)
    assert depth_metrics(gt + 20, gt, align="median")["abs_rel"] > 0.01


def test_median_of_an_even_number_is_the_mean_of_the_middle_two():
    aligned = align_depth(np.array([[1.0, 3.0]]), np.array([[10.0, 30.0]]), align="median")
    assert aligned.tolist() == [[10.0, 30.0]]
    aligned = align_depth(np.array([[1.0, 1.0]]), np.array([[10.0, 30.0]]), align="median")
    assert aligned.tolist() == [[20.0, 20.0]]


def test_scale_and_shift_alignment_forgives_both_even_with_a_negative_scale():
    pred, gt = depths()
    assert depth_metrics(0.5 * gt + 7, gt, align="scale_shift")["rmse"] == pytest.approx(0, abs=1e-9)
    assert depth_metrics(-2 * gt + 500, gt, align="scale_shift")["rmse"] == pytest.approx(0, abs=1e-9)
    moved = depth_metrics(3 * pred - 4, gt, align="scale_shift")
    assert moved == pytest.approx(depth_metrics(pred, gt, align="scale_shift"))


def test_scale_and_shift_are_those_of_least_squares():
    pred, gt = depths(shape=(5, 7))
    valid = gt > 0
    columns = np.stack((pred[valid], np.ones(valid.sum())), axis=1)
    (s, t), *_ = np.linalg.lstsq(columns, gt[valid], rcond=None)
    assert np.allclose(align_depth(pred, gt, align="scale_shift"), s * pred + t)


@pytest.mark.parametrize("value", [0.0, 0.1, 37.0])
def test_constant_prediction_becomes_the_mean_of_the_truth(value):
    _, gt = depths(shape=(5, 7))
    aligned = align_depth(np.full((5, 7), value, np.float32), gt, align="scale_shift")
    assert np.allclose(aligned, gt[gt > 0].mean())


def test_prediction_of_zero_survives_median_alignment():
    _, gt = depths(shape=(5, 7))
    assert depth_metrics(np.zeros((5, 7)), gt, align="median")["abs_rel"] == pytest.approx(1)


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_aligned_map_scores_raw_what_the_prediction_scores_aligned(align):
    pred, gt = depths()
    valid = np.random.default_rng(1).random(SHAPE) < 0.7
    aligned = align_depth(pred, gt, valid, align)
    assert depth_metrics(aligned, gt, valid) == pytest.approx(depth_metrics(pred, gt, valid, align))


def test_aligned_map_keeps_kind_type_and_shape():
    pred, gt = depths()
    aligned = align_depth(torch.from_numpy(pred).float(), torch.from_numpy(gt), align="median")
    assert aligned.dtype == torch.float32
    assert aligned.shape == SHAPE
    assert align_depth(pred.astype(np.float32), gt, align="median").dtype == np.float32
    assert align_depth((1000 * pred).astype(np.uint16), gt, align="median").dtype == np.float32


def test_predictions_with_gradient_and_in_half_precision_are_scored():
    pred, gt = (torch.from_numpy(x) for x in depths())
    scores = depth_metrics(pred.bfloat16().requires_grad_(), gt)
    assert scores == depth_metrics(pred.bfloat16().double(), gt)


def with_nan(pred, gt):
    return np.where(np.arange(7) == 3, np.nan, pred), np.maximum(gt, 1)


@pytest.mark.parametrize(
    ("change", "align", "message"),
    [
        (lambda p, g: (p[..., 1:], g), "none", r"must have one shape, got \[\(2, 1, 5, 6\), \(2, 1, 5, 7\)\]"),
        (lambda p, g: (p, g * np.array([1, 0]).reshape(2, 1, 1, 1)), "none", "image 1 of 2 has no valid pixel"),
        (with_nan, "none", "image 0 of 2 has predictions that are not finite"),
        (lambda p, g: (p, g), "mean", "'mean', known are: none, median, scale_shift"),
        (lambda p, g: (p[:, 0], g[:, 0]), "none", r"\(B, 1, H, W\), got \(2, 5, 7\)"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, align, message):
    with pytest.raises(ValueError, match=message):
        depth_metrics(*change(*depths()), align=align)


def test_summary_names_the_best_and_the_worst_image():
    per_image = [{"abs_rel": 0.1, "delta1": 0.9}, {"abs_rel": 0.4, "delta1": 0.6}, {"abs_rel": 0.1, "delta1": 1.0}]
    summary = summarise(per_image, ["a", "b", "c"])
    assert summary["abs_rel"] == {
        "mean": pytest.approx(0.2),
        "std": pytest.approx(math.sqrt(0.02)),
        "min": 0.1,
        "max": 0.4,
        "min_name": "a",
        "max_name": "b",
    }
    assert (summary["delta1"]["min_name"], summary["delta1"]["max_name"]) == ("b", "c")


@pytest.mark.parametrize(
    ("per_image", "names", "message"),
    [
        ([], [], "at least one, got 0 images"),
        ([{"rmse": 1.0}], ["a", "b"], "got 1 images, 2 names"),
        ([{"rmse": 1.0}, {"l1_cm": 1.0}], ["a", "b"], r"b has metrics \['l1_cm'\], a has \['rmse'\]"),
    ],
)
def test_summary_refuses_what_does_not_match(per_image, names, message):
    with pytest.raises(ValueError, match=message):
        summarise(per_image, names)


def test_simcol3d_by_hand():
    # Two frames of constant depth 20 and 40 mm, truth 30 and 50 mm: s = (2*3 + 4*5) / (2^2 + 4^2) = 1.3.
    preds, gts = [np.full((2, 3), value) for value in (20.0, 40.0)], [np.full((2, 3), value) for value in (30.0, 50.0)]
    scores = simcol3d_metrics(preds, gts)
    assert scores == pytest.approx(
        {
            "scale": 1.3,
            "l1_cm": (0.4 + 0.2) / 2,
            "median_rel_percent": 100 * (0.4 / 3.0001 + 0.2 / 5.0001) / 2,
            "rmse_cm": (0.4 + 0.2) / 2,
        }
    )


def test_simcol3d_equals_the_protocol_frame_by_frame():
    """The steps as the challenge describes them, on fractions of 20 cm, with predictions out of range."""
    rng = np.random.default_rng(0)
    fractions = [rng.uniform(0.05, 1, (5, 7)) for _ in range(3)]
    guesses = [fraction * rng.uniform(0.2, 1.6, (5, 7)) - 0.05 for fraction in fractions]
    clipped = [np.clip(guess, 0, 1) for guess in guesses]
    p, g = [c.mean() for c in clipped], [f.mean() for f in fractions]
    s = sum(a * b for a, b in zip(p, g, strict=True)) / sum(a * a for a in p)
    frames = []
    for pred, gt in zip(clipped, fractions, strict=True):
        error = np.abs(20 * s * pred - 20 * gt)
        frames.append((error.mean(), 100 * np.median(error / (20 * gt + 1e-4)), math.sqrt((error**2).mean())))
    scores = simcol3d_metrics([200 * guess for guess in guesses], [200 * fraction for fraction in fractions])
    expected = dict(zip(("l1_cm", "median_rel_percent", "rmse_cm"), np.mean(frames, axis=0), strict=True))
    assert scores == pytest.approx({"scale": s} | expected)


def test_simcol3d_takes_one_scale_for_the_whole_trajectory():
    gts = [np.full((2, 2), value) for value in (20.0, 60.0)]
    assert simcol3d_metrics([gt / 2 for gt in gts], gts)["l1_cm"] == pytest.approx(0)
    uneven = simcol3d_metrics([gts[0] / 2, gts[1] / 4], gts)  # each frame would fit with a scale of its own
    assert uneven["l1_cm"] > 0.1


def test_simcol3d_takes_tensors_with_a_channel():
    preds, gts = (torch.rand(3, 1, 4, 5) * 100 + 1 for _ in range(2))
    assert simcol3d_metrics(preds, gts) == pytest.approx(simcol3d_metrics(preds[:, 0].numpy(), gts[:, 0].numpy()))


@pytest.mark.parametrize(
    ("preds", "gts", "message"),
    [
        ([np.ones((2, 2))], [], "as many predictions"),
        ([], [], "at least one"),
        ([np.ones((2, 2)), np.ones((2, 3))], [np.ones((2, 2))] * 2, "frame 1"),
        ([np.full((2, 2), np.nan)], [np.ones((2, 2))], "frame 0: need finite"),
        ([np.zeros((2, 2))], [np.ones((2, 2))], "no scale"),
    ],
)
def test_simcol3d_refuses_what_it_cannot_score(preds, gts, message):
    with pytest.raises(ValueError, match=message):
        simcol3d_metrics(preds, gts)
