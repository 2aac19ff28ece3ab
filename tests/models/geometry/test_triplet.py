"""Clips as targets with neighbours, and the pairs that they make."""

import torch

from models.geometry.camera import rotation_warp
from models.geometry.motion import rotation_from_angles
from models.geometry.triplet import Triplet, both_ways

B, H, W = 2, 6, 8
K = torch.tensor([[[8.0, 0, 3], [0, 6, 2], [0, 0, 1]], [[10.0, 0, 5], [0, 12, 3], [0, 0, 1]]])


def clips(length):
    """Frame t of clip b is 10 b + t everywhere; in frame t the column t is not seen."""
    frames = 10 * torch.arange(B).view(B, 1) + torch.arange(length)
    frames = frames.view(B, length, 1, 1, 1).expand(-1, -1, 3, H, W).float()
    seen = torch.ones(B, length, 1, H, W, dtype=torch.bool)
    for t in range(length):
        seen[:, t, ..., t] = False
    return frames, seen


def levels(frames):
    return frames[..., 0, 0, 0].tolist()


def test_the_target_is_the_middle_frame_and_of_two_the_first():
    triplet = Triplet.of_clips(*clips(3), K)
    assert levels(triplet.tgt) == [1, 11]
    assert levels(triplet.refs) == [[0, 10], [2, 12]]
    assert not triplet.seen_tgt[..., 1].any()
    assert not triplet.seen_refs[1][..., 2].any()
    pair = Triplet.of_clips(*clips(2), K)
    assert levels(pair.tgt) == [0, 10]
    assert levels(pair.refs) == [[1, 11]]


def test_neighbours_are_turned_with_their_masks_each_by_its_own_angles():
    frames, seen = clips(3)
    triplet = Triplet.of_clips(torch.rand_like(frames), seen, K)
    angles = torch.rand(4, 3, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
    turned = triplet.turned(angles)
    for r in range(2):
        rotation = rotation_from_angles(angles[2 * r : 2 * r + 2])
        expected, inside = rotation_warp(triplet.refs[r], rotation, K)
        torch.testing.assert_close(turned.refs[r], expected)
        covered = rotation_warp(triplet.seen_refs[r].float(), rotation, K)[0]
        assert torch.equal(turned.seen_refs[r], inside & (covered > 0.999))
    assert torch.equal(turned.tgt, triplet.tgt)


def test_both_ways_pairs_targets_with_each_neighbour_and_back():
    tgt, refs = torch.tensor([[0.0], [1.0]]), torch.tensor([[[10.0], [11.0]], [[20.0], [21.0]]])
    targets, sources = both_ways(tgt, refs)
    assert targets.flatten().tolist() == [0, 1, 0, 1, 10, 11, 20, 21]
    assert sources.flatten().tolist() == [10, 11, 20, 21, 0, 1, 0, 1]
