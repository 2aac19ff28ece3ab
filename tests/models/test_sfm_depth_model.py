"""The method on a wall whose depth is known in closed form: z = 2 + 0.2 x, seen by a camera that moves along x."""

import pytest
import torch
from torch import nn

from data.sfm.prepare import Preparation
from data.sfm.split import whole
from data.sfm_pairs_dataset import SfmPairsDataset
from models import create_model
from models.geometry.camera import relative_pose
from models.geometry.depth_scaling import scale_to_sparse
from models.geometry.depth_warping import warp_depth
from models.losses.depth_consistency import depth_consistency_loss
from models.losses.scale_invariant import scale_invariant_loss
from models.networks.fc_densenet_weights import PREFIXES
from models.sfm_depth_model import stacked, swapped
from options.train_options import TrainOptions
from tests.data.sfm.tiny_clip import make_clip
from tests.tiny_run import tiny_options
from util.engine import Engine
from util.errors import UserError
from util.run_state import load_pretrained
from util.updates import Progress

OBJECTIVE_2020 = (
    *("--lambda_sparse=0", "--lambda_flow=10", "--consistency=normalized_distance"),
    *("--lambda_consistency=2.5", "--lambda_consistency_early=0.05", "--early_epochs=21"),
)


class Given(nn.Module):
    """A network that gives the depth of the batch it was made for, times a factor for each frame."""

    def __init__(self, depth):
        super().__init__()
        self.depth = nn.Parameter(depth)

    def forward(self, images):
        return self.depth


@pytest.fixture
def dataset(tmp_path):
    clip = make_clip(frames=tmp_path / "clip", num_points=60)
    return SfmPairsDataset([whole(clip)], Preparation(divisor=16, inlier_share=1.0), tmp_path / "cache", (2, 4))


@pytest.fixture
def sfm(dataset):
    return torch.utils.data.default_collate([dataset[1], dataset[4]])


def true_depth(sfm, dataset):
    """Of all first frames, then all second ones, (2B, 1, H, W), in shares of the global scale."""
    scale = dataset.clips[0].global_scale
    height, width = sfm["frames"].shape[-2:]
    K, poses = sfm["intrinsics"].repeat(2, 1, 1), stacked(sfm["pose"])
    slope = 0.2 * (torch.arange(width) - K[:, 0, 2:3]) / K[:, 0, 0:1]  # (2B, W)
    depth = (2 / scale + 0.2 * poses[:, 0, 3:]) / (1 - slope)
    return depth[:, None, None].expand(-1, 1, height, width).clone()


def method_with(depth, *flags):
    method = create_model(tiny_options(*flags, model="sfm_depth"))
    method.net_depth = Given(depth)
    return method


def terms_of(method, sfm, epoch=1):
    return method.terms(sfm, method.directions(sfm), epoch)


@pytest.mark.parametrize(
    "flags", [(), OBJECTIVE_2020, ("--consistency=normalized_l1",), ("--consistency=normalized_l2",)]
)
def test_true_depth_of_any_scale_costs_nothing_but_the_rounding_of_points_to_pixels(flags, sfm, dataset):
    factors = torch.tensor([3.0, 0.2, 1.0, 40.0]).view(-1, 1, 1, 1)
    method = method_with(true_depth(sfm, dataset) * factors, *flags, "--lambda_consistency=1")
    right = {name: float(term.detach()) for name, term in terms_of(method, sfm, epoch=50).items()}
    wrong_depth = method_with(torch.rand_like(method.net_depth.depth) + 0.5, *flags, "--lambda_consistency=1")
    wrong = {name: float(term.detach()) for name, term in terms_of(wrong_depth, sfm, epoch=50).items()}
    for name, value in right.items():
        assert value < 0.05 * wrong[name], name


def test_the_scale_of_each_raw_map_changes_no_term(sfm, dataset):
    torch.manual_seed(0)
    raw = true_depth(sfm, dataset) * (1 + 0.2 * torch.rand(4, 1, 1, 1)) + 0.05 * torch.rand(
        4, 1, *sfm["mask"].shape[-2:]
    )
    flags = ("--lambda_flow=3", "--lambda_consistency=1")
    terms = terms_of(method_with(raw, *flags), sfm, epoch=2)
    scaled = terms_of(method_with(raw * torch.tensor([2.0, 7.0, 0.1, 1.0]).view(-1, 1, 1, 1), *flags), sfm, epoch=2)
    assert terms.keys() == {"sparse", "flow", "consistency"}
    for name in terms:
        torch.testing.assert_close(scaled[name], terms[name], rtol=1e-4, atol=1e-7)


def test_the_gradient_of_the_2020_objective_is_orthogonal_to_each_map(sfm, dataset):
    """All its terms are made of scaled maps."""
    raw = true_depth(sfm, dataset) * 1.7 + 0.1 * torch.rand(4, 1, *sfm["mask"].shape[-2:])
    method = method_with(raw, *OBJECTIVE_2020)
    sum(terms_of(method, sfm, epoch=30).values()).backward()
    gradient = method.net_depth.depth.grad
    along = (gradient * raw).sum(dim=(1, 2, 3)).abs()
    assert (along < 1e-4 * gradient.norm() * raw.norm()).all()
    assert gradient.abs().sum() > 0


def test_the_paper_s_loss_is_equation_5(sfm, dataset):
    """L(j, k) = L_sparse(j) + L_sparse(k) + omega (L_consist(j, k) + L_consist(k, j)), worked out frame by frame."""
    torch.manual_seed(1)
    raw = true_depth(sfm, dataset) * (1 + 0.3 * torch.rand(4, 1, *sfm["mask"].shape[-2:]))
    terms = terms_of(method_with(raw, "--lambda_consistency=0.7", "--lambda_consistency_early=0.7"), sfm)
    first, second = raw.chunk(2)
    sides = []
    for number, depth in enumerate((first, second)):
        sparse, weight = sfm["sparse_depth"][:, number], sfm["confidence"][:, number]
        sides.append((scale_invariant_loss(depth, sparse, weight), scale_to_sparse(depth, sparse, weight).depth))
    consistency = 0
    for tgt, src in ((0, 1), (1, 0)):
        motion = relative_pose(sfm["pose"][:, src], sfm["pose"][:, tgt])
        warped = warp_depth(sides[src][1], sides[tgt][1], motion, sfm["intrinsics"], sfm["mask"])
        consistency += depth_consistency_loss(warped.depth, sides[tgt][1], warped.valid)
    torch.testing.assert_close(terms["sparse"], sides[0][0] + sides[1][0])
    torch.testing.assert_close(terms["consistency"], 0.7 * consistency)


def test_the_defaults_are_the_paper_s_weights():
    opt = tiny_options(model="sfm_depth")
    assert (opt.lambda_sparse, opt.lambda_flow, opt.lambda_consistency, opt.lr) == (1.0, 0.0, 2e-4, 1e-4)
    assert (opt.scaling, opt.second_term, opt.consistency, opt.warp_sampling) == ("mean_ratio", "minus", "l1", "exact")
    assert not opt.flip
    assert tiny_options("--flip", model="sfm_depth").flip


def test_the_2020_preset_weighs_consistency_down_for_its_first_21_epochs():
    opt = TrainOptions().parse(["--preset=sfm_depth_2020", "--gpu_ids=-1"])
    method = create_model(opt)
    assert [2 * method.consistency_weight(epoch) for epoch in (1, 21, 22)] == [0.1, 0.1, 5.0]
    assert 2 * opt.lambda_flow == 20
    assert isinstance(method.build_optimizers()["depth"], torch.optim.SGD)


def test_a_pair_one_frame_of_which_has_no_points_teaches_no_consistency(sfm, dataset):
    raw = true_depth(sfm, dataset) * (1 + 0.3 * torch.rand(4, 1, *sfm["mask"].shape[-2:]))
    method = method_with(raw, "--lambda_consistency=1", "--lambda_consistency_early=1")
    for name in ("sparse_depth", "confidence"):
        sfm[name][0, 1] = 0
    directions = method.directions(sfm)
    assert directions.usable.tolist() == [False, True, False, True]
    method.consistency(directions).backward()
    gradient = method.net_depth.depth.grad
    assert not gradient[[0, 2]].any()
    assert gradient[[1, 3]].any()


def test_without_any_points_all_terms_are_0_and_so_are_the_gradients(sfm, dataset):
    for name in ("sparse_depth", "confidence", "sparse_flow", "flow_confidence"):
        sfm[name].zero_()
    method = method_with(true_depth(sfm, dataset), "--lambda_flow=1", "--lambda_consistency=1")
    terms = terms_of(method, sfm, epoch=2)
    sum(terms.values()).backward()
    assert all(term == 0 for term in terms.values())
    assert not method.net_depth.depth.grad.any()


def test_facts_tell_how_well_points_are_met_and_how_much_is_shared(sfm, dataset):
    method = method_with(5 * true_depth(sfm, dataset))
    facts = method.facts(sfm, method.directions(sfm))
    assert facts["abs_rel"] < 0.02
    assert facts["usable"] == 1
    assert 0.5 < facts["overlap"] < 1
    constant = method_with(torch.ones_like(method.net_depth.depth))
    assert constant.facts(sfm, constant.directions(sfm))["depth_spread"] < 1e-6


def test_validation_uses_the_final_weights(sfm, dataset):
    raw = true_depth(sfm, dataset) * (1 + 0.3 * torch.rand(4, 1, *sfm["mask"].shape[-2:]))
    method = method_with(raw, *OBJECTIVE_2020)
    late = terms_of(method, sfm, epoch=22)
    for name, term in method.validation_terms({"sfm": sfm}).items():
        torch.testing.assert_close(term, late[name])


def test_published_checkpoints_of_users_load(tmp_path):
    """``model`` beside what their training needs, written from DataParallel, in the published names."""
    torch.manual_seed(0)
    ours = create_model(tiny_options("--net=fcdensenet57", model="sfm_depth"))
    published = {
        "module." + published_key(key.removeprefix("network.")): value
        for key, value in ours.net_depth.state_dict().items()
    }
    torch.save(
        {"model": published, "optimizer": {}, "epoch": 3, "step": 7, "validation": 0.5}, tmp_path / "checkpoint.pt"
    )
    torch.manual_seed(1)
    loaded = create_model(tiny_options("--net=fcdensenet57", model="sfm_depth"))
    load_pretrained(loaded, tmp_path / "checkpoint.pt")
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(loaded.eval().predict(images), ours.eval().predict(images), rtol=0, atol=0)


def published_key(key):
    """Ours to the published one, by the table that leads the other way."""
    return next(theirs + key.removeprefix(mine) for theirs, mine in PREFIXES.items() if key.startswith(mine))


def test_a_file_without_weights_under_model_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match=r"checkpoint.pt has no weights under the key 'model'"):
        load_pretrained(create_model(tiny_options(model="sfm_depth")), tmp_path / "checkpoint.pt")


def test_stacked_and_swapped_keep_frames_with_their_partners():
    pairs = torch.tensor([[1, 2], [3, 4], [5, 6]])
    assert stacked(pairs).tolist() == [1, 3, 5, 2, 4, 6]
    assert swapped(stacked(pairs)).tolist() == [2, 4, 6, 1, 3, 5]


@pytest.mark.parametrize("flags", [(), OBJECTIVE_2020])
def test_a_tiny_network_learns_the_wall_from_its_points(flags, dataset):
    """The depth of all pixels, of which the points are one in fifty, scaled by the points alone."""
    torch.manual_seed(0)
    sfm = torch.utils.data.default_collate([dataset[1], dataset[4]])
    engine = Engine(create_model(tiny_options("--net=resnet", "--lr=0.0003", *flags, model="sfm_depth")))
    truth = true_depth(sfm, dataset)

    def error():
        with torch.no_grad():
            directions = engine.method.directions(sfm)
        return ((directions.target.depth - truth).abs() / truth)[sfm["mask"].repeat(2, 1, 1, 1)].mean().item()

    for iteration in range(40):
        engine.step({"sfm": sfm}, Progress(1, iteration + 1))
    floor = ((truth.median() - truth).abs() / truth).mean().item()
    assert error() < 0.5 * floor


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lambda_sparse=0"], "--lambda_sparse and --lambda_flow are both 0"),
        (["--lambda_flow=-1"], "--lambda_flow -1.0: must not be negative"),
        (["--min_gap=5", "--max_gap=4"], "--min_gap 5 and --max_gap 4"),
        (["--resize_or_crop=crop"], "--resize_or_crop must be resize, scale_width or none"),
        (["--sfm_preparation=published"], "whose interval without its upper end is empty at 0"),
        (
            ["--consistency_plus_one", "--consistency=normalized_l1"],
            "--consistency_plus_one belongs to --consistency l1",
        ),
        (["--lr_policy=cyclic", "--lr_low=1"], "--lr_low 1.0: must lie between 0 and --lr"),
    ],
)
def test_contradictions_end_in_one_line(flags, message, capsys):
    with pytest.raises(SystemExit):
        tiny_options(*flags, model="sfm_depth")
    assert message in capsys.readouterr().err
