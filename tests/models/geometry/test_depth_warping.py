"""Depth warping layer: planes in closed form, a loop over pixels as judge, published sampling, what is not seen."""

import math

import pytest
import torch

from models.geometry.camera import UNSEEN_PX, backproject, flow_from_depth
from models.geometry.depth_warping import SAMPLINGS, relative_flow, warp_depth
from models.geometry.flow import warp
from models.geometry.motion import inverse_motion, motion_from_vector

F64 = torch.float64
B, H, W = 2, 23, 31
ALL = torch.ones(B, 1, H, W, dtype=torch.bool)
STILL = torch.eye(4, dtype=F64).repeat(B, 1, 1)


def intrinsics():
    """fx != fy, the centre off the middle, another camera for each sample."""
    K = [[[40.0, 0, 14], [0, 34, 12], [0, 0, 1]], [[50.0, 0, 17.5], [0, 58, 9], [0, 0, 1]]]
    return torch.tensor(K, dtype=F64)


def general_motion():
    """``src_from_tgt``: turned and moved, differently for each sample, by a few pixels."""
    vector = [[0.02, -0.03, 0.05, 0.03, -0.04, 0.1], [-0.03, 0.01, -0.06, -0.02, 0.05, -0.08]]
    return motion_from_vector(torch.tensor(vector, dtype=F64))


def forward_motion(distance):
    """``src_from_tgt`` of a source camera that stands further ahead, so that points come nearer."""
    motion = STILL.clone()
    motion[:, 2, 3] = -distance
    return motion


def random_map(seed, batch=B, height=H, width=W):
    return 0.6 + 0.3 * torch.rand(batch, 1, height, width, dtype=F64, generator=torch.Generator().manual_seed(seed))


def disc(height=H, width=W):
    """A lens circle that the image cuts."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (((y - 10) ** 2 + (x - 16) ** 2) < 12**2).expand(B, 1, -1, -1)


def plane_pair(src_from_tgt, K):
    """Depth of a tilted plane n.X = c in both cameras, in closed form: D1 = c / n.r,  D2 = (c - n.t) / (R^T n).r."""
    rays = backproject(torch.ones(B, 1, H, W, dtype=F64), K)
    tgt_from_src = inverse_motion(src_from_tgt)
    rotation, t = tgt_from_src[:, :3, :3], tgt_from_src[:, :3, 3]
    normal, c = torch.tensor([[0.2, -0.3, 1.0], [-0.3, 0.1, 1.0]], dtype=F64), torch.tensor([0.8, 0.6], dtype=F64)
    turned = torch.einsum("bji,bj->bi", rotation, normal)  # R^T n
    depth_tgt = c.view(B, 1, 1) / torch.einsum("bi,bihw->bhw", normal, rays)
    depth_src = (c - (normal * t).sum(1)).view(B, 1, 1) / torch.einsum("bi,bihw->bhw", turned, rays)
    return depth_src[:, None], depth_tgt[:, None]


def warp_by_loop(depth_src, depth_tgt, src_from_tgt, K, mask, read_at):
    """The layer's equations, a pixel at a time: (depth, valid)."""
    height, width = depth_src.shape[-2:]
    result = torch.zeros_like(depth_src)
    share = torch.zeros_like(depth_src)
    for b in range(len(depth_src)):
        inverse_K, tgt_from_src = torch.linalg.inv(K[b]), torch.linalg.inv(src_from_tgt[b])

        def point(depth, x, y, motion, inverse_K=inverse_K):
            X = depth * inverse_K @ torch.tensor([x, y, 1.0], dtype=F64)
            return motion[:3, :3] @ X + motion[:3, 3]

        for y, x in mask[b, 0].nonzero().tolist():
            seen_from_src = point(depth_tgt[b, 0, y, x], x, y, src_from_tgt[b])
            if seen_from_src[2] <= 0:
                continue
            u, v = (K[b] @ seen_from_src)[:2] / seen_from_src[2]
            u, v = read_at(u.item(), width), read_at(v.item(), height)
            for row in (math.floor(v), math.floor(v) + 1):
                for column in (math.floor(u), math.floor(u) + 1):
                    if 0 <= row < height and 0 <= column < width and mask[b, 0, row, column]:
                        part = (1 - abs(row - v)) * (1 - abs(column - u))
                        z = point(depth_src[b, 0, row, column], column, row, tgt_from_src)[2]
                        result[b, 0, y, x] += part * z
                        share[b, 0, y, x] += part
    return result, share >= 0.9


def whole_samples(depth_tgt, src_from_tgt, K, mask):
    """Pixels whose sample reads nothing outside the lens circle or the image."""
    share = warp(mask.double(), flow_from_depth(depth_tgt, K, src_from_tgt), padding="zeros")
    return mask & (share > 1 - 1e-9)


READ_AT = {
    "exact": lambda u, size: u,
    "half_pixel": lambda u, size: u - 0.5,
    "legacy": lambda u, size: u * (size - 1) / size,
}


def test_camera_at_rest_gives_the_map_itself_and_the_mask():
    depth = random_map(0)
    warped = warp_depth(depth, depth, STILL, intrinsics(), disc())
    torch.testing.assert_close(warped.depth, depth * disc())
    assert torch.equal(warped.valid, disc())
    single = warp_depth(depth.float(), depth.float(), STILL.float(), intrinsics().float(), ALL)
    torch.testing.assert_close(single.depth, depth.float(), atol=1e-5, rtol=1e-5)
    assert single.valid.all()


def test_camera_at_rest_shows_the_sources_map_whatever_the_targets():
    depth_src, depth_tgt = random_map(0), random_map(1)
    warped = warp_depth(depth_src, depth_tgt, STILL, intrinsics(), ALL)
    torch.testing.assert_close(warped.depth, depth_src)


@pytest.mark.parametrize("mask", [ALL, disc()], ids=["whole image", "lens circle"])
def test_tilted_plane_seen_by_a_turned_and_moved_camera_is_the_targets_plane(mask):
    K, motion = intrinsics(), general_motion()
    depth_src, depth_tgt = plane_pair(motion, K)
    warped = warp_depth(depth_src, depth_tgt, motion, K, mask)
    whole = whole_samples(depth_tgt, motion, K, mask)
    assert warped.valid[whole].all()
    assert (whole.sum(dim=(1, 2, 3)) > 0.6 * mask.sum(dim=(1, 2, 3))).all()
    torch.testing.assert_close(warped.depth[whole], depth_tgt[whole], rtol=3e-4, atol=0)  # interpolation
    torch.testing.assert_close(warped.depth[warped.valid], depth_tgt[warped.valid], rtol=0.1003, atol=0)  # the rim
    assert (depth_src / depth_tgt - 1).abs().median() > 0.01  # the two maps do differ


def test_wall_that_the_source_is_nearer_to_has_the_targets_depth_and_not_the_sources():
    """Source 0.2 ahead of a wall at 0.8: its map says 0.6, which is 0.8 in the target camera."""
    depth_src, depth_tgt = torch.full((B, 1, H, W), 0.6, dtype=F64), torch.full((B, 1, H, W), 0.8, dtype=F64)
    motion = forward_motion(0.2)
    warped = warp_depth(depth_src, depth_tgt, motion, intrinsics(), ALL)
    whole = whole_samples(depth_tgt, motion, intrinsics(), ALL)
    assert whole.any()
    assert not warped.valid.all()  # the source sees less of the wall
    assert warped.valid[whole].all()
    torch.testing.assert_close(warped.depth[whole], depth_tgt[whole])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_layer_equals_the_loop_over_pixels(sampling):
    sizes = {"height": 7, "width": 9}
    depth_src, depth_tgt = random_map(0, **sizes), random_map(1, **sizes)
    mask = torch.rand(B, 1, 7, 9, generator=torch.Generator().manual_seed(2)) < 0.9
    K = intrinsics() / torch.tensor([4.0, 4.0, 1.0]).view(3, 1)
    warped = warp_depth(depth_src, depth_tgt, general_motion(), K, mask, sampling)
    depth, valid = warp_by_loop(depth_src, depth_tgt, general_motion(), K, mask, READ_AT[sampling])
    torch.testing.assert_close(warped.depth, depth)
    assert torch.equal(warped.valid, valid)
    assert 10 < valid.sum() < mask.sum()


def test_the_other_direction_is_the_exchange_of_roles_and_the_inverse_motion():
    K, motion = intrinsics(), general_motion()
    depth_src, depth_tgt = plane_pair(motion, K)
    warped = warp_depth(depth_tgt, depth_src, inverse_motion(motion), K, ALL)
    whole = whole_samples(depth_src, inverse_motion(motion), K, ALL)
    assert whole.sum() > 0.6 * whole.numel()
    torch.testing.assert_close(warped.depth[whole], depth_src[whole], rtol=3e-4, atol=0)


def ramp():
    """a + b x + c y, which bilinear sampling reads exactly anywhere."""
    y, x = torch.meshgrid(torch.arange(H, dtype=F64), torch.arange(W, dtype=F64), indexing="ij")
    return x, y, (1 + 0.02 * x + 0.05 * y).expand(B, 1, H, W)


def test_half_pixel_reads_half_a_pixel_up_and_left_and_loses_the_first_row_and_column():
    x, y, depth = ramp()
    warped = warp_depth(depth, depth, STILL, intrinsics(), ALL, "half_pixel")
    assert not warped.valid[..., 0, :].any()
    assert not warped.valid[..., :, 0].any()
    assert warped.valid[..., 1:, 1:].all()
    expected = 1 + 0.02 * (x - 0.5) + 0.05 * (y - 0.5)
    torch.testing.assert_close(warped.depth[..., 1:, 1:], expected[1:, 1:].expand(B, 1, -1, -1))
    assert warped.depth[0, 0, 0, 0].item() == pytest.approx(1.0 / 4)  # three of its four pixels lie outside


def test_legacy_reads_ever_further_up_and_left():
    x, y, depth = ramp()
    warped = warp_depth(depth, depth, STILL, intrinsics(), ALL, "legacy")
    expected = 1 + 0.02 * x * 30 / 31 + 0.05 * y * 22 / 23
    torch.testing.assert_close(warped.depth, expected.expand(B, 1, -1, -1))
    assert warped.valid.all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("distance", [0.8, 1.5])
def test_points_in_the_sources_plane_or_behind_it_are_invalid_and_leave_gradients_finite(sampling, distance):
    depth_src = random_map(0).requires_grad_()
    depth_tgt = torch.full((B, 1, H, W), 0.8, dtype=F64, requires_grad=True)
    warped = warp_depth(depth_src, depth_tgt, forward_motion(distance), intrinsics(), ALL, sampling)
    assert not warped.valid.any()
    assert torch.equal(warped.depth, torch.zeros_like(warped.depth))
    (warped.depth - depth_tgt).square().sum().backward()
    torch.testing.assert_close(depth_tgt.grad, torch.full_like(depth_tgt, 1.6))  # of the target's own map only
    assert torch.equal(depth_src.grad, torch.zeros_like(depth_src))


def test_frames_that_share_nothing_have_no_valid_pixel_and_finite_gradients():
    depth = random_map(0).requires_grad_()
    motion = STILL.clone()
    motion[:, 0, 3] = 50.0
    warped = warp_depth(depth, depth, motion, intrinsics(), ALL)
    assert not warped.valid.any()
    warped.depth.sum().backward()
    assert torch.equal(depth.grad, torch.zeros_like(depth))


def test_validity_carries_no_gradient_and_both_maps_do():
    depth_src, depth_tgt = random_map(0).requires_grad_(), random_map(1).requires_grad_()
    warped = warp_depth(depth_src, depth_tgt, general_motion(), intrinsics(), ALL)
    assert warped.valid.dtype == torch.bool
    assert not warped.valid.requires_grad
    warped.depth[warped.valid].sum().backward()
    assert depth_src.grad.abs().sum() > 0
    assert depth_tgt.grad.abs().sum() > 0


def test_validity_is_that_of_the_mask_sampled_at_nine_tenths():
    """All moves by a fraction of a pixel: beside a hole, 0.05 px of it are too little to count, 0.2 px are not."""
    mask = ALL.clone()
    mask[..., 9, 13] = False
    for pixels, lost in ((0.05, [13]), (0.2, [12, 13])):
        motion = STILL.clone()
        motion[:, 0, 3] = pixels * 0.5 / intrinsics()[:, 0, 0]
        plane = torch.full((B, 1, H, W), 0.5, dtype=F64)
        valid = warp_depth(plane, plane, motion, intrinsics(), mask).valid
        assert (~valid[0, 0, 9, :-1]).nonzero().flatten().tolist() == lost


def test_soft_mask_is_cut_at_nine_tenths():
    soft = torch.rand(B, 1, H, W, generator=torch.Generator().manual_seed(3)) * 0.3 + 0.7
    depth = random_map(0)
    given = warp_depth(depth, depth, general_motion(), intrinsics(), soft)
    expected = warp_depth(depth, depth, general_motion(), intrinsics(), soft >= 0.9)
    assert torch.equal(given.depth, expected.depth)
    assert torch.equal(given.valid, expected.valid)
    assert given.valid.any()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_nan_outside_the_mask_leaks_nothing(sampling):
    clean = [random_map(0), random_map(1)]
    spoiled = [torch.where(disc(), x, torch.nan).requires_grad_() for x in clean]
    motion = general_motion().requires_grad_()
    warped = warp_depth(*spoiled, motion, intrinsics(), disc(), sampling)
    expected = warp_depth(*clean, general_motion(), intrinsics(), disc(), sampling)
    assert torch.equal(warped.depth, expected.depth)
    assert torch.equal(warped.valid, expected.valid)
    warped.depth.sum().backward()
    assert all(x.grad.isfinite().all() for x in (*spoiled, motion))
    assert all((x.grad[~disc()] == 0).all() for x in spoiled)


def test_what_hides_a_point_from_the_source_is_left_out_on_request_only():
    """A bar at 0.4 that only the source's map shows, before a wall at 0.8."""
    wall = torch.full((B, 1, H, W), 0.8, dtype=F64)
    source = wall.clone()
    source[..., 10:14] = 0.4
    valid = warp_depth(source, wall, STILL, intrinsics(), ALL).valid
    assert valid.all()
    masked = warp_depth(source, wall, STILL, intrinsics(), ALL, occlusion_tolerance=0.1).valid
    assert torch.equal(masked, source > 0.5)
    assert warp_depth(source, wall, STILL, intrinsics(), ALL, occlusion_tolerance=0.6).valid.all()
    farther = warp_depth(1.5 * wall, wall, STILL, intrinsics(), ALL, occlusion_tolerance=0.1).valid
    assert farther.all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_gradients_are_those_of_finite_differences(sampling):
    inputs = (random_map(4, 1, 4, 5), random_map(5, 1, 4, 5), torch.tensor([[0.01, -0.02, 0.03, 0.01, -0.02, 0.05]]))
    inputs = tuple(x.double().requires_grad_() for x in inputs)
    K, mask = intrinsics()[:1] / torch.tensor([8.0, 8.0, 1.0]).view(3, 1), torch.ones(1, 1, 4, 5)
    mask[0, 0, 1, 2] = 0

    def layer(depth_src, depth_tgt, vector):
        return warp_depth(depth_src, depth_tgt, motion_from_vector(vector), K, mask, sampling).depth

    assert torch.autograd.gradcheck(layer, inputs)


def test_batch_equals_its_samples_one_by_one():
    inputs = (random_map(0), random_map(1), general_motion(), intrinsics(), disc())
    together, flows = warp_depth(*inputs), relative_flow(*inputs[1:])
    for b in range(B):
        single = [x[b : b + 1] for x in inputs]
        for one, all_of_them in zip(
            (*warp_depth(*single), *relative_flow(*single[1:])), (*together, *flows), strict=True
        ):
            torch.testing.assert_close(all_of_them[b : b + 1], one)


def test_layer_is_exact_under_autocast_and_lifts_half_precision():
    inputs = [x.float() for x in (random_map(0), random_map(1), general_motion(), intrinsics())]
    expected, flow = warp_depth(*inputs, ALL), relative_flow(*inputs[1:], ALL).flow
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(warp_depth(*inputs, ALL).depth, expected.depth)
        assert torch.equal(relative_flow(*inputs[1:], ALL).flow, flow)
    half = warp_depth(inputs[0].half(), inputs[1].half(), *inputs[2:], ALL)
    assert half.depth.dtype == torch.float32


def test_flow_by_hand_is_a_fraction_of_width_and_height_towards_the_source():
    """Source camera 0.1 to the left and 0.05 above, wall at 0.5: points move right by f 0.2, down by f 0.1."""
    motion = STILL.clone()
    motion[:, 0, 3], motion[:, 1, 3] = 0.1, 0.05
    flow, seen = relative_flow(torch.full((B, 1, H, W), 0.5, dtype=F64), motion, intrinsics(), disc())
    expected = torch.tensor([[40 * 0.2 / W, 34 * 0.1 / H], [50 * 0.2 / W, 58 * 0.1 / H]], dtype=F64)
    torch.testing.assert_close(flow, expected.view(B, 2, 1, 1) * disc())
    assert torch.equal(seen, disc())


def test_flow_is_that_of_the_camera_in_other_units():
    depth, K, motion = random_map(1), intrinsics(), general_motion()
    flow = relative_flow(depth, motion, K, ALL).flow
    pixels = flow_from_depth(depth, K, motion)
    assert pixels.min() > UNSEEN_PX / 2
    torch.testing.assert_close(flow * torch.tensor([W, H]).view(2, 1, 1), pixels)


def test_flow_of_points_behind_the_source_is_not_seen_and_has_no_gradient():
    """The published code divides by whatever depth the point has there."""
    depth = torch.full((B, 1, H, W), 0.3, dtype=F64)
    depth[..., : W // 2] = 0.8
    depth[..., 0] = 0.5  # in the source camera's plane
    depth.requires_grad_()
    flow, seen = relative_flow(depth, forward_motion(0.5), intrinsics(), ALL)
    assert torch.equal(seen, (depth > 0.5).detach())
    assert torch.equal(flow[~seen.expand_as(flow)], torch.zeros_like(flow[~seen.expand_as(flow)]))
    flow.square().sum().backward()
    assert depth.grad.isfinite().all()
    assert (depth.grad[~seen] == 0).all()
    assert (depth.grad[seen] != 0).any()


def test_flow_outside_the_mask_is_0_and_nan_there_leaks_nothing():
    clean = random_map(1)
    spoiled = torch.where(disc(), clean, torch.nan).requires_grad_()
    motion = general_motion().requires_grad_()
    flow, seen = relative_flow(spoiled, motion, intrinsics(), disc())
    expected = relative_flow(clean, general_motion(), intrinsics(), ALL).flow
    torch.testing.assert_close(flow, torch.where(disc(), expected, 0.0))
    assert torch.equal(seen, disc())
    flow.sum().backward()
    assert spoiled.grad.isfinite().all()
    assert motion.grad.isfinite().all()


def test_gradients_of_the_flow_are_those_of_finite_differences():
    depth, vector = random_map(6, 1, 3, 4), torch.tensor([[0.01, -0.02, 0.03, 0.01, -0.02, 0.05]], dtype=F64)
    K, mask = intrinsics()[:1], torch.ones(1, 1, 3, 4)
    mask[0, 0, 1, 2] = 0
    inputs = (depth.requires_grad_(), vector.requires_grad_())
    assert torch.autograd.gradcheck(lambda d, v: relative_flow(d, motion_from_vector(v), K, mask).flow, inputs)


def test_wrong_input_is_an_error():
    depth, K = random_map(0), intrinsics()
    with pytest.raises(ValueError, match=r"one shape \(B, 1, H, W\), got depth_src \(2, 1, 23, 31\), depth_tgt \(1,"):
        warp_depth(depth, depth[:1], STILL, K, ALL)
    with pytest.raises(ValueError, match=r"one shape \(B, 1, H, W\), got depth_tgt \(2, 1, 23, 31\), mask \(2, 2,"):
        relative_flow(depth, STILL, K, ALL.repeat(1, 2, 1, 1))
    with pytest.raises(ValueError, match=r"dst_from_src must be \(2, 4, 4\)"):
        warp_depth(depth, depth, STILL[:1], K, ALL)
    with pytest.raises(ValueError, match=r"K must be \(2, 3, 3\)"):
        warp_depth(depth, depth, STILL, K[0], ALL)
    with pytest.raises(ValueError, match="unknown sampling 'nearest', known are: exact, half_pixel, legacy"):
        warp_depth(depth, depth, STILL, K, ALL, "nearest")
    with pytest.raises(ValueError, match="occlusion_tolerance must not be negative, got -0.1"):
        warp_depth(depth, depth, STILL, K, ALL, occlusion_tolerance=-0.1)
