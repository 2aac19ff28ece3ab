"""The pinhole camera: points and pixels by hand, rigid motion, one frame seen from another's camera."""

import math

import pytest
import torch

from models.geometry.camera import (
    backproject,
    flow_from_depth,
    inverse_warp,
    project,
    relative_pose,
    rotation_warp,
    synthesize_view,
    transform,
)
from models.geometry.flow import inside_image, pixel_grid, warp
from models.geometry.motion import motion_from_vector

B, H, W = 2, 6, 9


def intrinsics(dtype=torch.float64):
    """fx != fy, the centre off the middle, another camera for each image."""
    K = [[[8.0, 0, 3], [0, 6, 2], [0, 0, 1]], [[10.0, 0, 5], [0, 12, 3], [0, 0, 1]]]
    return torch.tensor(K, dtype=dtype)


def motion(angle=0.0, axis=1, t=(0.0, 0.0, 0.0), batch=B):
    """Turn by ``angle`` about the x (0), y (1) or z (2) axis, then move by ``t``: (B, 4, 4), right-handed."""
    matrix = torch.eye(4, dtype=torch.float64)
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[second, first], matrix[first, second] = math.sin(angle), -math.sin(angle)
    matrix[:3, 3] = torch.tensor(t, dtype=torch.float64)
    return matrix.repeat(batch, 1, 1)


def random_depth(seed=0):
    return torch.rand(B, 1, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 30 + 20


def random_motion():
    return motion(0.1, 0, (1.0, -2.0, 3.0)) @ motion(-0.2, 1) @ motion(0.3, 2)


def test_points_by_hand():
    points = backproject(torch.full((B, 1, H, W), 24.0, dtype=torch.float64), intrinsics())
    # Pixel (x, y) = (7, 5): camera 0 sees (7-3)/8 and (5-2)/6, camera 1 (7-5)/10 and (5-3)/12, times 24 mm.
    assert points[0, :, 5, 7].tolist() == pytest.approx([12.0, 12.0, 24.0])
    assert points[1, :, 5, 7].tolist() == pytest.approx([4.8, 4.0, 24.0])


def test_pixel_of_the_principal_point_lies_on_the_optical_axis():
    """Pixel centres are integers: no half pixel between K and the grid."""
    points = backproject(random_depth(), intrinsics())
    assert points[0, :2, 2, 3].tolist() == [0, 0]
    assert points[1, :2, 3, 5].tolist() == [0, 0]


def test_depth_is_measured_along_the_optical_axis_not_along_the_ray():
    depth_mm = random_depth()
    points = backproject(depth_mm, intrinsics())
    assert torch.equal(points[:, 2:3], depth_mm)
    assert (points.norm(dim=1, keepdim=True) > depth_mm + 1e-3).any()


def test_projection_undoes_backprojection():
    pixels = project(backproject(random_depth(), intrinsics()), intrinsics())
    grid = pixel_grid(H, W, device=pixels.device, dtype=pixels.dtype)
    assert torch.allclose(pixels, grid.expand(B, -1, -1, -1))


def test_pixels_by_hand_for_a_list_of_points():
    points = torch.tensor([[4.0, -2.0, 8.0], [0.0, 3.0, 6.0]], dtype=torch.float64).T.expand(B, 3, 2)
    pixels = project(points, intrinsics())
    assert pixels.shape == (B, 2, 2)
    assert pixels[0].T.tolist() == [[8 * 0.5 + 3, 6 * -0.25 + 2], [3, 6 * 0.5 + 2]]
    assert pixels[1].T.tolist() == [[10 * 0.5 + 5, 12 * -0.25 + 3], [5, 12 * 0.5 + 3]]


@pytest.mark.parametrize("z", [-5.0, 0.0, math.nan])
def test_points_not_before_the_camera_fall_outside_without_spoiling_gradients(z):
    points = torch.tensor([[0.0, 0.0, z], [1.0, 1.0, 10.0]], dtype=torch.float64).T.repeat(B, 1, 1).requires_grad_()
    pixels = project(points, intrinsics())
    assert (pixels[..., 0] < 0).all()
    assert torch.isfinite(pixels).all()
    pixels.sum().backward()
    assert (points.grad[..., 0] == 0).all()
    assert (points.grad[..., 1] != 0).all()


def test_transform_turns_and_moves_by_hand():
    # A quarter turn about z takes x to y and y to -x.
    matrix = motion(math.pi / 2, 2, (10.0, 20.0, 30.0))
    points = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).view(1, 3, 1).expand(B, 3, 1)
    expected = torch.tensor([10.0 - 2, 20.0 + 1, 30.0 + 3], dtype=torch.float64)
    assert torch.allclose(transform(points, matrix)[0, :, 0], expected)


@pytest.mark.parametrize("shape", [(B, 3, 7), (B, 3, 4, 5)])
def test_transform_equals_the_matrix_product(shape):
    points, matrix = torch.randn(shape, dtype=torch.float64), random_motion()
    matrix[1] = motion(0.5, 2, (7.0, 8.0, 9.0))[0]
    expected = matrix[:, :3, :3] @ points.flatten(2) + matrix[:, :3, 3:]
    assert torch.allclose(transform(points, matrix), expected.view(shape))


def test_geometry_is_exact_under_autocast():
    depth, K, matrix = random_depth().float(), intrinsics(torch.float32), random_motion().float()
    exact = flow_from_depth(depth, K, matrix)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(flow_from_depth(depth, K, matrix), exact)


def test_half_precision_depth_is_lifted_to_float32():
    depth = random_depth().bfloat16()
    flow = flow_from_depth(depth, intrinsics(), random_motion())
    assert flow.dtype == torch.float32
    assert torch.allclose(flow, flow_from_depth(depth.float(), intrinsics(), random_motion()))


def test_pose_leads_from_the_camera_to_the_world():
    """A camera that moves 10 mm along its axis has +10 mm in its pose, and sees things 10 mm nearer."""
    world_from_src, world_from_tgt = motion(), motion(t=(0.0, 0.0, 10.0))
    tgt_from_src = relative_pose(world_from_tgt, world_from_src)
    points = backproject(random_depth(), intrinsics())
    assert torch.allclose(transform(points, tgt_from_src)[:, 2], points[:, 2] - 10)
    # So the scene grows away from the principal point, by Z / (Z - 10).
    flow = flow_from_depth(torch.full((B, 1, H, W), 30.0, dtype=torch.float64), intrinsics(), tgt_from_src)
    offset = pixel_grid(H, W, device=flow.device, dtype=flow.dtype) - intrinsics()[:, :2, 2].view(B, 2, 1, 1)
    assert torch.allclose(flow, offset * (30 / 20 - 1))


def test_relative_pose_chains_as_its_name_reads():
    world_from_src, world_from_tgt = random_motion(), motion(0.7, 2, (5.0, 6.0, 7.0))
    src_from_tgt = relative_pose(world_from_src, world_from_tgt)
    assert torch.allclose(world_from_src @ src_from_tgt, world_from_tgt)
    clip = torch.stack((world_from_src, world_from_tgt), dim=1)  # (B, T, 4, 4)
    assert torch.allclose(relative_pose(clip[:, :1], clip[:, 1:])[:, 0], src_from_tgt)


def test_sideways_motion_moves_a_plane_by_focal_length_times_shift_over_depth():
    plane = torch.full((B, 1, H, W), 24.0, dtype=torch.float64)
    # The camera moves right by 6 mm and down by 3 mm, so points move left and up in it.
    flow = flow_from_depth(plane, intrinsics(), motion(t=(-6.0, -3.0, 0.0)))
    expected = torch.tensor([[-8 * 6 / 24, -6 * 3 / 24], [-10 * 6 / 24, -12 * 3 / 24]], dtype=torch.float64)
    assert torch.allclose(flow, expected.view(B, 2, 1, 1).expand_as(flow))


def test_flow_of_a_pure_rotation_does_not_depend_on_depth():
    turn = motion(0.2, 1)
    flow = flow_from_depth(random_depth(0), intrinsics(), turn)
    assert torch.allclose(flow, flow_from_depth(random_depth(1), intrinsics(), turn))
    # A quarter of the field: the axis of camera 0 goes to tan(0.2) fx right of the principal point.
    assert flow[0, 0, 2, 3].item() == pytest.approx(8 * math.tan(0.2))


def test_flow_equals_the_loop_over_pixels():
    depth, K, matrix = random_depth(), intrinsics(), random_motion()
    flow = flow_from_depth(depth, K, matrix)
    for b in range(B):
        for y in range(H):
            for x in range(W):
                pixel = torch.tensor([x, y, 1.0], dtype=torch.float64)
                moved = matrix[b, :3, :3] @ (depth[b, 0, y, x] * torch.linalg.solve(K[b], pixel)) + matrix[b, :3, 3]
                image = K[b] @ moved
                assert torch.allclose(flow[b, :, y, x], image[:2] / image[2] - pixel[:2])


def test_motion_there_and_back_gives_a_flow_that_returns():
    """The flow of a plane between two cameras, and the flow back from the depth that the other camera sees."""
    K, shift = intrinsics(), motion(t=(-2.0, 1.0, 0.0))
    plane = torch.full((B, 1, H, W), 24.0, dtype=torch.float64)
    there, back = flow_from_depth(plane, K, shift), flow_from_depth(plane, K, relative_pose(shift, motion()))
    inside = inside_image(there)
    assert torch.allclose((there + warp(back, there)) * inside, torch.zeros_like(there), atol=1e-9)


def test_inverse_warp_with_no_motion_is_the_identity():
    image, K = torch.rand(B, 3, 300, 400), torch.tensor([[171.3, 0, 201.7], [0, 163.9, 148.3], [0, 0, 1]])
    depth = torch.rand(B, 1, 300, 400) * 90 + 10
    warped, valid = inverse_warp(image, depth, motion().float(), K.expand(B, 3, 3))
    assert torch.allclose(warped, image, atol=1e-4)  # positions of 400 px in float32
    assert valid.dtype == torch.bool
    assert valid.shape == (B, 1, 300, 400)
    assert valid.all()  # to the border, rounding or not


def test_inverse_warp_looks_up_each_target_pixel_in_the_source():
    """The source camera stands where its principal point sees what the target sees 2 px further right."""
    image = torch.rand(B, 3, H, W, dtype=torch.float64)
    plane = torch.full((B, 1, H, W), 20.0, dtype=torch.float64)
    shift = motion()
    shift[:, 0, 3] = 2 * 20 / intrinsics()[:, 0, 0]  # 2 px for either focal length
    warped, valid = inverse_warp(image, plane, shift, intrinsics())
    assert torch.allclose(warped[..., :-2], image[..., 2:])
    assert valid[..., :-2].all()
    assert not valid[..., -2:].any()


def test_inverse_warp_marks_invalid_depth_and_points_behind_the_camera():
    depth = random_depth()
    depth[0, 0, 2, 3] = 0
    image = torch.rand(B, 3, H, W, dtype=torch.float64)
    _, valid = inverse_warp(image, depth, motion(t=(0.0, 0.0, 5.0)), intrinsics())
    assert not valid[0, 0, 2, 3]
    assert valid[0, 0, 2, 4]
    warped, valid = inverse_warp(image, random_depth(), motion(t=(0.0, 0.0, -100.0)), intrinsics())
    assert not valid.any()
    assert torch.isfinite(warped).all()


def test_batch_equals_its_images_one_by_one():
    image, depth, K, matrix = torch.rand(B, 3, H, W).double(), random_depth(), intrinsics(), random_motion()
    matrix[1] = motion(0.05, 2, (1.0, 0.0, 0.0))[0]
    warped, valid = inverse_warp(image, depth, matrix, K)
    for b in range(B):
        single = inverse_warp(*(x[b : b + 1] for x in (image, depth, matrix, K)))
        assert torch.allclose(warped[b : b + 1], single[0])
        assert torch.equal(valid[b : b + 1], single[1])


def test_gradcheck_of_the_whole_chain():
    torch.manual_seed(0)
    image = torch.rand(B, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    depth = (torch.rand(B, 1, 3, 4, dtype=torch.float64) * 5 + 20).requires_grad_()
    matrix, K = random_motion().requires_grad_(), intrinsics().requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: inverse_warp(*x, padding="zeros")[0], (image, depth, matrix, K))
    assert torch.autograd.gradcheck(flow_from_depth, (depth, K, matrix))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: backproject(torch.rand(2, 3, 4, 5), intrinsics()), r"depth must be \(B, 1, ...\), got \(2, 3, 4, 5\)"),
        (lambda: backproject(torch.rand(2, 1, 4, 5), torch.eye(3)), r"K must be \(2, 3, 3\), got \(3, 3\)"),
        (lambda: project(torch.rand(2, 3, 5), intrinsics()[:1]), r"K must be \(2, 3, 3\), got \(1, 3, 3\)"),
        (lambda: transform(torch.rand(2, 3, 5), intrinsics()), r"dst_from_src must be \(2, 4, 4\), got \(2, 3, 3\)"),
    ],
)
def test_wrong_shapes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_translated_plane_is_seen_at_the_depth_that_it_has():
    """A camera 5 mm nearer to a wall at 40 mm computes 35 mm, and that is what the other depth map says."""
    tgt, src = (torch.full((B, 1, H, W), depth, dtype=torch.float64) for depth in (40.0, 35.0))
    view = synthesize_view(
        torch.rand(B, 3, H, W, dtype=torch.float64), src, tgt, motion(t=(1.0, 0, -5.0)), intrinsics()
    )
    assert view.mask.any()
    assert not view.mask.all()
    torch.testing.assert_close(view.depth_computed[view.mask], view.depth_projected[view.mask])
    assert torch.equal(view.depth_computed, torch.full_like(tgt, 35.0))


def test_synthesized_view_is_the_inverse_warp_of_frame_and_depth():
    img, depth_src, depth_tgt = torch.rand(B, 3, H, W, dtype=torch.float64), random_depth(1), random_depth()
    view = synthesize_view(img, depth_src, depth_tgt, random_motion(), intrinsics())
    warped, mask = inverse_warp(torch.cat((img, depth_src), dim=1), depth_tgt, random_motion(), intrinsics())
    torch.testing.assert_close(torch.cat((view.image, view.depth_projected), dim=1), warped)
    assert torch.equal(view.mask, mask)
    points = transform(backproject(depth_tgt, intrinsics()), random_motion())
    assert torch.equal(view.depth_computed, points[:, 2:3])


def test_identity_motion_gives_the_frames_themselves_and_all_is_in_view():
    img, depth = torch.rand(B, 3, H, W), random_depth().float()
    view = synthesize_view(img, depth, depth, motion().float(), intrinsics(torch.float32))
    torch.testing.assert_close(view.image, img, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(view.depth_projected, view.depth_computed, atol=1e-4, rtol=1e-5)
    assert view.mask.all()


@pytest.mark.parametrize("z", [-30.0, -24.0])
def test_view_from_behind_the_scene_shows_nothing(z):
    """The published code counts points behind the camera, and those in its plane make it nan."""
    depth = torch.full((B, 1, H, W), 24.0, dtype=torch.float64, requires_grad=True)
    view = synthesize_view(torch.rand(B, 3, H, W).double(), depth, depth, motion(t=(0, 0, z)), intrinsics())
    assert not view.mask.any()
    (view.image.sum() + view.depth_projected.sum()).backward()
    assert depth.grad.isfinite().all()


def test_turned_view_needs_no_depth_and_equals_the_warp_with_any_depth():
    img, turn = torch.rand(B, 3, H, W, dtype=torch.float64), motion(0.1, 1) @ motion(-0.2, 2)
    turned, mask = rotation_warp(img, turn[:, :3, :3], intrinsics())
    warped, mask_of_warp = inverse_warp(img, random_depth(), turn, intrinsics())
    torch.testing.assert_close(turned[mask.expand_as(img)], warped[mask.expand_as(img)])
    assert torch.equal(mask, mask_of_warp)


def test_synthesized_view_is_differentiable_in_depths_and_motion():
    generator = torch.Generator().manual_seed(3)
    img = torch.rand(1, 2, 4, 5, dtype=torch.float64, generator=generator)
    src, tgt = (20 + 5 * torch.rand(1, 1, 4, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    vector = torch.tensor([[0.31, -0.23, 0.4, 0.01, -0.02, 0.013]], dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (img, src, tgt, vector)]

    def view(img, src, tgt, vector):
        seen = synthesize_view(img, src, tgt, motion_from_vector(vector), intrinsics()[:1])
        return seen.image, seen.depth_projected, seen.depth_computed

    assert torch.autograd.gradcheck(view, inputs)
