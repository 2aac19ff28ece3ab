"""Padding to a multiple and cropping back."""

import pytest
import torch

from util.padding import crop, pad_to_multiple


@pytest.mark.parametrize(("size", "multiple", "minimum"), [((37, 51), 8, 0), ((5, 64), 16, 32), ((3, 2), 8, 128)])
def test_padded_sides_fit_and_the_crop_is_the_image(size, multiple, minimum):
    images = torch.rand(2, 3, *size)
    padded, place = pad_to_multiple(images, multiple, minimum)
    for side, before in zip(padded.shape[-2:], size, strict=True):
        assert side % multiple == 0
        assert max(before, minimum) <= side < max(before, minimum) + multiple
    assert torch.equal(crop(padded, place), images)


def test_pad_is_shared_between_the_sides_and_mirrors_the_image():
    padded, place = pad_to_multiple(torch.arange(5.0).view(1, 1, 1, 5).repeat(1, 1, 8, 1), 8)
    assert padded[0, 0, 0].tolist() == [1, 0, 1, 2, 3, 4, 3, 2]
    assert place == (0, 1, 8, 5)


def test_image_smaller_than_its_pad_repeats_its_edge():
    padded, _ = pad_to_multiple(torch.tensor([1.0, 2.0]).view(1, 1, 1, 2), 4, 8)
    assert padded.shape == (1, 1, 8, 8)
    assert padded[0, 0, 5].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def test_fitting_image_is_returned_as_it_is():
    images = torch.rand(1, 3, 16, 24)
    assert pad_to_multiple(images, 8)[0] is images
