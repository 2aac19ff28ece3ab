"""Pairs of frames: masks, the best neighbour a pixel, means over what counts; the known scenes cost nothing."""

import pytest
import torch

from models.geometry.camera import View, synthesize_view
from models.losses.view_pairs import PairSwitches, PairTerms, best_neighbour, masked_mean, pair_terms

DOUBLE = torch.float64
B, H, W = 2, 12, 14
K = torch.tensor([[[20.0, 0, 6], [0, 18, 5], [0, 0, 1]], [[16.0, 0, 7], [0, 17, 6], [0, 0, 1]]], dtype=DOUBLE)
ALL = torch.ones(B, 1, H, W, dtype=torch.bool)
PLAIN = PairSwitches(auto_mask=False)


def still(batch=B):
    return torch.eye(4, dtype=DOUBLE).repeat(batch, 1, 1)


def picture(seed=0, channels=3):
    return torch.randn(B, channels, H, W, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def view_of(src, depth_src, depth_tgt, motion):
    return synthesize_view(src, depth_src, depth_tgt, motion, K)


def wall_seen_from(shift_px):
    """A textured wall at depth 10, and a camera that moved along x by whole pixels: the frame moves in its picture."""
    texture = torch.randn(B, 3, H, W + 10, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
    return texture[..., 5 - shift_px : 5 - shift_px + W]


def test_a_translated_wall_with_its_true_depth_and_motion_costs_nothing():
    """Camera 0 has fx = 20: 2 px at depth 10 are a step of 1; camera 1 has fx = 16: of 1.25."""
    depth = torch.full((B, 1, H, W), 10.0, dtype=DOUBLE)
    motion = still()
    motion[:, 0, 3] = torch.tensor([1.0, 1.25])  # the source camera is to the left: points move to the right in it
    view = view_of(wall_seen_from(2), depth, depth, motion)
    terms = pair_terms(wall_seen_from(0), wall_seen_from(2), view, ALL)
    assert (terms.in_view.flatten(1).sum(dim=1) == H * (W - 2)).all()
    assert torch.equal(terms.mask, terms.in_view)  # all of it looks different without motion
    assert terms.photometric.abs().max() < 1e-9
    assert terms.inconsistency.abs().max() < 1e-12
    wrong = pair_terms(wall_seen_from(0), wall_seen_from(2), view_of(wall_seen_from(2), depth, 2 * depth, motion), ALL)
    assert masked_mean(wrong.photometric, wrong.in_view, 0) > 0.1
    assert masked_mean(wrong.inconsistency, wrong.in_view, 0).item() == pytest.approx(1 / 3)


def test_a_camera_at_rest_gives_zero_that_can_be_differentiated():
    depth = (10 + picture(1, 1).abs()).requires_grad_()
    terms = pair_terms(picture(), picture(), view_of(picture(), depth, depth, still()), ALL)
    assert not terms.mask.any()
    loss = masked_mean(terms.photometric, terms.mask) + masked_mean(terms.inconsistency, terms.mask)
    loss.backward()
    assert loss == 0
    assert depth.grad.isfinite().all()
    assert not depth.grad.any()


def test_pixels_are_left_out_by_place_and_never_by_colour():
    """Mid-grey tissue is 0 when standardised, as is what the published code pads with."""
    grey, depth = torch.zeros(B, 3, H, W, dtype=DOUBLE), torch.full((B, 1, H, W), 10.0, dtype=DOUBLE)
    motion = still()
    motion[:, 0, 3] = 100.0
    assert pair_terms(grey, grey, view_of(grey, depth, depth, still()), ALL, PLAIN).mask.all()
    assert not pair_terms(grey, grey, view_of(grey, depth, depth, motion), ALL, PLAIN).mask.any()


def test_unseen_pixels_leak_nothing_not_even_nan():
    seen = ALL.clone()
    seen[:, :, 4:7, 5:9] = False
    depth = (10 + picture(1, 1).abs()).requires_grad_()
    spoiled = torch.where(seen, picture(2), torch.nan)

    def terms_of(tgt):
        return pair_terms(tgt, picture(3), view_of(picture(3), depth, depth, still()), seen, PLAIN)

    terms, clean = terms_of(spoiled), terms_of(torch.where(seen, picture(2), 5.0))
    for one, other in zip(terms, clean, strict=True):
        assert torch.equal(one, other)
    assert not terms.mask[~seen].any()
    (terms.photometric.sum() + terms.inconsistency.sum()).backward()
    assert depth.grad.isfinite().all()
    assert not depth.grad[~seen].any()


def test_weight_of_the_dynamic_mask_gets_no_gradient():
    depth_src = (10 + picture(1, 1).abs()).requires_grad_()
    tgt, depth_tgt = picture(2), torch.full((B, 1, H, W), 11.0, dtype=DOUBLE)
    view = view_of(picture(3), depth_src, depth_tgt, still())
    weighted = pair_terms(tgt, picture(3), view, ALL, PLAIN)
    plain = pair_terms(tgt, picture(3), view, ALL, PLAIN._replace(dynamic_mask=False))
    torch.testing.assert_close(weighted.photometric, plain.photometric * (1 - plain.inconsistency))
    assert not torch.autograd.grad(weighted.photometric.sum(), depth_src)[0].any()


def test_brightness_fit_forgives_another_exposure_of_each_pair():
    depth = torch.full((B, 1, H, W), 10.0, dtype=DOUBLE)
    tgt, src = picture(), torch.tensor([1.5, 0.7], dtype=DOUBLE).view(B, 1, 1, 1) * picture() - 0.3
    view = view_of(src, depth, depth, still())
    fitted = pair_terms(tgt, src, view, ALL, PLAIN._replace(brightness_fit=True))
    assert fitted.photometric.abs().max() < 1e-6
    assert pair_terms(tgt, src, view, ALL, PLAIN).photometric.mean() > 0.05


def hand_terms(colour, mask):
    """Two neighbours of one target with 1 x 3 pixels; the photometric value is 10 times the colour."""
    colour = torch.tensor(colour, dtype=DOUBLE).view(2, 1, 1, 3)
    mask = torch.tensor(mask).view(2, 1, 1, 3)
    return PairTerms(10 * colour, 100 * colour, colour, mask, mask)


def test_best_neighbour_is_the_one_that_fits_among_those_that_count():
    terms = hand_terms([[1.0, 2.0, 0.0], [3.0, 1.0, 4.0]], [[True, True, False], [True, True, True]])
    best = best_neighbour(terms, 2)
    assert best.photometric.flatten().tolist() == [10, 10, 40]  # the last one's 0 does not count
    assert best.inconsistency.flatten().tolist() == [100, 100, 400]
    assert best.mask.all()


def test_a_pixel_that_no_neighbour_explains_does_not_count():
    terms = hand_terms([[1.0, 2.0, 0.0], [3.0, 1.0, 4.0]], [[False, True, False], [False, True, False]])
    assert best_neighbour(terms, 2).mask.flatten().tolist() == [False, True, False]


def test_order_of_the_neighbours_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.rand(6, 1, 4, 5, generator=generator) for _ in range(3)]
    masks = [torch.rand(6, 1, 4, 5, generator=generator) > 0.3 for _ in range(2)]
    terms = PairTerms(*tensors, *masks)
    swapped = PairTerms(*(term.unflatten(0, (3, 2))[[2, 0, 1]].flatten(0, 1) for term in terms))
    best, other = best_neighbour(terms, 3), best_neighbour(swapped, 3)
    assert torch.equal(best.mask, other.mask)
    assert torch.equal(best.photometric[best.mask], other.photometric[best.mask])


def test_mean_over_the_mask_by_hand_and_too_few_pixels():
    values = torch.tensor([1.0, 2.0, 6.0, torch.nan], requires_grad=True)
    mask = torch.tensor([True, False, True, False])
    assert masked_mean(values, mask, min_pixels=1).item() == pytest.approx(3.5)
    few = masked_mean(values, mask, min_pixels=2)
    few.backward()
    assert few == 0
    assert not values.grad.any()


def test_terms_are_differentiable_in_images_and_depths():
    generator = torch.Generator().manual_seed(2)
    tgt, src = (torch.randn(1, 3, 5, 6, dtype=DOUBLE, generator=generator) for _ in range(2))
    depth = 10 + torch.rand(1, 1, 5, 6, dtype=DOUBLE, generator=generator)
    motion = still(1)
    motion[:, :3, 3] = torch.tensor([0.43, -0.31, 0.2], dtype=DOUBLE)
    seen = torch.ones(1, 1, 5, 6, dtype=torch.bool)

    def losses(depth_src, depth_tgt):
        view = synthesize_view(src, depth_src, depth_tgt, motion, K[:1])
        terms = pair_terms(tgt, src, view, seen, PLAIN._replace(dynamic_mask=False))
        return masked_mean(terms.photometric, terms.mask, 0), masked_mean(terms.inconsistency, terms.mask, 0)

    assert torch.autograd.gradcheck(losses, [depth.clone().requires_grad_(), (depth * 1.01).requires_grad_()])


def test_batch_equals_pairs_one_by_one():
    depth = 10 + picture(1, 1).abs()
    motion = still()
    motion[:, 0, 3] = 0.5
    view = view_of(picture(2), depth, depth, motion)
    switches = PairSwitches(brightness_fit=True)
    together = pair_terms(picture(), picture(2), view, ALL, switches)
    for b in range(B):
        one = slice(b, b + 1)
        alone = pair_terms(picture()[one], picture(2)[one], View(*(x[one] for x in view)), ALL[one], switches)
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[one], part)
