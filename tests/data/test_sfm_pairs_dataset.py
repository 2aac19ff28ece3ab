from dataclasses import replace

import numpy as np
import pytest
import torch

from data.sfm.clip import project_points
from data.sfm.prepare import Preparation
from data.sfm.split import Block, whole
from data.sfm_pairs_dataset import SfmPairsDataset, partners
from data.transforms import flip_sample
from models.geometry.camera import flow_from_depth, relative_pose
from tests.data.sfm.tiny_clip import make_clip
from util.errors import UserError

HOW = Preparation(divisor=16, inlier_share=1.0)


@pytest.fixture
def clip(tmp_path):
    return make_clip(frames=tmp_path / "clip")


def dataset_of(clip, cache, gaps=(2, 4), **settings):
    return SfmPairsDataset([whole(clip)], HOW, cache, gaps, **settings)


def test_a_view_stands_beside_those_within_the_gaps():
    found = dict(partners(np.arange(8), (2, 3)))
    assert found[0].tolist() == [2, 3]
    assert found[4].tolist() == [1, 2, 6, 7]


def test_gaps_count_views_that_are_left_out():
    assert dict(partners(np.array([0, 5, 6]), (2, 6)))[0].tolist() == [5, 6]


def test_of_few_views_the_least_gap_is_half_of_their_number():
    found = dict(partners(np.arange(4), (5, 30)))
    assert {view: others.tolist() for view, others in found.items()} == {0: [2, 3], 1: [3], 2: [0], 3: [0, 1]}


def test_maps_hold_the_points_depth_confidence_and_flow_of_both_frames(clip, tmp_path):
    """Each point's values are where its projection in the box is, in the direction to the other frame."""
    data = dataset_of(clip, tmp_path / "cache")
    sample, prepared = data[2], data.clips[0]
    _, view, others = data.samples[2]
    both = (view, int(others[len(others) // 2]))
    height, width = prepared.size
    for row, (here, there) in enumerate((both, both[::-1])):
        points = prepared.views[here].points
        ends = [project_points(prepared.in_camera(one, points), prepared.K) for one in (here, there)]
        x, y = np.rint(ends[0]).astype(int).T
        depth = sample["sparse_depth"][row, 0].numpy()
        np.testing.assert_allclose(depth[y, x], prepared.in_camera(here, points)[:, 2], rtol=1e-6)
        np.testing.assert_allclose(sample["confidence"][row, 0].numpy()[y, x], prepared.confidence[points], rtol=1e-6)
        flow = sample["sparse_flow"][row].numpy()[:, y, x].T
        np.testing.assert_allclose(flow, (ends[1] - ends[0]) / (width, height), atol=1e-6)
        assert (depth > 0).sum() == len(points) == (sample["flow_confidence"][row] > 0).sum()


@pytest.mark.parametrize("flip", [False, True])
def test_sparse_flow_is_what_sparse_depth_and_pose_give(flip, clip, tmp_path):
    """Up to the rounding of a point to its pixel; as it is, and mirrored."""
    sample = dataset_of(clip, tmp_path / "cache")[3]
    sample = flip_sample(sample) if flip else sample
    depth, flow, pose = sample["sparse_depth"], sample["sparse_flow"], sample["pose"]
    K = sample["intrinsics"][None].repeat(2, 1, 1)
    implied = flow_from_depth(depth, K, relative_pose(pose.flip(0), pose))
    size = torch.tensor([depth.shape[3], depth.shape[2]]).view(1, 2, 1, 1)
    error = (implied - flow * size).abs()[(depth > 0).expand_as(flow)]
    assert error.max() < 0.5
    assert (flow * size).abs().max() > 3


def test_frames_are_those_of_the_views_and_black_outside_the_mask(clip, tmp_path):
    mask = clip.mask.copy()
    mask[:20] = 0
    sample = dataset_of(replace(clip, mask=mask), tmp_path / "cache")[0]
    outside = ~sample["mask"].expand(3, -1, -1)
    assert outside.any()
    for frame in sample["frames"]:
        assert (frame[outside] == -1).all()
        assert (frame[~outside] > -1).any()


def test_with_a_seed_partners_change_and_the_same_seed_gives_the_same_sample(clip, tmp_path):
    data = dataset_of(clip, tmp_path / "cache", augment="full")
    first, again = data[4, 7], data[4, 7]
    assert all(torch.equal(first[name], again[name]) for name in first)
    poses = {tuple(data[4, seed]["pose"][1, :3, 3].tolist()) for seed in range(20)}
    assert len(poses) > 1


def test_frames_are_augmented_each_by_itself_and_only_with_a_seed(clip, tmp_path):
    plain, noisy = dataset_of(clip, tmp_path / "cache"), dataset_of(clip, tmp_path / "cache", augment="noise")
    assert torch.equal(plain[0]["frames"], noisy[0]["frames"])
    changed = [noisy[0, seed]["frames"][0] for seed in range(10)]
    assert any(not torch.equal(one, plain[0]["frames"][0]) for one in changed)


def test_no_pair_leaves_its_block(clip, tmp_path):
    data = SfmPairsDataset([Block(clip, np.array([0, 1, 2, 3]))], HOW, tmp_path / "cache", (1, 30))
    assert {view for _, view, others in data.samples for view in (view, *others)} <= {0, 1, 2, 3}


def test_views_without_points_are_in_no_pair(clip, tmp_path):
    observations = clip.observations[clip.observations[:, 0] != 3]
    data = dataset_of(replace(clip, observations=observations), tmp_path / "cache", gaps=(1, 4))
    assert all(view != 3 and 3 not in others for _, view, others in data.samples)


def test_files_are_those_that_a_sample_may_be_read_from(clip, tmp_path):
    data = dataset_of(clip, tmp_path / "cache")
    assert data.files(0)[0] == clip.frames[data.samples[0][1]]


def test_clips_of_different_size_share_one_box(tmp_path):
    small = make_clip(frames=tmp_path / "small")
    mask = small.mask.copy()
    mask[:, 20:] = 0
    data = SfmPairsDataset([whole(replace(small, mask=mask, name="narrow")), whole(small)], HOW, tmp_path / "c", (2, 4))
    assert data.clips[0].size == data.clips[1].size
    assert data[0]["frames"].shape == data[len(data) - 1]["frames"].shape


def test_no_pair_at_all_is_an_error_that_says_what_to_do(clip, tmp_path):
    with pytest.raises(UserError, match="lower --min_gap"):
        SfmPairsDataset([Block(clip, np.array([0, 7]))], HOW, tmp_path / "cache", (1, 3))


def test_poses_with_which_no_two_views_overlap_are_an_error_that_names_the_worst_pair(clip, tmp_path):
    """Each view looks at points of its own, far from those of the others."""
    poses = clip.poses.copy()
    poses[:, 0, 3] *= 100
    points = np.concatenate([np.array([[0, 0, 2.0], [0.1, 0, 2.0], [0, 0.1, 2.0]]) + pose[:3, 3] for pose in poses])
    observations = np.array([(view, 3 * view + k) for view in range(len(poses)) for k in range(3)], np.int32)
    apart = replace(clip, poses=poses, points=points, observations=observations)
    with pytest.raises(UserError, match=r"hardly see the same place; of the points in frame \d+, 0 % lie in frame \d+"):
        dataset_of(apart, tmp_path / "cache")


def test_half_of_the_pairs_are_mirrored_where_asked_and_none_in_validation(clip, tmp_path):
    plain, flipped = (dataset_of(clip, tmp_path / "cache", (2, 2), flip=flip) for flip in (False, True))
    mirrored = flip_sample(plain[3])
    counts = [0, 0]
    for seed in range(40):
        sample = flipped.sample(3, np.random.default_rng(seed))
        counts[0] += torch.equal(sample["mask"], plain[3]["mask"]) and torch.equal(
            sample["pose"][0], plain[3]["pose"][0]
        )
        counts[1] += torch.equal(sample["mask"], mirrored["mask"]) and torch.equal(
            sample["pose"][0], mirrored["pose"][0]
        )
    assert sum(counts) == 40
    assert min(counts) > 8
    assert torch.equal(flipped.sample(3, None)["frames"], plain[3]["frames"])
