"""Masked gradient warping: by hand, by a slow loop from the equation, and where it must not look."""

import math

import pytest
import torch

from models.losses.gradient_warping import masked_gradient_warping_loss

B, H, W = 2, 5, 7
NAMES = ("depth_src", "depth_tgt", "flow", "mask", "image_src")


def inputs(dtype=torch.double, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    flow = rand(B, 2, H, W) * 6 - 3
    mask = rand(B, 1, H, W) > 0.4
    return rand(B, 1, H, W), rand(B, 1, H, W), flow, mask, rand(B, 3, H, W)


def gradient_at(depth, y, x):
    """(g_x, g_y) of a map (H, W), 0 in the last column and row."""
    height, width = depth.shape
    along_x = depth[y, x + 1] - depth[y, x] if x + 1 < width else 0.0
    along_y = depth[y + 1, x] - depth[y, x] if y + 1 < height else 0.0
    return torch.tensor([along_x, along_y], dtype=depth.dtype)


def sampled_gradient(depth, y, x):
    """The gradients at a position between pixels: clamped into the image, then bilinear."""
    height, width = depth.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    total = torch.zeros(2, dtype=depth.dtype)
    for row, share_y in ((top, 1 - (y - top)), (min(top + 1, height - 1), y - top)):
        for column, share_x in ((left, 1 - (x - left)), (min(left + 1, width - 1), x - left)):
            total += share_y * share_x * gradient_at(depth, row, column)
    return total


def slow_loss(depth_src, depth_tgt, flow, mask, image_src):
    """Steps 3 to 6 of the method, pixel by pixel."""
    losses = []
    for b in range(len(depth_src)):
        total, count = 0.0, 0.0
        for y in range(H):
            for x in range(W):
                m = float(mask[b, 0, y, x])
                right, below = min(x + 1, W - 1), min(y + 1, H - 1)
                here = image_src[b, :, y, x]
                w_x = math.exp(-(image_src[b, :, y, right] - here).abs().mean().item())
                w_y = math.exp(-(image_src[b, :, below, x] - here).abs().mean().item())
                u, v = flow[b, :, y, x].tolist()
                difference = gradient_at(depth_src[b, 0], y, x) - sampled_gradient(depth_tgt[b, 0], y + v, x + u)
                total += m * (w_x * abs(difference[0].item()) + w_y * abs(difference[1].item()))
                count += m
        losses.append(total / max(count, 1.0))
    return sum(losses) / len(losses)


def test_loss_equals_the_loop_over_pixels():
    arguments = inputs()
    assert masked_gradient_warping_loss(*arguments).item() == pytest.approx(slow_loss(*arguments), rel=1e-9)


def test_loss_equals_the_loop_with_fractional_mask_and_flow_out_of_the_image():
    depth_src, depth_tgt, flow, _, image = inputs(seed=1)
    arguments = depth_src, depth_tgt, flow * 4, torch.rand(B, 1, H, W, dtype=torch.double), image
    assert masked_gradient_warping_loss(*arguments).item() == pytest.approx(slow_loss(*arguments), rel=1e-9)


def test_value_by_hand():
    # g_x = 2 everywhere but in the last of 3 columns, g_y = 0; the target is flat, so the error is 2, 2, 0 in a row.
    # The image steps by 0.3 (mean over channels 0.1) between columns 0 and 1: w_x = exp(-0.1), 1, 1.
    depth_src = torch.tensor([0.0, 2.0, 4.0]).expand(1, 1, 2, 3)
    flat, still = torch.zeros(1, 1, 2, 3), torch.zeros(1, 2, 2, 3)
    image = torch.zeros(1, 3, 2, 3)
    image[:, 0, :, 1:] = 0.3
    mask = torch.ones(1, 1, 2, 3, dtype=torch.bool)
    assert masked_gradient_warping_loss(depth_src, flat, still, mask).item() == pytest.approx(8 / 6)
    with_edges = masked_gradient_warping_loss(depth_src, flat, still, mask, image)
    assert with_edges.item() == pytest.approx((4 * math.exp(-0.1) + 4) / 6)
    mask[..., 1] = False
    assert masked_gradient_warping_loss(depth_src, flat, still, mask).item() == pytest.approx(4 / 4)


def test_edge_weights_take_images_from_0_to_1():
    """A full black-to-white edge weighs exp(-1): images in [-1, 1] or [0, 255] would give another value."""
    depth_src = torch.tensor([0.0, 1.0]).expand(1, 1, 1, 2)
    black_to_white = torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2)
    mask = torch.tensor([True, False]).view(1, 1, 1, 2)
    loss = masked_gradient_warping_loss(depth_src, depth_src * 0, torch.zeros(1, 2, 1, 2), mask, black_to_white)
    assert loss.item() == pytest.approx(math.exp(-1))


def test_depths_that_move_with_the_flow_cost_nothing_whatever_their_offset():
    torch.manual_seed(0)
    scene = torch.rand(B, 1, 12, 15)
    # The scene moves by (+2, +1): what the source shows at p, the target shows at p + (2, 1), here 3 units nearer.
    depth_src, depth_tgt = scene[..., 3:9, 4:11], scene[..., 2:8, 2:9] - 3
    flow = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(B, 2, 6, 7)
    mask = torch.zeros(B, 1, 6, 7, dtype=torch.bool)
    mask[..., :-2, :-3] = True  # last row and column of either frame have no difference of their own
    assert masked_gradient_warping_loss(depth_src, depth_tgt, flow, mask).item() < 1e-5
    assert masked_gradient_warping_loss(depth_src, depth_tgt, -flow, mask).item() > 0.1
    assert masked_gradient_warping_loss(depth_src, depth_tgt, flow.flip(1), mask).item() > 0.1


def test_both_depths_get_gradient_and_nothing_else_does():
    depth_src, depth_tgt, flow, mask, image = inputs()
    leaves = [x.clone().requires_grad_() for x in (depth_src, depth_tgt, flow, image)]
    masked_gradient_warping_loss(leaves[0], leaves[1], leaves[2], mask, leaves[3]).backward()
    assert leaves[0].grad.abs().sum() > 0
    assert leaves[1].grad.abs().sum() > 0
    assert leaves[2].grad is None
    assert leaves[3].grad is None


def test_gradcheck():
    depth_src, depth_tgt, flow, mask, image = inputs()
    assert torch.autograd.gradcheck(
        lambda src, tgt: masked_gradient_warping_loss(src, tgt, flow, mask, image),
        (depth_src.requires_grad_(), depth_tgt.requires_grad_()),
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_masked_pixels_leak_neither_values_nor_gradient(bad):
    depth_src, depth_tgt, flow, _, image = inputs()
    flow = torch.zeros_like(flow)
    mask = torch.ones(B, 1, H, W, dtype=torch.bool)
    mask[..., 2:, 3:] = False
    clean = masked_gradient_warping_loss(depth_src, depth_tgt, flow, mask, image)
    # A counted pixel reads its right and lower neighbours, so the spoilt region begins one pixel further in, and in the
    # target, where it reads the four pixels around a place between pixels, two.
    depth_src[..., 3:, 4:] = bad
    image[..., 3:, 4:] = bad
    depth_tgt[..., 4:, 5:] = bad
    flow[..., 2:, 3:] = bad
    depth_src.requires_grad_()
    depth_tgt.requires_grad_()
    loss = masked_gradient_warping_loss(depth_src, depth_tgt, flow, mask, image)
    loss.backward()
    assert loss == clean
    for depth in (depth_src, depth_tgt):
        assert torch.isfinite(depth.grad).all()
    assert (depth_src.grad[..., 3:, 4:] == 0).all()
    assert (depth_tgt.grad[..., 4:, 5:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_empty_mask_is_zero_with_zero_gradient(dtype):
    depth_src, depth_tgt, flow, _, image = inputs()
    depth_src.requires_grad_()
    depth_tgt.requires_grad_()
    loss = masked_gradient_warping_loss(depth_src, depth_tgt, flow, torch.zeros(B, 1, H, W, dtype=dtype), image)
    loss.backward()
    assert loss == 0
    assert (depth_src.grad == 0).all()
    assert (depth_tgt.grad == 0).all()


def test_batch_equals_its_images_one_by_one_even_when_one_mask_is_empty():
    arguments = inputs()
    arguments[3][1] = False
    singles = [masked_gradient_warping_loss(*(x[b : b + 1] for x in arguments)) for b in range(B)]
    assert singles[1] == 0
    assert torch.allclose(masked_gradient_warping_loss(*arguments), (singles[0] + singles[1]) / 2)


def test_bool_and_float_masks_agree():
    depth_src, depth_tgt, flow, mask, image = inputs()
    as_float = masked_gradient_warping_loss(depth_src, depth_tgt, flow, mask.float(), image)
    assert torch.equal(as_float, masked_gradient_warping_loss(depth_src, depth_tgt, flow, mask, image))


def test_half_precision_depth_is_compared_in_float32():
    depth_src, depth_tgt, flow, mask, image = (x if x.dtype == torch.bool else x.float() for x in inputs())
    half = masked_gradient_warping_loss(depth_src.half(), depth_tgt.half(), flow, mask, image)
    exact = masked_gradient_warping_loss(depth_src.half().float(), depth_tgt.half().float(), flow, mask, image)
    assert half.dtype == torch.float32
    assert torch.allclose(half, exact)


@pytest.mark.parametrize(("position", "name"), list(enumerate(NAMES)))
def test_wrong_shape_is_named(position, name):
    arguments = list(inputs())
    arguments[position] = arguments[position][..., :-1] if position else arguments[position][:, 0]
    with pytest.raises(ValueError, match=rf"{name} must be \("):
        masked_gradient_warping_loss(*arguments)
