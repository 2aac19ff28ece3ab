"""Normal ranking: edges of any direction, points across them, and bends by hand."""

import math

import pytest
import torch

from models.losses import normal_ranking
from models.losses.normal_ranking import Edges, _distances, _points, find_edges, normal_ranking_loss

DOUBLE = torch.float64
B, H, W = 2, 48, 56
ALL = torch.ones(B, 1, H, W, dtype=torch.bool)


def ramp(angle):
    """A soft step across the middle of the image, (1, 1, H, W), steepest along ``angle``."""
    y, x = torch.meshgrid(torch.arange(H, dtype=DOUBLE), torch.arange(W, dtype=DOUBLE), indexing="ij")
    along = (x - W / 2) * math.cos(angle) + (y - H / 2) * math.sin(angle)
    return torch.sigmoid(along)[None, None]


def roof():
    """Normals of two slopes that meet in the middle column, 90 degrees between them."""
    normals = torch.zeros(B, 3, H, W, dtype=DOUBLE)
    normals[:, 2] = math.sqrt(0.5)
    normals[:, 0, :, : W // 2] = -math.sqrt(0.5)
    normals[:, 0, :, W // 2 :] = math.sqrt(0.5)
    return normals


def flat():
    return torch.tensor([0.0, 0.0, 1.0], dtype=DOUBLE).view(1, 3, 1, 1).repeat(B, 1, H, W)


def loss_of(normals, wanted, image=None, pseudo=None, mask=ALL, seed=0):
    image = torch.zeros(B, 3, H, W, dtype=DOUBLE) if image is None else image
    pseudo = torch.ones(B, 1, H, W, dtype=DOUBLE) if pseudo is None else pseudo
    return normal_ranking_loss(normals, wanted, image, pseudo, mask, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 160])
def test_the_direction_of_an_edge_is_that_of_the_steepest_change(degrees):
    """The published code mirrors half of the directions."""
    angle = math.radians(degrees)
    edges = find_edges(ramp(angle))
    middle = edges.angle[0, 0, H // 2, W // 2].item()
    assert math.cos(2 * (middle - angle)) == pytest.approx(1, abs=1e-3)  # the same line, whichever way
    assert edges.strength.flatten().argmax() in (edges.strength == edges.strength.max()).flatten().nonzero()


def test_one_channel_has_the_length_of_its_gradient():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    edges = find_edges((3 * x + 4 * y)[None, None])
    assert edges.strength[0, 0, 2, 3].item() == pytest.approx(5)
    assert edges.angle[0, 0, 2, 3].item() == pytest.approx(math.atan2(4, 3))


def test_points_lie_across_the_edge_in_order_on_both_sides():
    angle = math.radians(120)
    strength = torch.zeros(1, 1, H, W, dtype=DOUBLE)
    strength[..., 24, 28] = 1.0
    allowed = torch.ones(1, 1, H, W, dtype=torch.bool)
    edges = Edges(strength, torch.full_like(strength, angle))
    few_is_fine = pytest.MonkeyPatch()
    with few_is_fine.context() as patch:
        patch.setattr(normal_ranking, "MIN_EDGE_SHARE", 0.0)
        points, inside = _points(edges, allowed, torch.Generator().manual_seed(0))
    assert inside.all()
    x, y = points[0] % W - 28, points[0] // W - 24
    along = x * math.cos(angle) + y * math.sin(angle)
    across = -x * math.sin(angle) + y * math.cos(angle)
    assert across.abs().max() < 1  # rounding to pixels
    assert (along[:2] < -2).all()
    assert (along[2:] > 2).all()
    assert (along.diff(dim=0) > -0.8).all()
    assert along.abs().max() < 20


def test_distances_are_two_different_ones_of_3_to_19_each_as_often():
    draw = torch.rand(2, 200000, generator=torch.Generator().manual_seed(0))
    near, far = _distances(*draw)
    assert (near < far).all()
    counts = torch.bincount(torch.cat((near, far)).long(), minlength=20)
    assert not counts[:3].any()
    assert (counts[3:].double() / (400000 / 17) - 1).abs().max() < 0.03


def test_with_few_edges_points_lie_anywhere_in_any_direction():
    allowed = torch.ones(1, 1, 200, 200, dtype=torch.bool)
    flat_image = torch.zeros(1, 1, 200, 200)
    points, _ = _points(find_edges(flat_image), allowed, torch.Generator().manual_seed(0))
    rows, columns = points // 200, points % 200
    for positions in (rows, columns):
        assert positions.double().mean().item() == pytest.approx(99.5, rel=0.1)
    steps = torch.stack((rows[0, 3] - rows[0, 0], columns[0, 3] - columns[0, 0])).double()
    assert steps[0].abs().mean().item() == pytest.approx(steps[1].abs().mean().item(), rel=0.1)


def test_equal_normals_cost_nothing_and_a_missed_roof_its_bend():
    assert loss_of(roof(), roof()) == 0
    # Anchors lie at the ridge, where normals bend, and anywhere, where the image says nothing. A pair across the ridge
    # should have |cos| = 0 but has 1 on a flat surface; all others have 1 in both.
    missed = loss_of(flat(), roof())
    assert 0.1 < missed.item() < 0.4
    torch.testing.assert_close(loss_of(roof(), flat()) > 0, torch.tensor(True))


def test_where_one_surface_ends_before_another_there_are_no_anchors():
    pseudo = torch.ones(B, 1, H, W, dtype=DOUBLE)
    pseudo[..., W // 2 :] = 2.0
    edges = normal_ranking._depth_edges(pseudo, ALL)
    assert edges[..., W // 2 - 2 : W // 2 + 2].all()
    assert not edges[..., : W // 2 - 3].any()
    assert not edges[..., W // 2 + 3 :].any()
    gentle = torch.linspace(1, 2, W, dtype=DOUBLE).expand(B, 1, H, W)
    assert not normal_ranking._depth_edges(gentle, ALL).any()
    assert not normal_ranking._depth_edges(50 * gentle, ALL).any()


def test_masked_pixels_leak_nothing():
    mask = ALL.clone()
    mask[:, :, 10:20, 10:30] = False
    generator = torch.Generator().manual_seed(1)
    found, wanted, image = (torch.randn(B, 3, H, W, dtype=DOUBLE, generator=generator) for _ in range(3))
    pseudo = 1 + 0.1 * torch.rand(B, 1, H, W, dtype=DOUBLE, generator=generator)
    spoiled = [torch.where(mask, x, torch.nan) for x in (found, wanted, image, pseudo)]
    spoiled[0].requires_grad_()
    loss = loss_of(*spoiled, mask)
    others = [torch.where(mask, x, 3.0) for x in (found, wanted, image, pseudo)]
    torch.testing.assert_close(loss, loss_of(*others, mask))
    loss.backward()
    assert spoiled[0].grad.isfinite().all()
    assert not spoiled[0].grad[~mask.expand(-1, 3, -1, -1)].any()


def test_nothing_valid_gives_zero_with_zero_gradient():
    found = roof().requires_grad_()
    loss = loss_of(found, flat(), mask=~ALL)
    loss.backward()
    assert loss == 0
    assert not found.grad.any()


def test_one_image_does_not_change_the_edges_of_another():
    pseudo = torch.ones(B, 1, H, W, dtype=DOUBLE)
    far = pseudo.clone()
    far[1] = torch.rand(1, H, W, generator=torch.Generator().manual_seed(0)).double() * 100 + 1
    assert torch.equal(normal_ranking._depth_edges(far, ALL)[0], normal_ranking._depth_edges(pseudo, ALL)[0])


def test_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(2)
    found, wanted, image = (torch.randn(1, 3, 24, 26, dtype=DOUBLE, generator=generator) for _ in range(3))
    pseudo, mask = torch.ones(1, 1, 24, 26, dtype=DOUBLE), torch.ones(1, 1, 24, 26, dtype=torch.bool)

    def loss(normals):
        return normal_ranking_loss(normals, wanted, image, pseudo, mask, torch.Generator().manual_seed(0))

    assert torch.autograd.gradcheck(loss, (found.requires_grad_(),), fast_mode=True)


def test_wrong_shapes_are_an_error():
    with pytest.raises(ValueError, match="must be"):
        loss_of(roof(), roof()[..., 1:])
