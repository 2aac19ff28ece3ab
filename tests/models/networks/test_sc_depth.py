"""SC-Depth's networks: what the paper's description gives, ranges, sizes, and every weight trained."""

import pytest
import torch

from models.networks.sc_depth import MAX_DEPTH, MIN_DEPTH, DepthNet, PoseNet, depth_from_logits
from tests.models.networks.slow_sc_depth import slow_depth, slow_vector
from util.padding import crop, pad_to_multiple

UNUSED_HEADS = sum(9 * channels + 1 for channels in (32, 64, 128))  # weights of the published heads 1 to 3
CLASSIFIER_18, CLASSIFIER_50 = 513_000, 2_049_000


def on_meta(build, *arguments):
    with torch.device("meta"):
        return build(*arguments)


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def lively(network):
    """In double, for testing: the image reaches the output, and batch norm has statistics of data."""
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
        elif not name.startswith("encoder."):
            torch.nn.init.kaiming_normal_(parameter)
    images = [2 * torch.randn(2, 3, 128, 160) + 0.5 for _ in range(2)]
    network(*images) if isinstance(network, PoseNet) else network(images[0])
    return network.double().eval()


@pytest.fixture(scope="module")
def depth_net():
    torch.manual_seed(1)
    return lively(DepthNet())


@pytest.fixture(scope="module")
def pose_net():
    torch.manual_seed(1)
    return lively(PoseNet())


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def published_decoder(network):
    """The weights of the decoder by their published names."""
    state, names = network.state_dict(), {"decoder.dispconvs.0.conv": "head.1"}
    for k in range(5):
        names |= {f"decoder.upconvs0.{k}.conv.conv": f"levels.{k}.reduce.1"}
        names |= {f"decoder.upconvs1.{k}.conv.conv": f"levels.{k}.fuse.1"}
    return {f"{name}.{kind}": state[f"{ours}.{kind}"] for name, ours in names.items() for kind in ("weight", "bias")}


def published_pose(network):
    """All weights by their published names."""
    state = network.state_dict()
    weights = {f"encoder.{key}": value for key, value in state.items() if key.startswith("encoder.")}
    for name, ours in (("conv_squeeze", 0), ("convs_pose.0", 2), ("convs_pose.1", 4), ("convs_pose.2", 6)):
        weights |= {f"decoder.{name}.{kind}": state[f"head.{ours}.{kind}"] for kind in ("weight", "bias")}
    return weights


# What is computed


@torch.no_grad()
def test_depth_is_what_a_slow_decoder_makes_of_the_features(depth_net):
    images = rand(2, 3, 64, 96)
    depth = depth_net(images)
    assert depth.shape == (2, 1, 64, 96)
    assert depth.std() > 0.01  # something to compare
    torch.testing.assert_close(depth, slow_depth(published_decoder(depth_net), depth_net.encoder(images)))


@torch.no_grad()
@pytest.mark.parametrize(("scale", "half_size"), [(0.01, False), (1.0, True)])
def test_vector_is_what_a_slow_network_makes_of_both_images(pose_net, scale, half_size):
    network = PoseNet(6, scale, half_size).double().eval()
    network.load_state_dict(pose_net.state_dict())
    first, second = rand(2, 3, 66, 101), rand(2, 3, 66, 101) + 1
    expected = slow_vector(published_pose(pose_net), first, second, scale=scale, half_size=half_size)
    assert expected.abs().mean() > 0.01 * scale
    torch.testing.assert_close(network(first, second), expected)


def test_depth_by_hand():
    logits = torch.tensor([-200.0, 0.0, 200.0])
    assert depth_from_logits(logits).tolist() == pytest.approx([100, 1 / 5.01, 1 / 10.01])


@torch.no_grad()
def test_untrained_depth_is_about_a_fifth():
    torch.manual_seed(0)
    depth = DepthNet()(torch.randn(2, 3, 64, 96))
    assert depth.sub(0.2).abs().max() < 0.1
    assert depth.mean() == pytest.approx(0.2, abs=0.02)


@torch.no_grad()
@pytest.mark.parametrize(("bias", "end", "rounded"), [(-200.0, MAX_DEPTH, 100.0), (200.0, MIN_DEPTH, 0.0999)])
def test_depth_ranges_from_a_tenth_to_a_hundred(bias, end, rounded):
    network = DepthNet()
    torch.nn.init.constant_(network.head[1].bias, bias)
    assert network(torch.randn(1, 3, 64, 64)).unique().tolist() == pytest.approx([end])
    assert end == pytest.approx(rounded, rel=1e-4)


@torch.no_grad()
def test_vector_is_the_scaled_mean_over_positions():
    network = PoseNet(3, scale=0.5).eval()
    maps = torch.randn(2, 3, 4, 5)
    network.head = torch.nn.Module()
    network.head.forward = lambda features: maps
    torch.testing.assert_close(network(*torch.randn(2, 2, 3, 64, 64)), 0.5 * maps.sum(dim=(2, 3)) / 20)


@torch.no_grad()
def test_order_of_the_images_matters(pose_net):
    first, second = rand(1, 3, 64, 96), rand(1, 3, 64, 96) + 1
    there, back = pose_net(first, second), pose_net(second, first)
    assert (there - back).abs().max() > 0.01 * there.abs().max()


@torch.no_grad()
def test_batch_equals_its_images_one_by_one(depth_net, pose_net):
    images, others = rand(2, 3, 64, 96), rand(2, 3, 64, 96) + 1
    torch.testing.assert_close(depth_net(images), torch.cat([depth_net(image[None]) for image in images]))
    singles = [pose_net(a[None], b[None]) for a, b in zip(images, others, strict=True)]
    torch.testing.assert_close(pose_net(images, others), torch.cat(singles))


# Sizes


@pytest.mark.parametrize(
    ("network", "arguments", "dropped", "published"),
    [
        (DepthNet, (18,), CLASSIFIER_18 + UNUSED_HEADS, 14_842_236),
        (DepthNet, (50,), CLASSIFIER_50 + UNUSED_HEADS, 34_571_132),
        (PoseNet, (6,), CLASSIFIER_18, 13_011_950),
        (PoseNet, (3,), CLASSIFIER_18, 13_011_179),
    ],
)
def test_parameters_are_the_published_ones_without_those_that_are_never_used(network, arguments, dropped, published):
    assert num_parameters(on_meta(network, *arguments)) + dropped == published


def test_parameters_that_are_left():
    counts = [num_parameters(on_meta(*build)) for build in ((DepthNet, 18), (DepthNet, 50), (PoseNet, 6), (PoseNet, 3))]
    assert counts == [14_327_217, 32_520_113, 12_498_950, 12_498_179]


@torch.no_grad()
@pytest.mark.parametrize("num_layers", [34, 50])
def test_deeper_encoders_fit_the_decoder(num_layers):
    assert DepthNet(num_layers)(torch.randn(1, 3, 64, 96)).shape == (1, 1, 64, 96)


@pytest.mark.parametrize("size", [(96, 100), (80, 96), (32, 96), (96, 32)])
def test_sizes_that_the_levels_cannot_join_are_refused_with_the_way_out(size):
    with pytest.raises(ValueError, match=r"multiples of 32 and at least 64, got \(\d+, \d+\); pad_to_multiple"):
        on_meta(DepthNet)(torch.empty(1, 3, *size, device="meta"))


@torch.no_grad()
def test_padded_frame_fits():
    network = DepthNet()
    padded, place = pad_to_multiple(torch.randn(1, 3, 37, 70), network.size_multiple, 2 * network.size_multiple)
    assert crop(network(padded), place).shape == (1, 1, 37, 70)


def test_images_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(1, 3, 64, 64\) and \(1, 3, 64, 96\)"):
        on_meta(PoseNet)(*(torch.empty(1, 3, 64, width, device="meta") for width in (64, 96)))


# How they are trained


@pytest.mark.parametrize("network", [DepthNet, PoseNet])
def test_every_weight_gets_gradient(network):
    torch.manual_seed(0)
    network = network()
    images = torch.randn(2, 2, 3, 64, 96)
    output = network(images[0]) if isinstance(network, DepthNet) else network(*images)
    (output * torch.rand_like(output)).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


@pytest.mark.parametrize("network", [DepthNet, PoseNet])
def test_nothing_of_a_call_is_kept(network):
    network = network()
    before = [dict(vars(module)) for module in network.modules()]
    network(*torch.randn(1 if isinstance(network, DepthNet) else 2, 2, 3, 64, 64))
    assert [dict(vars(module)) for module in network.modules()] == before


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_outputs_are_float32_and_as_fine_under_autocast(depth_net, pose_net, dtype):
    networks = (DepthNet().eval(), depth_net, 1), (PoseNet().eval(), pose_net, 2)
    for network, double, count in networks:
        network.load_state_dict(double.state_dict())
        images = [rand(1, 3, 64, 96) + k for k in range(count)]
        with torch.autocast("cpu", dtype=dtype):
            output = network(*(image.float() for image in images))
        assert output.dtype == torch.float32
        assert (output.to(dtype) != output).any()  # more bits than those of the type
        expected = double(*images).float()
        torch.testing.assert_close(output, expected, rtol=0.1, atol=0.05 * expected.abs().max().item())  # 8 bits within


@pytest.mark.parametrize("network", [DepthNet, PoseNet])
def test_networks_compile_in_one_piece(network):
    torch.manual_seed(0)
    torch._dynamo.reset()
    network = network().eval()
    images = torch.randn(1 if isinstance(network, DepthNet) else 2, 1, 3, 64, 96)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*images), network(*images))
    torch._dynamo.reset()
