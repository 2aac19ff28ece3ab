"""GAN and feature matching losses, by hand and by a loop from the equation."""

import math

import pytest
import torch

from models.losses.adversarial import GANLoss, feature_matching_loss
from models.networks.pix2pixhd import MultiscaleDiscriminator


def constant_maps(values, size=(2, 3)):
    """Feature maps over scales and layers, each of one value."""
    return [[torch.full((2, 1, *size), float(value)) for value in scale] for scale in values]


def random_maps(num_D=2, n_layers=3, **options):
    """Maps of uneven sizes, as a discriminator has them."""
    return [[torch.randn(2, 3 + j, 4 + k, 5 + j, **options) for j in range(n_layers + 2)] for k in range(num_D)]


def test_least_squares_by_hand_is_summed_over_scales_and_reads_only_the_last_map():
    predictions = constant_maps([[9.0, 0.5], [9.0, 2.0]])
    loss = GANLoss("lsgan")
    assert loss(predictions, True).item() == pytest.approx(0.5**2 + 1.0**2)
    assert loss(predictions, False).item() == pytest.approx(0.5**2 + 2.0**2)


def test_vanilla_by_hand_takes_logits():
    predictions = constant_maps([[9.0, 0.0], [9.0, 2.0]])
    loss = GANLoss("vanilla")
    assert loss(predictions, True).item() == pytest.approx(math.log(2) + math.log(1 + math.exp(-2)))
    assert loss(predictions, False).item() == pytest.approx(math.log(2) + math.log(1 + math.exp(2)))


def test_perfect_predictions_cost_nothing():
    assert GANLoss()(constant_maps([[1.0], [1.0]]), True) == 0
    assert GANLoss()(constant_maps([[0.0], [0.0]]), False) == 0


@pytest.mark.parametrize("mode", ["lsgan", "vanilla"])
@pytest.mark.parametrize("target", [True, False])
def test_gan_loss_of_a_batch_is_the_mean_over_its_images(mode, target):
    maps = random_maps()
    singles = [GANLoss(mode)([[m[b : b + 1] for m in scale] for scale in maps], target) for b in range(2)]
    assert torch.allclose(GANLoss(mode)(maps, target), torch.stack(singles).mean())


@pytest.mark.parametrize("mode", ["lsgan", "vanilla"])
def test_gan_loss_passes_gradcheck(mode):
    fine, coarse = (torch.randn(2, 1, 3, size, dtype=torch.double, requires_grad=True) for size in (4, 2))
    assert torch.autograd.gradcheck(lambda a, b: GANLoss(mode)([[a], [b]], True), (fine, coarse))


def test_extreme_logits_stay_finite():
    assert torch.isfinite(GANLoss("vanilla")(constant_maps([[1e4], [-1e4]]), True))


def test_feature_matching_by_hand():
    # Two scales, n_layers 1: maps 0 and 1 count, the prediction does not. Factor 4/2 * 1/2 * 10 = 10.
    fake = constant_maps([[1.0, 3.0, 50.0], [0.0, -1.0, 60.0]])
    real = constant_maps([[0.0, 1.0, 70.0], [0.0, 2.0, 80.0]])
    loss = feature_matching_loss(fake, real, n_layers=1, num_D=2, weight=10.0)
    assert loss.item() == pytest.approx(10 * (1 + 2 + 0 + 3))


def test_feature_matching_equals_the_loop_over_scales_and_layers():
    fake, real = random_maps(num_D=3, n_layers=2), random_maps(num_D=3, n_layers=2)
    expected = 0.0
    for k in range(3):
        for j in range(3):
            expected += 4 / 3 * 1 / 3 * 7.0 * (fake[k][j] - real[k][j]).abs().mean().item()
    assert feature_matching_loss(fake, real, 2, 3, weight=7.0).item() == pytest.approx(expected)


def test_feature_matching_is_zero_for_equal_features_whatever_the_predictions():
    fake = random_maps()
    real = [[*scale[:-1], scale[-1] + 1] for scale in fake]
    assert feature_matching_loss(fake, real, 3, 2) == 0


def test_feature_matching_trains_the_fake_features_only():
    fake, real = random_maps(requires_grad=True), random_maps(requires_grad=True)
    feature_matching_loss(fake, real, 3, 2).backward()
    assert all(m.grad is None for scale in real for m in scale)
    for scale in fake:
        assert scale[-1].grad is None
        assert all(m.grad.abs().sum() > 0 for m in scale[:-1])


def test_feature_matching_passes_gradcheck():
    real = random_maps(1, 1, dtype=torch.double)
    fake = random_maps(1, 1, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *maps: feature_matching_loss([maps], real, 1, 1), tuple(fake[0]))


def test_losses_take_what_the_discriminator_returns():
    network = MultiscaleDiscriminator(ndf=4, n_layers=2, num_D=3)
    fake, real = network(torch.rand(2, 4, 40, 56)), network(torch.rand(2, 4, 40, 56))
    expected = sum((maps[-1] - 1).square().mean() for maps in fake)
    assert torch.allclose(GANLoss()(fake, True), expected)
    assert feature_matching_loss(fake, real, n_layers=2, num_D=3) > 0


def test_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'wgan', known are: lsgan, vanilla"):
        GANLoss("wgan")


@pytest.mark.parametrize("predictions", [torch.rand(2, 1, 3, 3), [torch.rand(2, 1, 3, 3)], []])
def test_tensor_in_place_of_a_list_of_maps_is_refused(predictions):
    with pytest.raises(ValueError, match="list over scales of lists of feature maps"):
        GANLoss()(predictions, True)


def test_wrong_number_of_maps_is_refused():
    with pytest.raises(ValueError, match=r"real must have 2 scales of 5 maps, got \[4, 4\] maps"):
        feature_matching_loss(random_maps(), random_maps(n_layers=2), 3, 2)
