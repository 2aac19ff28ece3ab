"""The mean depth and depth from brightness, fitted by hand and over several batches."""

import pytest
import torch

from util.colour import luminance
from util.references import brightness_depth, constant_depth, fit_brightness_scale, fit_constant


def batch(seed, size=(2, 1, 4, 5)):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(size[0], 3, *size[2:], generator=generator)
    depth_mm = torch.rand(size, generator=generator) * 90 + 10
    return image, depth_mm, torch.rand(size, generator=generator) > 0.3


def grey(*values):
    return torch.tensor(values).view(1, 1, 1, -1).repeat(1, 3, 1, 1)


def row(*values):
    return torch.tensor(values).view(1, 1, 1, -1)


def test_luminance_weighs_red_green_and_blue():
    colours = torch.eye(3).view(3, 3, 1, 1)
    assert luminance(colours).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert luminance(torch.ones(2, 4, 3, 5, 6)).shape == (2, 4, 1, 5, 6)
    with pytest.raises(ValueError, match=r"images must be \(..., 3, H, W\), got \(1, 4, 4\)"):
        luminance(torch.ones(1, 4, 4))


def test_constant_is_the_mean_of_valid_pixels_not_of_images():
    first = (row(10.0, 20.0, 30.0), row(True, True, True))
    second = (row(100.0, 999.0, 0.0), row(True, False, True))  # a depth of 0 is invalid whatever the mask says
    assert fit_constant([first, second]) == pytest.approx((10 + 20 + 30 + 100) / 4)


def test_constant_over_batches_equals_the_mean_over_all_of_them():
    batches = [batch(seed) for seed in range(3)]
    every = torch.cat([depth[valid] for _, depth, valid in batches])
    assert fit_constant((depth, valid) for _, depth, valid in batches) == pytest.approx(every.mean().item())


def test_constant_depth_has_the_image_size():
    depth = constant_depth(torch.rand(2, 3, 4, 5), 12.5)
    assert depth.shape == (2, 1, 4, 5)
    assert (depth == 12.5).all()


def test_brightness_falls_with_the_square_of_depth():
    assert brightness_depth(grey(1.0, 0.25, 0.04), 30.0).flatten().tolist() == pytest.approx([30, 60, 150])


def test_black_counts_as_one_step_of_8_bits():
    depth = brightness_depth(grey(0.0, 1 / 255, 0.5 / 255), 10.0)
    assert depth.flatten().tolist() == pytest.approx([10 * 255**0.5] * 3)


def test_scale_of_an_exact_inverse_square_scene_is_found():
    image, _, valid = batch(0)
    assert fit_brightness_scale([(image, brightness_depth(image, 17.0), valid)]) == pytest.approx(17.0)


def test_scale_minimises_the_squared_relative_error():
    batches = [batch(seed) for seed in range(2)]
    k = fit_brightness_scale(batches)

    def loss(k):
        errors = [((brightness_depth(image, k) / depth - 1)[valid] ** 2).double() for image, depth, valid in batches]
        return torch.cat(errors).sum().item()

    assert loss(k) < min(loss(k * 1.01), loss(k * 0.99))
    # b / g = 0.1 and 0.2: k = 0.3 / 0.05
    assert fit_brightness_scale([(grey(1.0, 0.25), row(10.0, 10.0), row(True, True))]) == pytest.approx(6.0)


@pytest.mark.parametrize("bad", [float("nan"), 0.0])
def test_masked_depth_is_not_read(bad):
    image, depth_mm, valid = batch(0)
    expected = fit_constant([(depth_mm, valid)]), fit_brightness_scale([(image, depth_mm, valid)])
    spoilt = torch.where(valid, depth_mm, bad)
    assert (fit_constant([(spoilt, valid)]), fit_brightness_scale([(image, spoilt, valid)])) == expected


def test_nothing_to_fit_is_refused():
    image, depth_mm, valid = batch(0)
    with pytest.raises(ValueError, match="no pixel of the training pairs is valid"):
        fit_constant([(depth_mm, valid & False)])
    with pytest.raises(ValueError, match="no pixel of the training pairs is valid"):
        fit_brightness_scale([(image, depth_mm, valid & False)])
    with pytest.raises(ValueError, match="must have one shape"):
        fit_constant([(depth_mm, valid[..., 1:])])
