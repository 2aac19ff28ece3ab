"""Photometric error: SSIM by a loop over windows, masks that nothing leaks through, and the brightness fit."""

import itertools

import pytest
import torch

from models.losses.photometric import (
    brightness_fit,
    colour_difference,
    photometric_error,
    standardise,
    unstandardise,
)

DOUBLE = torch.float64
B, H, W = 2, 9, 11
ALL = torch.ones(B, 1, H, W, dtype=torch.bool)


def images(seed=0, count=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, 3, H, W, dtype=DOUBLE, generator=generator) for _ in range(count)]


def mirrored(index, size):
    return -index if index < 0 else 2 * size - 2 - index if index >= size else index


def slow_error(tgt, view, mask):
    """The equation at every pixel, window by window, masked pixels left out."""
    out = torch.zeros(B, 1, H, W, dtype=DOUBLE)
    for b, y, x in itertools.product(range(B), range(H), range(W)):
        if not mask[b, 0, y, x]:
            continue
        places = [(mirrored(y + i, H), mirrored(x + j, W)) for i in range(-3, 4) for j in range(-3, 4)]
        places = [place for place in places if mask[b, 0, place[0], place[1]]]
        total = 0.0
        for c in range(3):
            a, v = (torch.stack([img[b, c, i, j] for i, j in places]) for img in (tgt, view))
            mean_a, mean_v = a.mean(), v.mean()
            var_a, var_v = (a * a).mean() - mean_a**2, (v * v).mean() - mean_v**2
            cov = (a * v).mean() - mean_a * mean_v
            ssim = (2 * mean_a * mean_v + 1e-4) * (2 * cov + 9e-4)
            ssim = ssim / ((mean_a**2 + mean_v**2 + 1e-4) * (var_a + var_v + 9e-4))
            total += 0.15 * min((tgt[b, c, y, x] - view[b, c, y, x]).abs(), 1) + 0.85 * ((1 - ssim) / 2).clamp(0, 1)
        out[b, 0, y, x] = total / 3
    return out


def test_error_equals_the_loop_over_windows():
    tgt, view = images()
    torch.testing.assert_close(photometric_error(tgt, view, ALL), slow_error(tgt, view, ALL))


def test_error_equals_the_loop_with_pixels_left_out_of_the_windows():
    tgt, view = images(1)
    mask = torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(2)) > 0.5
    torch.testing.assert_close(photometric_error(tgt, view, mask), slow_error(tgt, view, mask))


def test_equal_images_cost_nothing_and_a_difference_is_clamped_at_1():
    tgt, _ = images()
    assert photometric_error(tgt, tgt, ALL).abs().max() < 1e-12
    assert torch.allclose(photometric_error(tgt, tgt + 5, ALL, ssim=False), torch.ones(1, dtype=DOUBLE))
    assert torch.allclose(photometric_error(tgt, tgt + 0.25, ALL, ssim=False), torch.full((1,), 0.25, dtype=DOUBLE))


def test_masked_pixels_leak_nothing_not_even_nan():
    tgt, view = images()
    mask = ALL.clone()
    mask[:, :, 3:5, 4:7] = False
    spoiled = [torch.where(mask, x, torch.nan).requires_grad_() for x in (tgt, view)]
    error = photometric_error(*spoiled, mask)
    assert torch.equal(error, photometric_error(tgt, view, mask))
    error.sum().backward()
    for x in spoiled:
        assert x.grad.isfinite().all()
        assert not x.grad[~mask.expand_as(x)].any()


def test_a_batch_equals_its_images_one_by_one():
    tgt, view = images()
    together = photometric_error(tgt, view, ALL)
    alone = [photometric_error(tgt[b : b + 1], view[b : b + 1], ALL[b : b + 1]) for b in range(B)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_nothing_valid_gives_zero_with_zero_gradient():
    tgt, view = (x.requires_grad_() for x in images())
    photometric_error(tgt, view, ~ALL).sum().backward()
    assert not view.grad.any()


def test_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(5)
    tgt, view = (torch.randn(1, 3, 5, 6, dtype=DOUBLE, generator=generator).requires_grad_() for _ in range(2))
    mask = torch.rand(1, 1, 5, 6, generator=generator) > 0.2
    assert torch.autograd.gradcheck(lambda t, v: photometric_error(t, v, mask), (tgt, view))
    assert torch.autograd.gradcheck(colour_difference, (tgt, view))


def test_ranges():
    edges = torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(standardise(edges), torch.tensor([-2.0, 0.55 / 0.225]))
    torch.testing.assert_close(unstandardise(standardise(edges)), torch.tensor([0.0, 1.0]))


def test_brightness_fit_recovers_the_exposure_of_each_image_from_the_masked_pixels():
    img, _ = images()
    gain, offset = (torch.tensor(x, dtype=DOUBLE).view(B, 1, 1, 1) for x in ([1.3, 0.8], [0.2, -0.1]))
    mask = torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(2)) > 0.3
    tgt = torch.where(mask, gain * img + offset, torch.nan)
    found = brightness_fit(img, tgt, mask)
    torch.testing.assert_close(found[0], gain)
    torch.testing.assert_close(found[1], offset)


def test_brightness_fit_passes_no_gradient_and_stays_plausible():
    img, tgt = (x.requires_grad_() for x in images())
    assert not any(x.requires_grad for x in brightness_fit(img, tgt, ALL))
    assert (brightness_fit(img, 9 * img, ALL)[0] == 2).all()
    assert (brightness_fit(img, -img, ALL)[0] == 0.5).all()


def test_brightness_of_a_flat_or_empty_image_is_moved_and_not_scaled():
    flat = torch.full((B, 3, H, W), 0.5, dtype=DOUBLE)
    gain, offset = brightness_fit(flat, flat + 0.25, ALL)
    assert (gain == 1).all()
    assert torch.allclose(offset, torch.tensor(0.25, dtype=DOUBLE))
    gain, offset = brightness_fit(*images(), ~ALL)
    assert (gain == 1).all()
    assert (offset == 0).all()


def test_wrong_shapes_are_an_error():
    tgt, view = images()
    with pytest.raises(ValueError, match="must have one shape"):
        photometric_error(tgt, view[:, :, :-1], ALL)
    with pytest.raises(ValueError, match="must have one shape"):
        photometric_error(tgt, view, ALL[:, 0])
