"""What lies on the pixel grid is cropped, flipped and resized together, proven on pictures of their own coordinates."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from data.transforms import (
    RESIZE_MODES,
    Preprocessing,
    flip_sample,
    random_crop,
    random_zoom,
    resize_depth,
    resize_picture,
    resize_sample,
)
from models.geometry.camera import project
from models.geometry.flow import inside_image, pixel_grid, warp
from util.errors import UserError

HEIGHT, WIDTH = 24, 37
K = torch.tensor([[31.0, 0, 15.3], [0, 27.0, 13.1], [0, 0, 1]])
SHIFT = (4.0, -3.0)  # what frame 0 shows at p, frame 1 shows at p + SHIFT [px]


def coded(height=HEIGHT, width=WIDTH):
    """A picture (3, H, W) whose first two channels say where a pixel was, x and y [px]; float64 is exact."""
    grid = pixel_grid(height, width, device=torch.device("cpu"), dtype=torch.float64)
    return torch.cat((grid, torch.zeros(1, height, width)))


def clip_sample():
    """Two frames of one coordinate-coded plane that moves by SHIFT, with flow, masks and intrinsics."""
    shift = torch.tensor(SHIFT, dtype=torch.float64).view(2, 1, 1)
    frames = torch.stack((coded(), coded()))
    frames[1, :2] -= shift  # at p + SHIFT it shows the code p
    flow = shift.expand(2, HEIGHT, WIDTH)
    sample = {"frames": frames, "flow_fwd": flow[None].clone(), "flow_bwd": -flow[None].clone()}
    masks = {f"mask_{way}": inside_image(sample[f"flow_{way}"]) for way in ("fwd", "bwd")}
    return {**sample, **masks, "intrinsics": K.clone()}


def pair_sample():
    image = coded()
    return {"image": image, "depth_mm": image[:1] + 100 * image[1:2] + 1, "valid": image[:1] % 3 > 0}


def assert_flow_maps_codes_onto_each_other(sample):
    first, second = sample["frames"]
    for src, tgt, way in ((first, second, "fwd"), (second, first, "bwd")):
        mask = sample[f"mask_{way}"]
        assert mask.any()
        shown = warp(tgt[None], sample[f"flow_{way}"])
        torch.testing.assert_close(shown[:, :2] * mask, src[None, :2] * mask)


def assert_intrinsics_follow(before, after, picture):
    """The pixel that a point is projected to shows the code of the pixel that it was projected to before."""
    points = torch.tensor([[-3.0, 2.0, 20.0], [5.0, -1.0, 20.0], [0.0, 0.0, 30.0]]).T[None]  # (1, 3, N)
    old, new = (project(points, K[None])[0].T.double() for K in (before, after))  # (N, 2)
    size = torch.tensor([picture.shape[-1] - 1, picture.shape[-2] - 1])
    assert ((new > 0) & (new < size)).all()
    grid = pixel_grid(*picture.shape[-2:], device=torch.device("cpu"), dtype=torch.float64)
    for (x, y), target in zip(old, new, strict=True):
        shown = warp(picture[None, :2].double(), (target.view(2, 1, 1) - grid)[None])[0, :, 0, 0]
        torch.testing.assert_close(
            shown, torch.stack((x, y)), rtol=0, atol=0.02
        )  # anti-aliased cubic resampling keeps a ramp to 0.01


def test_the_sample_itself_is_consistent():
    assert_flow_maps_codes_onto_each_other(clip_sample())
    assert_intrinsics_follow(K, K, coded())


def test_a_flip_mirrors_pictures_depth_and_validity_together():
    before, after = pair_sample(), flip_sample(pair_sample())
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor[..., range(WIDTH - 1, -1, -1)])


def test_flow_maps_codes_onto_each_other_after_a_flip():
    flipped = flip_sample(clip_sample())
    assert_flow_maps_codes_onto_each_other(flipped)
    assert flipped["flow_fwd"][0, :, 0, 0].tolist() == [-SHIFT[0], SHIFT[1]]


def test_two_flips_are_none():
    twice = flip_sample(flip_sample(clip_sample()))
    for name, tensor in clip_sample().items():
        torch.testing.assert_close(twice[name], tensor)


def test_intrinsics_follow_a_flip():
    flipped = flip_sample(clip_sample())
    # A mirrored camera sees the mirrored world, so the point's x is mirrored with it.
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    assert_intrinsics_follow(K, flipped["intrinsics"] @ mirror, coded().flip(-1))
    assert flipped["intrinsics"][0, 0] > 0


def test_poses_of_a_flipped_sample_are_those_of_a_mirrored_world():
    """A point of the world projects to the mirrored pixel once the point is mirrored too."""
    poses = torch.from_numpy(np.stack([random_pose(seed) for seed in range(3)]))
    flipped = flip_sample(clip_sample() | {"pose": poses})
    points = torch.tensor([[0.3, -0.2, 6.0], [-1.0, 0.4, 5.0], [0.1, 0.9, 8.0]], dtype=torch.float64).T
    mirrored = points * torch.tensor([[-1.0], [1.0], [1.0]], dtype=torch.float64)
    x, y = pixels_of(points, poses, K.double()).unbind(1)
    torch.testing.assert_close(
        pixels_of(mirrored, flipped["pose"], flipped["intrinsics"].double()), torch.stack((WIDTH - 1 - x, y), 1)
    )
    torch.testing.assert_close(torch.linalg.det(flipped["pose"]), torch.ones(3, dtype=torch.float64))


def random_pose(seed):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(np.random.default_rng(seed).normal(scale=0.3, size=3)).as_matrix()
    pose[:3, 3] = np.random.default_rng(seed + 9).normal(size=3)
    return pose


def pixels_of(points, poses, K):
    """(T, 2, N) of points (3, N) of the world, seen from poses (T, 4, 4)."""
    inside = torch.linalg.inv(poses)
    return project(inside[:, :3, :3] @ points + inside[:, :3, 3:], K.expand(len(poses), 3, 3))


def test_maps_of_structure_from_motion_are_flipped_with_the_frames():
    names = ("mask", "sparse_depth", "confidence", "sparse_flow", "flow_confidence")
    before = {"frames": torch.rand(2, 3, 4, 5)} | {name: torch.rand(2, 2, 4, 5) for name in names}
    after = flip_sample(before)
    for name, tensor in before.items():
        sign = torch.tensor([-1.0, 1.0]).view(2, 1, 1) if name == "sparse_flow" else 1.0
        torch.testing.assert_close(after[name], sign * tensor.flip(-1))


@pytest.mark.parametrize("seed", range(4))
def test_a_crop_cuts_everything_at_one_place(seed):
    rng = np.random.default_rng(seed)
    cut = random_crop(pair_sample(), 17, rng)
    x, y = cut["image"][:2]
    assert {name: tuple(tensor.shape) for name, tensor in cut.items()} == {
        "image": (3, 17, 17),
        "depth_mm": (1, 17, 17),
        "valid": (1, 17, 17),
    }
    torch.testing.assert_close(cut["depth_mm"][0], x + 100 * y + 1)
    torch.testing.assert_close(cut["valid"][0], x % 3 > 0)


@pytest.mark.parametrize("seed", range(4))
def test_flow_and_intrinsics_follow_a_crop(seed):
    cut = random_crop(clip_sample(), 19, np.random.default_rng(seed))
    assert_flow_maps_codes_onto_each_other(cut)
    left, top = cut["frames"][0, :2, 0, 0].tolist()
    torch.testing.assert_close(cut["intrinsics"], K - torch.tensor([[0, 0, left], [0, 0, top], [0, 0, 0]]))


def test_intrinsics_project_onto_the_same_content_after_a_crop():
    cut = random_crop(clip_sample(), 23, np.random.default_rng(3))
    points = torch.tensor([1.0, -1.0, 20.0]).view(1, 3, 1)
    x, y = project(points, cut["intrinsics"][None]).flatten().round().long()
    old_x, old_y = project(points, K[None]).flatten().round().long()
    assert cut["frames"][0, :2, y, x].tolist() == [old_x, old_y]


def test_a_flow_that_leaves_the_crop_is_marked():
    sample = clip_sample()
    sample["mask_fwd"][:] = True
    cut = random_crop(sample, 10, np.random.default_rng(0))
    # 4 to the right and 3 up, of 10 x 10: the last four columns and the first three rows leave.
    expected = torch.zeros(1, 1, 10, 10, dtype=torch.bool)
    expected[..., 3:, :6] = True
    torch.testing.assert_close(cut["mask_fwd"], expected)


def test_a_crop_keeps_what_was_masked_before():
    sample = clip_sample()
    sample["mask_bwd"][:] = False
    assert not random_crop(sample, 10, np.random.default_rng(0))["mask_bwd"].any()


def test_crops_reach_every_place_and_the_whole_frame_is_one():
    rng = np.random.default_rng(0)
    corners = {tuple(random_crop(pair_sample(), 22, rng)["image"][:2, 0, 0].tolist()) for _ in range(600)}
    assert corners == {(x, y) for x in range(WIDTH - 21) for y in range(HEIGHT - 21)}
    square = {"image": coded(20, 20)}
    torch.testing.assert_close(random_crop(square, 20, rng), square)


def test_a_crop_larger_than_the_frame_is_an_error_that_names_the_flag():
    with pytest.raises(UserError, match=r"--fineSize 25 .* 24x37"):
        random_crop(pair_sample(), 25, np.random.default_rng(0))


@pytest.mark.parametrize("size", [(48, 111), (12, 37), (31, 20)])
def test_intrinsics_follow_a_resize(size):
    # Linear codes are kept by any interpolation away from the border, half-pixel convention included.
    codes = coded() / 100
    resized = resize_sample({"image": codes, "intrinsics": K.clone()}, size)
    assert resized["image"].shape == (3, *size)
    assert_intrinsics_follow(K, resized["intrinsics"], resized["image"] * 100)


def test_a_resized_picture_stays_in_range_where_bicubic_overshoots():
    edges = torch.where(coded()[:1] % 8 < 4, -1.0, 1.0).expand(3, -1, -1).float()
    resized = resize_picture(edges, (51, 80))
    assert resized.min() == -1
    assert resized.max() == 1


def test_frames_are_resized_one_by_one():
    frames = torch.rand(3, 3, HEIGHT, WIDTH) * 2 - 1
    together = resize_picture(frames, (11, 13))
    for frame, resized in zip(frames, together, strict=True):
        torch.testing.assert_close(resize_picture(frame, (11, 13)), resized)


def test_shrinking_averages_and_does_not_pick():
    stripes = (coded()[:1] % 2 * 2 - 1).expand(3, -1, -1)[..., :36].float()
    assert resize_picture(stripes, (12, 6))[..., 1:-1].abs().max() < 0.1


@pytest.mark.parametrize("size", [(50, 70), (13, 11), (24, 80)])
def test_invalid_depth_does_not_leak_into_its_neighbours(size):
    depth_mm = torch.full((1, HEIGHT, WIDTH), 80.0)
    valid = torch.rand(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) > 0.4
    for wrong in (0.0, torch.nan, 1e6):
        out, out_valid = resize_depth(torch.where(valid, depth_mm, wrong), valid, size)
        assert out_valid.any()
        assert not out_valid.all()
        torch.testing.assert_close(out[out_valid], torch.full_like(out[out_valid], 80.0))
        assert (out[~out_valid] == 0).all()


def test_linear_depth_is_resized_at_the_centres_of_its_pixels():
    depth_mm = coded()[:1].float() + 10
    out, valid = resize_depth(depth_mm, torch.ones_like(depth_mm, dtype=torch.bool), (HEIGHT, 2 * WIDTH))
    assert valid.all()
    centres = (torch.arange(2 * WIDTH) + 0.5) / 2 - 0.5
    torch.testing.assert_close(out[0, 5, 1:-1], centres[1:-1] + 10)


def test_the_own_size_changes_nothing():
    sample = pair_sample() | {"intrinsics": K.clone()}
    torch.testing.assert_close(resize_sample(sample, (HEIGHT, WIDTH)), sample)


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("resize", (64, 64)),
        ("resize_and_crop", (64, 64)),
        ("scale_width", (50, 64)),
        ("scale_width_and_crop", (50, 64)),
        ("crop", (100, 128)),
        ("fit", (50, 64)),
        ("none", (100, 128)),
    ],
)
def test_size_of_every_mode(mode, size):
    assert Preprocessing(mode, load_size=64, fine_size=32).size_of(100, 128) == size


def test_every_mode_is_tested_above_and_crops_where_its_name_says():
    for mode in RESIZE_MODES:
        preprocessing = Preprocessing(mode, load_size=40, fine_size=16, flip=False)
        sample = preprocessing.resize({"image": torch.rand(3, 30, 60)})
        assert sample["image"].shape[-2:] == preprocessing.size_of(30, 60)
        size = (16, 16) if "crop" in mode else preprocessing.size_of(30, 60)
        if mode == "fit":
            size = (40, 40)
        sample = preprocessing.pad(sample)
        assert preprocessing.augment(sample, np.random.default_rng(0))["image"].shape[-2:] == size


def test_a_panorama_keeps_at_least_one_row():
    assert Preprocessing("scale_width", load_size=8).size_of(1, 1000) == (1, 8)


def test_half_of_the_samples_are_flipped_and_none_without_flip():
    sample, mirrored = pair_sample(), flip_sample(pair_sample())
    rng = np.random.default_rng(0)
    flipped = [torch.equal(Preprocessing().augment(sample, rng)["image"], mirrored["image"]) for _ in range(200)]
    assert 75 < sum(flipped) < 125
    assert all(Preprocessing(flip=False).augment(sample, rng)["image"] is sample["image"] for _ in range(20))


def test_augmentation_leaves_its_input_alone():
    sample, untouched = clip_sample(), clip_sample()
    flip_sample(sample)
    random_crop(sample, 10, np.random.default_rng(0))
    torch.testing.assert_close(sample, untouched)


def test_height_of_its_own_makes_frames_that_are_not_square():
    preprocessing = Preprocessing("resize", load_size=20, load_height=12)
    assert preprocessing.size_of(100, 128) == (12, 20)
    assert Preprocessing("scale_width", load_size=64, load_height=12).size_of(100, 128) == (50, 64)


def test_zoom_keeps_the_size_and_camera_and_picture_together():
    """A pixel's ray is the same before and after: what lies at K^-1 p is still there."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    K = torch.tensor([[50.0, 0, 28], [0, 45, 21], [0, 0, 1]])
    rays = torch.stack(((x - 28) / 50, (y - 21) / 45, torch.zeros_like(x)))
    sample = {
        "image": rays,
        "view": torch.ones(1, 40, 60, dtype=torch.bool),
        "pseudo_depth": rays[:1] + 2,
        "intrinsics": K,
    }
    for seed in range(5):
        out = random_zoom(sample, 1.3, np.random.default_rng(seed))
        assert out["image"].shape == (3, 40, 60)
        fx, fy, cx, cy = (out["intrinsics"][i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
        assert 50 <= fx <= 50 * 1.32
        assert 45 <= fy <= 45 * 1.32
        expected = torch.stack(((x - cx) / fx, (y - cy) / fy))
        inner = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(out["image"][:2][inner], expected[inner], atol=2e-3, rtol=0)
        torch.testing.assert_close(out["pseudo_depth"][inner], expected[:1][inner] + 2, atol=2e-3, rtol=0)
        assert out["view"].all()


def test_zoom_is_drawn_along_x_and_y_apart_and_flow_cannot_be_zoomed():
    sample = {"image": torch.zeros(3, 200, 200), "intrinsics": torch.eye(3)}
    drawn = [random_zoom(sample, 1.15, np.random.default_rng(seed))["intrinsics"] for seed in range(60)]
    factors = torch.stack([torch.stack((K[0, 0], K[1, 1])) for K in drawn])
    assert (factors[:, 0] != factors[:, 1]).float().mean() > 0.8
    assert factors.min() < 1.02
    assert 1.13 < factors.max() <= 1.15
    with pytest.raises(ValueError, match="--zoom 1"):
        random_zoom(
            {"frames": torch.zeros(2, 3, 8, 8), "flow_fwd": torch.zeros(1, 2, 8, 8)}, 1.2, np.random.default_rng(0)
        )


def test_view_and_pseudo_depth_are_flipped_with_the_frames():
    view, depth = torch.rand(1, 4, 5) > 0.5, torch.rand(1, 4, 5)
    flipped = flip_sample({"frames": torch.zeros(3, 3, 4, 5), "view": view, "pseudo_depth": depth})
    assert torch.equal(flipped["view"], view.flip(-1))
    assert torch.equal(flipped["pseudo_depth"], depth.flip(-1))
