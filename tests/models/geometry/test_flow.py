"""Warping and consistency of flow: pixel centres, direction, axes, borders."""

import math

import pytest
import torch

from models.geometry.flow import forward_backward_mask, inside_image, pixel_grid, warp

B, H, W = 2, 6, 9


def constant_flow(x, y, height=H, width=W, batch=B):
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).repeat(batch, 1, height, width)


def ramp(height=H, width=W):
    """3 x + 10 y + 1: a value for each position, also between pixels."""
    x, y = pixel_grid(height, width, device=torch.device("cpu"), dtype=torch.float32)
    return (3 * x + 10 * y + 1).expand(B, 1, height, width)


def slow_warp(x, flow, padding):
    """Bilinear sampling pixel by pixel; outside, the nearest pixel (border) or 0 (zeros)."""
    out = torch.zeros_like(x)
    height, width = x.shape[-2:]
    for b in range(len(x)):
        for row in range(height):
            for column in range(width):
                px, py = column + flow[b, 0, row, column].item(), row + flow[b, 1, row, column].item()
                if padding == "border":
                    px, py = min(max(px, 0.0), width - 1.0), min(max(py, 0.0), height - 1.0)
                left, top = math.floor(px), math.floor(py)
                for r, share_y in ((top, 1 - py + top), (top + 1, py - top)):
                    for c, share_x in ((left, 1 - px + left), (left + 1, px - left)):
                        if 0 <= r < height and 0 <= c < width:
                            out[b, :, row, column] += share_y * share_x * x[b, :, r, c]
    return out


def test_pixel_grid_counts_columns_then_rows_from_zero():
    grid = pixel_grid(2, 3, device=torch.device("cpu"), dtype=torch.float32)
    assert grid.tolist() == [[[0, 1, 2], [0, 1, 2]], [[0, 0, 0], [1, 1, 1]]]


@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_zero_flow_is_the_identity_up_to_the_border(padding):
    torch.manual_seed(0)
    x = torch.rand(B, 3, 37, 53)
    assert torch.allclose(warp(x, torch.zeros(B, 2, 37, 53), padding), x, atol=1e-5)  # float32 grid


@pytest.mark.parametrize(("u", "v"), [(0.25, 0.0), (0.0, 0.75), (1.5, -0.5), (-2.25, 1.125)])
def test_linear_ramp_moved_by_a_fraction_is_exact(u, v):
    """A grid that is half a pixel off, or scaled by align_corners, misses this by far more than the tolerance."""
    flow = constant_flow(u, v, 20, 30)
    moved = warp(ramp(20, 30), flow)
    expected = ramp(20, 30) + 3 * u + 10 * v
    inside = inside_image(flow)
    assert inside.sum() > 0.7 * inside.numel()
    assert torch.allclose(moved[inside], expected[inside], atol=1e-3)  # of 300, in float32


@pytest.mark.parametrize("wrong", [lambda flow: -flow, lambda flow: flow.flip(1)], ids=["sign", "axes"])
def test_flow_leads_from_the_result_to_the_frame_that_is_sampled(wrong):
    torch.manual_seed(0)
    scene = torch.rand(B, 3, 20, 24)
    # The scene moves by (+3, +1): src(p) = scene(p + (4, 4)), tgt(p) = src(p - (3, 1)).
    src, tgt = scene[..., 4:14, 4:16], scene[..., 3:13, 1:13]
    flow = constant_flow(3, 1, 10, 12)
    inside = inside_image(flow).expand_as(src)
    assert torch.allclose(warp(tgt, flow)[inside], src[inside], atol=1e-5)
    assert (warp(tgt, wrong(flow)) - src)[inside].abs().mean() > 0.1


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_warp_equals_the_loop_over_pixels(padding):
    torch.manual_seed(0)
    x, flow = torch.rand(B, 3, H, W, dtype=torch.double), torch.randn(B, 2, H, W, dtype=torch.double) * 4
    assert torch.allclose(warp(x, flow, padding), slow_warp(x, flow, padding), atol=1e-12)


def test_batch_equals_its_images_one_by_one():
    torch.manual_seed(0)
    x, flow = torch.rand(B, 3, H, W), torch.randn(B, 2, H, W) * 2
    singles = [warp(x[b : b + 1], flow[b : b + 1]) for b in range(B)]
    assert torch.allclose(warp(x, flow), torch.cat(singles))


def test_warp_passes_gradcheck_in_image_and_flow():
    torch.manual_seed(0)
    x = torch.rand(B, 2, 4, 5, dtype=torch.double, requires_grad=True)
    # Between pixels and inside the image, where sampling is smooth.
    flow = (torch.rand(B, 2, 4, 5, dtype=torch.double) * 0.6 + 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, flow: warp(x, flow, "zeros"), (x, flow))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images_are_sampled_at_float32_positions(dtype):
    """In bfloat16 a position near 500 is known to 2 px, in float16 to 0.25 px."""
    x = ramp(4, 512).to(dtype)
    flow = constant_flow(0.5, 0.25, 4, 512)
    moved = warp(x, flow)
    assert moved.dtype == dtype
    assert torch.equal(moved, warp(x.float(), flow).to(dtype))


def test_border_repeats_the_edge_and_zeros_fade_to_zero():
    x = torch.ones(B, 1, H, W)
    assert torch.allclose(warp(x, constant_flow(100, 0)), x)
    assert (warp(x, constant_flow(100, 0), "zeros") == 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("padding", "expected"), [("border", 1.0), ("zeros", 0.0)])
def test_flow_that_is_not_finite_leads_outside_the_image(bad, dtype, padding, expected):
    x = torch.ones(B, 1, 33, 40, dtype=dtype, requires_grad=True)
    flow = constant_flow(0, 0, 33, 40).to(dtype)
    flow[:, :, 5:20, 7:30] = bad
    moved = warp(x, flow, padding)
    moved.sum().backward()
    assert torch.allclose(moved[..., 5:20, 7:30], torch.tensor(expected, dtype=dtype))
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("x", "flow", "padding", "message"),
    [
        (torch.rand(2, 1, 4, 5), torch.rand(2, 2, 4, 6), "border", "one batch and image size"),
        (torch.rand(1, 1, 4, 5), torch.rand(2, 2, 4, 5), "border", "one batch and image size"),
        (torch.rand(2, 1, 4, 5), torch.rand(2, 4, 5, 2), "border", r"flow must be \(B, 2, H, W\), got \(2, 4, 5, 2\)"),
        (torch.ones(2, 1, 4, 5, dtype=torch.bool), torch.rand(2, 2, 4, 5), "border", "floating point.*torch.bool"),
        (torch.rand(2, 1, 4, 5), torch.rand(2, 2, 4, 5), "edge", "'edge', known are: border, zeros, reflection"),
    ],
)
def test_unfit_input_is_refused(x, flow, padding, message):
    with pytest.raises(ValueError, match=message):
        warp(x, flow, padding)


def test_inside_includes_the_border_pixels_themselves():
    flow = torch.zeros(1, 2, 2, 3)
    flow[0, 0] = torch.tensor([[0.0, 1.0, 0.0], [-0.01, 1.01, 0.01]])  # to columns 0, 2, 2 and -0.01, 2.01, 2.01
    assert inside_image(flow)[0, 0].tolist() == [[True, True, True], [False, False, False]]
    flow = torch.zeros(1, 2, 2, 3)
    flow[0, 1] = torch.tensor([[1.0, 1.01, -0.01], [0.0, -1.0, 0.01]])  # to rows 1, 1.01, -0.01 and 1, 0, 1.01
    assert inside_image(flow)[0, 0].tolist() == [[True, False, False], [True, True, False]]


def test_slack_lets_rounding_at_the_border_pass():
    flow = constant_flow(-1e-4, 1e-4)
    assert not inside_image(flow)[..., 0].any()
    assert not inside_image(flow)[..., -1, :].any()
    assert inside_image(flow, slack=1e-3).all()


def test_mask_is_where_the_way_there_and_back_ends_where_it_began():
    fwd = constant_flow(2, -1)
    mask = forward_backward_mask(fwd, -fwd)
    assert mask.dtype == torch.bool
    assert mask.shape == (B, 1, H, W)
    assert torch.equal(mask, inside_image(fwd))


def test_threshold_is_a_squared_distance_and_strict():
    fwd = constant_flow(0, 0)
    bwd = constant_flow(0.3, 0.4)  # ends 0.5 px off, squared 0.25
    assert forward_backward_mask(fwd, bwd, threshold=0.26).all()
    assert not forward_backward_mask(fwd, bwd, threshold=0.24).any()
    assert not forward_backward_mask(fwd, constant_flow(1, 0), threshold=1.0).any()
    assert forward_backward_mask(fwd, constant_flow(0.99, 0)).all()


def test_mask_equals_the_loop_over_pixels():
    torch.manual_seed(0)
    fwd, bwd = torch.randn(B, 2, H, W) * 1.5, torch.randn(B, 2, H, W) * 0.7
    back = slow_warp(bwd, fwd, "border")
    mask = forward_backward_mask(fwd, bwd)
    for b in range(B):
        for row in range(H):
            for column in range(W):
                u, v = fwd[b, :, row, column].tolist()
                inside = 0 <= column + u <= W - 1 and 0 <= row + v <= H - 1
                error = (u + back[b, 0, row, column].item()) ** 2 + (v + back[b, 1, row, column].item()) ** 2
                assert mask[b, 0, row, column].item() == (inside and error < 1.0)
    assert 0 < mask.sum() < mask.numel()


def test_occluded_pixels_are_masked_out():
    """Background at rest, a square that moves right by 4: what it covers in the other frame has no way back."""
    fwd, bwd = torch.zeros(1, 2, 10, 20), torch.zeros(1, 2, 10, 20)
    fwd[:, 0, 3:7, 4:8] = 4.0
    bwd[:, 0, 3:7, 8:12] = -4.0
    expected = torch.ones(10, 20, dtype=torch.bool)
    expected[3:7, 8:12] = False
    assert torch.equal(forward_backward_mask(fwd, bwd)[0, 0], expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_flow_that_is_not_finite_is_masked_out_and_stays_where_it_is(bad):
    fwd, bwd = constant_flow(0, 0), constant_flow(0, 0)
    fwd[0, 0, 2, 3] = bad
    mask = forward_backward_mask(fwd, bwd)
    assert not mask[0, 0, 2, 3]
    assert mask.sum() == mask.numel() - 1


def test_flows_of_different_size_are_refused():
    with pytest.raises(ValueError, match="flows must have one shape"):
        forward_backward_mask(constant_flow(0, 0), constant_flow(0, 0, width=W + 1))
