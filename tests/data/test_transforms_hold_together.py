"""Whatever is done to a sample in whatever order: a point of the scene stays where its picture is.

The picture is a code of its own pixels, the depth and the camera are known, so that after any chain of operations the
place at which K shows a point can be read: there must be the pixel that showed the point before.
"""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.transforms import crop_middle, flip_sample, pad_sample, random_crop, resize_sample
from models.geometry.flow import warp

MARGIN = 12  # px of the border, within which resizing has mixed the picture with what lies beyond
TOLERANCE = 0.06  # px of the first picture, for reading codes between pixels

sides = st.integers(48, 90)
operations = st.one_of(
    st.tuples(st.just("resize"), st.tuples(sides, sides)),
    st.tuples(st.just("crop"), st.integers(40, 80), st.integers(0, 2**16)),
    st.tuples(st.just("pad"), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    st.tuples(st.just("flip")),
)
chains = st.lists(operations, min_size=1, max_size=4)


def coded_sample(height, width):
    """A picture whose channels are x / 100, y / 100 and 0.5; depth = 20 + x + 2 y [mm]; a camera without symmetry."""
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    K = torch.tensor([[31.0, 0, 0.4 * width], [0, 27.0, 0.55 * height], [0, 0, 1]])
    return {
        "image": torch.stack([x / 100, y / 100, torch.full_like(x, 0.5)]),
        "depth_mm": (20 + x + 2 * y)[None],
        "valid": torch.ones(1, height, width, dtype=torch.bool),
        "intrinsics": K,
    }


def apply(sample, operation):
    kind, *how = operation
    height, width = sample["image"].shape[-2:]
    if kind == "resize":
        return resize_sample(sample, how[0])
    if kind == "crop":
        return random_crop(sample, min(how[0], height, width), np.random.default_rng(how[1]))
    if kind == "pad":
        return pad_sample(sample, (height + how[0][0], width + how[0][1]))
    return flip_sample(sample)


def read(picture, x, y):
    """The values of (C, H, W) between pixels."""
    flow = torch.zeros(1, 2, *picture.shape[-2:])
    flow[0, :, 0, 0] = torch.tensor([x, y])  # what the first pixel is warped to
    return warp(picture[None], flow)[0, :, 0, 0]


@settings(max_examples=150, deadline=None)
@given(height=sides, width=sides, chain=chains, across=st.floats(0.2, 0.8), down=st.floats(0.2, 0.8))
def test_a_point_is_shown_by_the_pixel_that_showed_it_before(height, width, chain, across, down):
    sample = coded_sample(height, width)
    x, y = across * (width - 1), down * (height - 1)
    K = sample["intrinsics"]
    point = 30 * torch.linalg.inv(K) @ torch.tensor([x, y, 1.0])  # of the camera before
    mirrored = sum(operation[0] == "flip" for operation in chain) % 2
    for operation in chain:
        sample = apply(sample, operation)
    if mirrored:
        point = point * torch.tensor([-1.0, 1.0, 1.0])
    seen = sample["intrinsics"] @ point
    u, v = (seen[:2] / seen[2]).tolist()
    inside = sample["valid"][0]
    rows, columns = inside.any(dim=1).nonzero()[:, 0], inside.any(dim=0).nonzero()[:, 0]
    if not (rows[0] + MARGIN <= v <= rows[-1] - MARGIN and columns[0] + MARGIN <= u <= columns[-1] - MARGIN):
        return  # cropped away, or too near to a border
    codes = read(sample["image"], u, v) * 100
    assert abs(codes[0].item() - x) < TOLERANCE
    assert abs(codes[1].item() - y) < TOLERANCE
    assert abs(read(sample["depth_mm"], u, v).item() - (20 + x + 2 * y)) < 4 * TOLERANCE


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, chain=chains)
def test_picture_depth_and_validity_keep_one_size_and_nothing_invalid_gets_depth(height, width, chain):
    sample = coded_sample(height, width)
    sample["valid"][:, : height // 3] = False
    sample["depth_mm"][~sample["valid"]] = 0
    for operation in chain:
        sample = apply(sample, operation)
    assert sample["image"].shape[-2:] == sample["depth_mm"].shape[-2:] == sample["valid"].shape[-2:]
    assert ((sample["depth_mm"] > 0) == sample["valid"]).all()
    assert sample["depth_mm"][sample["valid"]].min() >= 20 if sample["valid"].any() else True
    assert sample["image"].abs().max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    u=st.integers(-3, 3),
    v=st.integers(-3, 3),
    chain=st.lists(operations.filter(lambda one: one[0] != "resize"), min_size=1, max_size=4),
)
def test_flow_still_leads_to_what_it_led_to(u, v, chain):
    """Two frames of a pattern that moved by (u, v): wherever the mask stays, the flow finds the same code."""
    pattern = torch.rand(3, 60, 60, generator=torch.Generator().manual_seed(1)) * 2 - 1
    frames = torch.stack([pattern[:, 10:50, 10:50], pattern[:, 10 - v : 50 - v, 10 - u : 50 - u]])
    flow = torch.tensor([u, v]).float().view(1, 2, 1, 1).expand(1, 2, 40, 40)
    mask = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    mask[..., 3:37, 3:37] = True
    sample = {"frames": frames, "flow_fwd": flow, "mask_fwd": mask, "image": frames[0]}
    for operation in chain:
        sample = apply(sample, operation)
    found = warp(sample["frames"][1:], sample["flow_fwd"], "zeros")
    difference = (found - sample["frames"][:1]).abs().amax(dim=1, keepdim=True)
    assert difference[sample["mask_fwd"]].max() < 1e-4 if sample["mask_fwd"].any() else True


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, more=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_what_was_padded_comes_back(height, width, more):
    sample = coded_sample(height, width)
    padded = pad_sample(sample, (height + more[0], width + more[1]))
    assert torch.equal(crop_middle(padded["image"], (height, width)), sample["image"])
    assert padded["valid"].sum() == height * width
    around = padded["image"][:, ~padded["valid"][0]]
    assert (around == -1).all()
