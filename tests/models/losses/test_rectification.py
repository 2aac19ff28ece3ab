"""Rotation losses of V2: by hand, and which rotations serve as known ones."""

import pytest
import torch

from models.losses.rectification import known_angles, rotation_consistency, rotation_triplet


def angles(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_medium_rotations_serve_themselves_and_others_are_drawn_a_pair_each():
    # Means of the absolute values: 0.05 (usable), 0.01 (tiny), 0.2 (large).
    given = angles((0.05, -0.05, 0.05), (0.01, 0.01, 0.01), (0.2, 0.2, -0.2)).requires_grad_()
    known, usable = known_angles(given, torch.Generator().manual_seed(0))
    assert usable.tolist() == [True, False, False]
    assert torch.equal(known[0], given[0])
    assert known[1:].abs().max() <= 0.05
    assert (known[1] != known[2]).all()
    assert not known.requires_grad


def test_drawn_rotations_repeat_with_the_generator_and_with_pytorchs_own():
    given = angles((0.0, 0, 0), (0.0, 0, 0))
    first, second = (known_angles(given, torch.Generator().manual_seed(4))[0] for _ in range(2))
    assert torch.equal(first, second)
    torch.manual_seed(7)
    own = known_angles(given)[0]
    torch.manual_seed(7)
    assert torch.equal(known_angles(given)[0], own)


def test_drawn_rotations_are_uniform():
    drawn = known_angles(torch.zeros(20000, 3), torch.Generator().manual_seed(0))[0]
    assert drawn.mean().abs() < 1e-3
    assert drawn.std().item() == pytest.approx(0.1 / 12**0.5, rel=0.02)


def test_consistency_by_hand_teaches_only_the_angles_that_were_found():
    found, known = angles((0.1, 0.2, -0.3)).requires_grad_(), angles((0.1, 0.1, -0.1)).requires_grad_()
    loss = rotation_consistency(found, known)
    assert loss.item() == pytest.approx(0.1)
    loss.backward()
    assert known.grad is None


def test_triplet_is_the_published_one_from_the_margin_on():
    before, after = angles((0.08, -0.3, 0.06)), angles((0.05, -0.3, 0.0))
    # max(0, |after| - |before| + 0.05): 0.02, 0.05, 0
    assert rotation_triplet(before, after).item() == pytest.approx((0.02 + 0.05) / 3)


def test_a_camera_that_does_not_turn_costs_nothing_and_pushes_nothing():
    before, after = (torch.zeros(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    loss = rotation_triplet(before, after)
    loss.backward()
    assert loss == 0
    assert before.grad is None


def test_gradients_are_those_of_finite_differences():
    before = angles((0.08, -0.3, 0.06), (0.01, 0.02, -0.4))
    after = angles((0.07, -0.28, 0.03), (0.02, 0.03, -0.38)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotation_triplet(before, x), (after,))
    assert torch.autograd.gradcheck(lambda x: rotation_consistency(x, before), (after,))


def test_wrong_shapes_are_an_error():
    with pytest.raises(ValueError, match="must have one shape"):
        rotation_triplet(torch.zeros(2, 3), torch.zeros(4, 3))
