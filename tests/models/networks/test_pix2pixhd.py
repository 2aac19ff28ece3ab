"""The pix2pixHD family: published keys and sizes, feature maps, init, every weight trained."""

import pytest
import torch

from models.networks.pix2pixhd import GlobalGenerator, LocalEnhancer, MultiscaleDiscriminator
from util.padding import crop, pad_to_multiple

# Convolutions of the released generator: Sequential index, output channels, input channels, kernel.
FRONT = {"model.1": (64, 3, 7), "model.4": (128, 64, 3), "model.7": (256, 128, 3), "model.10": (512, 256, 3)}
FRONT |= {"model.13": (1024, 512, 3)}
BLOCKS = {f"model.{i}.conv_block.{j}": (1024, 1024, 3) for i in range(16, 25) for j in (1, 5)}
TAIL = {"model.38": (1, 64, 7)}
NEAREST = {"model.25.2": (512, 1024, 3), "model.28.2": (256, 512, 3), "model.31.2": (128, 256, 3)}
NEAREST |= {"model.34.2": (64, 128, 3)}
# A transposed convolution stores input channels first.
TRANSPOSED = {key.removesuffix(".2"): (inputs, outputs, k) for key, (outputs, inputs, k) in NEAREST.items()}


def on_meta(build, **arguments):
    with torch.device("meta"):
        return build(**arguments)


def shapes(network) -> dict[str, tuple]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def weights_and_biases(convs: dict[str, tuple], transposed: tuple = ()) -> dict[str, tuple]:
    """Shapes by key for convolutions given as (first, second, kernel); a transposed one has its bias by the second."""
    expected = {}
    for key, (first, second, kernel) in convs.items():
        expected[f"{key}.weight"] = (first, second, kernel, kernel)
        expected[f"{key}.bias"] = (second if key in transposed else first,)
    return expected


def num_parameters(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_generator_has_exactly_the_released_keys_and_shapes():
    assert shapes(on_meta(GlobalGenerator)) == weights_and_biases(FRONT | BLOCKS | NEAREST | TAIL)


def test_transposed_generator_has_exactly_the_keys_and_shapes_of_pix2pixhd():
    network = on_meta(GlobalGenerator, upsample="transposed")
    assert shapes(network) == weights_and_biases(FRONT | BLOCKS | TRANSPOSED | TAIL, tuple(TRANSPOSED))


def test_local_enhancer_has_exactly_the_keys_and_shapes_of_pix2pixhd():
    network = on_meta(LocalEnhancer, n_downsample=4, upsample="transposed")
    enhancer = {"model1_1.1": (32, 3, 7), "model1_1.4": (64, 32, 3)}
    enhancer |= {f"model1_2.{i}.conv_block.{j}": (64, 64, 3) for i in range(3) for j in (1, 5)}
    enhancer |= {"model1_2.3": (64, 32, 3), "model1_2.7": (1, 32, 7)}
    expected = weights_and_biases(FRONT | BLOCKS | TRANSPOSED | enhancer, (*TRANSPOSED, "model1_2.3"))
    assert shapes(network) == expected


def test_local_enhancer_with_the_nearest_decoder_nests_its_convolution_as_the_generator_does():
    keys = shapes(on_meta(LocalEnhancer))
    assert keys["model1_2.3.2.weight"] == (32, 64, 3, 3)
    assert keys["model.25.2.weight"] == (512, 1024, 3, 3)


def test_discriminator_has_exactly_the_released_keys_and_shapes():
    channels = [4, 64, 128, 256, 512, 1]
    convs = {f"scale{i}_layer{j}.0": (channels[j + 1], channels[j], 4) for i in range(2) for j in range(5)}
    assert shapes(on_meta(MultiscaleDiscriminator)) == weights_and_biases(convs)


@pytest.mark.parametrize(
    ("build", "arguments", "count"),
    [
        (GlobalGenerator, {}, 182_436_993),
        (GlobalGenerator, {"upsample": "transposed"}, 182_436_993),
        (MultiscaleDiscriminator, {}, 5_531_522),
    ],
)
def test_parameter_counts_are_the_published_ones(build, arguments, count):
    assert num_parameters(on_meta(build, **arguments)) == count


def test_feature_maps_have_the_published_sizes_finest_first():
    fine, coarse = on_meta(MultiscaleDiscriminator)(torch.empty(2, 4, 64, 64, device="meta"))
    assert [tuple(maps.shape[1:]) for maps in fine] == [
        (64, 33, 33),
        (128, 17, 17),
        (256, 9, 9),
        (512, 10, 10),
        (1, 11, 11),
    ]
    assert [maps.shape[-1] for maps in coarse] == [17, 9, 5, 6, 7]


def test_highest_scale_number_is_the_discriminator_at_full_size():
    network = MultiscaleDiscriminator(in_channels=2, ndf=4, n_layers=1, num_D=3)
    images = torch.rand(2, 2, 24, 32)
    outputs = network(images)
    assert torch.equal(outputs[0][0], network.get_submodule("scale2_layer0")(images))
    # The pad of the pooling is not counted, so a constant image stays constant down to the coarsest copy.
    constant = torch.ones(1, 2, 24, 32)
    coarsest = network(constant)[-1][0]
    assert torch.allclose(coarsest, network.get_submodule("scale0_layer0")(torch.ones(1, 2, 6, 8)))


def test_discriminator_widths_stop_at_512():
    network = on_meta(MultiscaleDiscriminator, ndf=64, n_layers=5)
    assert [shapes(network)[f"scale0_layer{j}.0.weight"][0] for j in range(7)] == [64, 128, 256, 512, 512, 512, 1]


def test_only_layers_between_first_and_last_are_normalised():
    network = MultiscaleDiscriminator(ndf=4, num_D=1)
    normalised = [
        any(isinstance(part, torch.nn.InstanceNorm2d) for part in network.get_submodule(f"scale0_layer{j}"))
        for j in range(5)
    ]
    assert normalised == [False, True, True, True, False]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_convolutions_start_with_standard_deviation_002(norm):
    torch.manual_seed(0)
    network = GlobalGenerator(ngf=16, n_downsample=2, n_blocks=2, norm=norm)
    for name, weight in network.named_parameters():
        if weight.ndim == 4:
            # 4 standard errors of an estimate from numel samples
            assert abs(weight.std().item() - 0.02) < 4 * 0.02 / (2 * weight.numel()) ** 0.5, name
            assert abs(weight.mean().item()) < 4 * 0.02 / weight.numel() ** 0.5, name


def test_size_that_is_no_multiple_comes_out_rounded_up():
    network = GlobalGenerator(ngf=4, n_downsample=2, n_blocks=1)
    assert network.size_multiple == 4
    assert network(torch.rand(1, 3, 50, 70)).shape == (1, 1, 52, 72)


@pytest.mark.parametrize("upsample", ["nearest", "transposed"])
@pytest.mark.parametrize("build", [GlobalGenerator, LocalEnhancer])
def test_padded_odd_image_comes_back_in_its_size_and_range(build, upsample):
    network = build(ngf=4, n_downsample=2, upsample=upsample)
    padded, place = pad_to_multiple(torch.rand(2, 3, 37, 51) * 2 - 1, network.size_multiple)
    depth = crop(network(padded), place)
    assert depth.shape == (2, 1, 37, 51)
    assert depth.abs().max() <= 1


@pytest.mark.parametrize("build", [GlobalGenerator, LocalEnhancer])
@pytest.mark.parametrize(("bias", "end"), [(-30.0, -1.0), (30.0, 1.0)])
def test_depth_ranges_from_minus_one_to_one(build, bias, end):
    network = build(ngf=4, n_downsample=2, n_blocks_global=1) if build is LocalEnhancer else build(ngf=4, n_blocks=1)
    last = [part for part in network.modules() if isinstance(part, torch.nn.Conv2d)][-1]
    torch.nn.init.constant_(last.bias, bias)
    assert (network(torch.rand(1, 3, 32, 32)) == end).all()


def test_local_enhancer_refuses_sizes_its_levels_cannot_join():
    with pytest.raises(ValueError, match=r"multiples of 8, got \(36, 40\).*pad_to_multiple"):
        LocalEnhancer(ngf=4, n_downsample=2, n_blocks_global=1)(torch.rand(1, 3, 36, 40))


def test_local_enhancer_adds_coarse_features_to_its_front():
    network = LocalEnhancer(ngf=4, n_downsample=1, n_blocks_global=1, n_local=2, n_blocks_local=1)
    half, quarter = (torch.nn.AvgPool2d(3, 2, 1, count_include_pad=False) for _ in range(2))
    images = torch.rand(2, 3, 16, 24)
    features = network.model(quarter(half(images)))
    features = network.model1_2(network.model1_1(half(images)) + features)
    expected = network.model2_2(network.model2_1(images) + features)
    assert torch.allclose(network(images), expected)


def test_enhancer_parameters_are_those_of_the_finest_level_only():
    network = LocalEnhancer(ngf=4, n_downsample=1, n_blocks_global=1, n_local=2, n_blocks_local=1)
    own = {id(parameter) for parameter in network.enhancer_parameters()}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in own}
    assert names == {name for name in network.state_dict() if name.startswith(("model2_1.", "model2_2."))}


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("build", [GlobalGenerator, LocalEnhancer])
def test_every_weight_of_a_generator_gets_gradient(build, norm):
    torch.manual_seed(0)
    network = build(ngf=4, n_downsample=2, norm=norm)
    (network(torch.rand(2, 3, 32, 40)) * torch.rand(2, 1, 32, 40)).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters() if weight.ndim == 4)


def test_every_weight_of_the_discriminator_gets_gradient_from_its_predictions():
    torch.manual_seed(0)
    network = MultiscaleDiscriminator(ndf=4)
    sum(maps[-1].square().sum() for maps in network(torch.rand(2, 4, 32, 40))).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters() if weight.ndim == 4)


def test_instances_of_a_batch_do_not_see_each_other():
    torch.manual_seed(0)
    network, images = GlobalGenerator(ngf=4, n_downsample=2, n_blocks=1), torch.rand(2, 3, 24, 32)
    singles = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), singles, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("arguments", [{"norm": "layer"}, {"upsample": "bilinear"}])
def test_unknown_choice_is_refused_with_the_known_ones(arguments):
    with pytest.raises(ValueError, match=r"unknown .*known are: (instance, batch|nearest, transposed)"):
        GlobalGenerator(ngf=4, **arguments)
