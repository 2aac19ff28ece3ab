"""SC-Depth: what its three versions compute, which they share, and that masks and scales do what they should."""

import pytest
import torch
from torch import nn

from models import create_model
from models.geometry.camera import rotation_warp, synthesize_view, transform
from models.geometry.motion import motion_from_vector, rotation_from_angles
from models.losses.photometric import standardise
from tests.models.networks.slow_sc_depth import random_weights
from tests.tiny_run import tiny_options
from util.engine import Engine
from util.errors import UserError
from util.updates import Progress

H, W = 64, 96
VERSIONS = (1, 2, 3)


def make_method(*args, version=1):
    torch.manual_seed(0)
    return create_model(tiny_options(f"--sc_version={version}", *args, model="sc_depth"))


def smooth(seed, channels, count=1):
    noise = torch.rand(count, channels, H, W, generator=torch.Generator().manual_seed(seed))
    blurred = nn.functional.avg_pool2d(noise, 9, stride=1, padding=4, count_include_pad=False)
    return (blurred - blurred.amin()) / (blurred.amax() - blurred.amin())


def video(batch=2, length=3):
    """Random smooth frames in [-0.8, 0.6], with a camera, a view with black corners, and pseudo-depth."""
    frames = torch.stack([smooth(10 + t, 3, batch) for t in range(length)], dim=1) * 1.4 - 0.8
    view = torch.ones(batch, 1, H, W, dtype=torch.bool)
    view[..., :12, :20] = False
    K = torch.tensor([[60.0, 0, 47], [0, 55, 30], [0, 0, 1]]).repeat(batch, 1, 1)
    return {"frames": frames, "intrinsics": K, "view": view, "pseudo_depth": smooth(5, 1, batch) + 0.5}


def update_of(method, batch):
    torch.manual_seed(3)
    (update,) = list(method.training_step({"video": batch}, Progress(1, 1)))
    return update


class Constant(nn.Module):
    """Gives the same vector for every pair."""

    def __init__(self, *values):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, first, second):
        return self.values.expand(len(first), -1)


class Sideways(nn.Module):
    """Gives each pair a longer step to the side."""

    def forward(self, first, second):
        return torch.nn.functional.pad(0.02 * torch.arange(len(first))[:, None], (0, 5))


@pytest.mark.parametrize(
    ("version", "terms"),
    [
        (1, {"photo", "geometry", "smooth"}),
        (2, {"photo", "geometry", "smooth", "rot_consistency", "rot_triplet"}),
        (3, {"photo", "geometry", "normal_matching", "normal_ranking", "mask_ranking"}),
    ],
)
def test_each_version_has_its_terms_and_every_weight_learns(version, terms):
    engine = Engine(make_method("--no_auto_mask", version=version))
    update = update_of(engine.method, video())
    assert set(update.terms) == terms
    sum(update.terms.values()).backward()
    for name, weight in engine.method.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("version", VERSIONS)
def test_order_of_the_neighbours_changes_nothing(version):
    """Played backwards, the clip has the same target and the neighbours in the other order."""
    batch = video()
    backwards = batch | {"frames": batch["frames"].flip(1)}
    method = make_method(version=version).eval()
    draws = {
        "lambda_rot_consistency",
        "lambda_normal_ranking",
        "lambda_mask_ranking",
    }  # they are drawn in another order
    forth, back = update_of(method, batch), update_of(method, backwards)
    for name, term in forth.terms.items():
        if f"lambda_{name}" not in draws:
            torch.testing.assert_close(term, back.terms[name], msg=name)


@pytest.mark.parametrize("version", [1, 3])
def test_terms_of_a_batch_are_means_over_its_clips(version):
    method = make_method("--no_auto_mask", version=version).eval()
    one = {name: tensor[:1] for name, tensor in video().items()}
    twice = {name: tensor.repeat(2, *[1] * (tensor.ndim - 1)) for name, tensor in one.items()}
    single, double = update_of(method, one), update_of(method, twice)
    for name in ("photo", "geometry", "smooth", "normal_matching"):
        if name in single.terms:
            torch.testing.assert_close(single.terms[name], double.terms[name])


def test_black_corners_change_nothing_whatever_is_in_them():
    """Beyond what the networks see of them, which is not a matter of the losses: the depths are kept here."""
    method, batch = make_method("--no_auto_mask").eval(), video()
    triplet = method.triplet(batch)
    spoiled = torch.where(batch["view"][:, None], batch["frames"], 0.5)  # no highlight, which is masked anyway
    other = method.triplet(batch | {"frames": spoiled})
    depth = smooth(1, 1, 6) + 0.3
    method.depth, method.net_pose = lambda images: depth, Constant(0.02, -0.01, 0.03, 0.01, 0.0, -0.01)
    pairs, spoiled_pairs = method.pairs(triplet), method.pairs(other)
    corner = ~batch["view"].repeat(2, 1, 1, 1)
    assert not pairs.forward_terms().mask[corner].any()
    assert torch.equal(pairs.forward_terms().photometric, spoiled_pairs.forward_terms().photometric)


def test_highlights_are_masked_in_the_target_and_where_a_neighbour_shows_them():
    method, batch = make_method("--no_auto_mask", "--highlight_level=0.9").eval(), video()
    batch["frames"][:, 0, :, 40:44, 50:54] = 1.0  # white in the first neighbour alone
    triplet = method.triplet(batch)
    assert triplet.seen_tgt[..., 20:, 30:].all()
    assert not triplet.seen_refs[0][..., 40:44, 50:54].any()
    depth = torch.ones(6, 1, H, W)
    method.depth, method.net_pose = lambda images: depth, Constant(0.0, 0, 0, 0, 0, 0)
    terms = method.pairs(triplet).forward_terms()
    assert not terms.mask[:2, :, 40:44, 50:54].any()
    assert terms.mask[2:, :, 40:44, 50:54].all()
    red = video()
    red["frames"][:, 1, 0] = 1.0  # tissue that is saturated in red alone is no highlight
    assert method.triplet(red).seen_tgt[..., 20:, 30:].all()


def test_a_camera_at_rest_teaches_nothing_but_smoothness():
    batch = video()
    batch["frames"] = batch["frames"][:, :1].repeat(1, 3, 1, 1, 1)
    method = make_method()
    method.net_pose = Constant(0.0, 0, 0, 0, 0, 0)
    update = update_of(method, batch)
    assert update.terms["photo"] == 0
    assert update.terms["geometry"] == 0
    assert update.facts["kept"] == 0
    (update.terms["photo"] + update.terms["geometry"]).backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in method.net_depth.parameters())


def test_v2_that_sees_no_rotation_is_v1_with_a_constant():
    first, second = (make_method("--no_auto_mask", version=version).eval() for version in (1, 2))
    for name in ("net_depth", "net_pose"):
        getattr(second, name).load_state_dict(getattr(first, name).state_dict())
    second.net_rectify = Constant(0.0, 0.0, 0.0)
    one, two = update_of(first, video()), update_of(second, video())
    for name, term in one.terms.items():
        torch.testing.assert_close(two.terms[name], term, atol=1e-5, rtol=1e-4)
    assert two.terms["rot_triplet"] == 0
    known = 0.05 * (torch.rand(4, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1)
    torch.testing.assert_close(two.terms["rot_consistency"], known.abs().mean())


def test_v2_passes_photometric_gradients_to_the_rectify_network():
    method = make_method("--no_auto_mask", version=2)
    update = update_of(method, video())
    update.terms["photo"].backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in method.net_rectify.parameters())


def test_rectified_neighbours_look_along_the_target():
    """A neighbour that was turned by known angles is turned back by them."""
    method = make_method(version=2)
    batch = video()
    angles = (0.02, -0.03, 0.04)
    method.net_rectify = Constant(*angles)
    triplet = method.triplet(batch)
    rectified = method.rectify(triplet)[0]
    rotation = rotation_from_angles(torch.tensor([angles] * 2))
    expected, inside = rotation_warp(triplet.refs[0], rotation, triplet.K)
    torch.testing.assert_close(rectified.refs[0], expected)
    seen = rotation_warp(triplet.seen_refs[0].float(), rotation, triplet.K)[0] > 0.999
    assert torch.equal(rectified.seen_refs[0], inside & seen)


def test_v2_composes_the_whole_motion():
    """X_src = R_rectify (R X_tgt + t)."""
    method = make_method(version=2)
    method.net_rectify, method.net_pose = Constant(0.02, -0.03, 0.04), Constant(0.1, -0.2, 0.3, 0.01, 0.02, -0.03)
    frames, K = video()["frames"], video()["intrinsics"]
    motion = method.predict_motion(frames[:, 1], frames[:, 0], K)
    points = torch.randn(2, 3, 5)
    inner = transform(points, motion_from_vector(method.net_pose.values.expand(2, -1)))
    expected = rotation_from_angles(torch.tensor([[0.02, -0.03, 0.04]])) @ inner
    torch.testing.assert_close(transform(points, motion), expected)


def test_true_pseudo_depth_of_the_prediction_itself_costs_nothing_in_normals():
    method = make_method(version=3).eval()
    batch = video()
    with torch.no_grad():
        batch["pseudo_depth"] = 7 * method.predict(batch["frames"][:, 1])
    update = update_of(method, batch)
    assert update.terms["normal_matching"] < 1e-6
    assert update.terms["normal_ranking"] < 1e-6


def test_pixels_without_pseudo_depth_teach_nothing():
    method, batch = make_method("--no_auto_mask", version=3).eval(), video()
    batch["pseudo_depth"][..., 20:50, 30:70] = 0
    clean = update_of(method, batch)
    pairs = method.pairs(method.triplet(batch))
    pseudo = torch.where(batch["pseudo_depth"] > 0, batch["pseudo_depth"], 0.0)
    terms = method.pseudo_depth_terms(method.triplet(batch), pairs, pseudo)
    depth_gradient = torch.autograd.grad(terms["normal_matching"], pairs.depth_tgt)[0]
    assert not depth_gradient[..., 22:48, 32:68].any()
    assert clean.terms["normal_matching"].isfinite()


def test_reliability_ignores_neighbours_that_do_not_see_a_pixel():
    method, batch = make_method("--no_auto_mask", version=3).eval(), video()
    method.net_pose = Sideways()
    pairs = method.pairs(method.triplet(batch))
    reliability, watched = method._reliability(pairs, 2)
    forward = pairs.forward_terms()
    first, second = forward.mask.chunk(2)
    agreement = [1 - part for part in forward.inconsistency.chunk(2)]
    assert torch.equal(watched, first | second)
    only = first & ~second
    assert only.any()
    torch.testing.assert_close(reliability[only], agreement[0][only])
    both = first & second
    torch.testing.assert_close(reliability[both], (agreement[0][both] + agreement[1][both]) / 2)


def test_scale_of_all_depths_and_steps_together_changes_no_term():
    """The unit is arbitrary."""
    method, batch = make_method("--no_auto_mask", version=3).eval(), video()
    triplet = method.triplet(batch)
    depth = smooth(1, 1, 6) + 0.3
    terms = []
    for factor in (1.0, 4.0):
        method.depth = lambda images, factor=factor: factor * depth
        method.net_pose = Constant(*(factor * x for x in (0.02, -0.01, 0.03)), 0.01, 0.0, -0.01)
        pairs = method.pairs(triplet)
        torch.manual_seed(0)
        terms.append(
            method.consistency_terms(pairs, 2) | method.pseudo_depth_terms(triplet, pairs, batch["pseudo_depth"])
        )
    for name, term in terms[0].items():
        torch.testing.assert_close(term, terms[1][name], rtol=1e-4, atol=1e-6)


def test_pairs_see_each_frame_from_the_camera_of_the_other():
    method, batch = make_method("--no_auto_mask").eval(), video()
    triplet = method.triplet(batch)
    pairs = method.pairs(triplet)
    with torch.no_grad():
        depths = [method.depth(images) for images in (triplet.tgt, *triplet.refs)]
        # The last B pairs: the second neighbour is the target, and the middle frame is sampled.
        motion = motion_from_vector(method.net_pose(triplet.refs[1], triplet.tgt))
        view = synthesize_view(triplet.tgt, depths[0], depths[2], motion, triplet.K)
    torch.testing.assert_close(pairs.view.image[-2:], view.image, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pairs.view.depth_computed[-2:], view.depth_computed)
    torch.testing.assert_close(pairs.motion[-2:], motion)


def test_without_the_minimum_all_pairs_count():
    batch = video()
    kept, best = make_method("--no_auto_mask", "--no_min_optimize").eval(), make_method("--no_auto_mask").eval()
    assert update_of(kept, batch).terms["photo"] > update_of(best, batch).terms["photo"]


def test_pairs_of_two_frames_are_learned_from():
    update = update_of(make_method("--no_auto_mask", "--clip_length=2"), video(length=2))
    assert all(term.isfinite() for term in update.terms.values())
    assert update.facts["kept"] > 0.5


def test_learned_focal_lengths_get_a_gradient_and_are_told():
    method = make_method("--learn_intrinsics", "--no_auto_mask")
    update = update_of(method, video())
    assert update.facts["fx_px"].item() == pytest.approx(60)
    assert update.facts["fy_px"].item() == pytest.approx(55)
    sum(update.terms.values()).backward()
    assert method.net_camera.log_factor.grad.abs().min() > 0
    with torch.no_grad():
        method.net_camera.log_factor.copy_(torch.tensor([0.01, -0.02]))
    K = method.triplet(video()).K[0]
    assert K[0, 0].item() == pytest.approx(60 * 2.718281828**0.1, rel=1e-5)
    assert K[1, 1].item() == pytest.approx(55 * 2.718281828**-0.2, rel=1e-5)
    assert K[:2, 2].tolist() == [47, 30]
    assert "net_camera" not in method.inference_networks()


def test_one_step_changes_every_network_and_the_camera():
    method = make_method("--learn_intrinsics", "--no_auto_mask", version=2)
    before = {name: [w.clone() for w in network.parameters()] for name, network in method.networks().items()}
    Engine(method).step({"video": video()}, Progress(1, 1))
    assert set(before) == {"net_depth", "net_pose", "net_rectify", "net_camera"}
    for name, network in method.networks().items():
        assert any(not torch.equal(old, new) for old, new in zip(before[name], network.parameters(), strict=True)), name


def test_prediction_is_the_depth_networks_and_has_no_unit():
    method = make_method().eval()
    images = video()["frames"][:, 0]
    torch.testing.assert_close(method.predict(images), method.net_depth(standardise(images)).detach())
    assert method.metric is False


def test_validation_term_is_the_photometric_one_and_gets_no_gradient():
    method = make_method(version=2).eval()
    terms = method.validation_terms({"video": video()})
    torch.manual_seed(3)
    torch.testing.assert_close(terms, {"photo": update_of(method, video()).terms["photo"].detach()})
    assert not terms["photo"].requires_grad


def test_published_weights_load_into_all_networks_of_v2():
    method = make_method(version=2)
    published = {name: random_weights(name, seed) for seed, name in enumerate(("depth_net", "pose_net", "rectify_net"))}
    method.load_networks(published, "nyu_scv2.ckpt")
    assert method.predicts_motion
    key = "encoder.encoder.layer1.0.conv1.weight"
    assert torch.equal(method.net_depth.encoder.layer1[0].conv1.weight, published["depth_net"][key])
    assert torch.equal(method.net_rectify.encoder.layer1[0].conv1.weight, published["rectify_net"][key])


def test_weights_of_v2_are_not_tested_as_another_version():
    """Without the rectify network its motions would be wrong, and nothing would say so."""
    published = {name: random_weights(name, 0) for name in ("depth_net", "pose_net", "rectify_net")}
    method = make_method()
    method.opt.is_train = False
    with pytest.raises(UserError, match=r"v2\.ckpt holds a rectify network.*--sc_version 2"):
        method.load_networks(published, "v2.ckpt")


def test_depth_alone_predicts_no_motion():
    method = make_method()
    assert method.predicts_motion
    other = make_method()
    other.load_networks({"net_depth": method.net_depth.state_dict()}, "depth.pth")
    assert not other.predicts_motion


def test_networks_that_throw_every_pixel_out_of_view_are_not_the_best():
    method, batch = make_method("--no_auto_mask").eval(), video()
    method.net_pose = Constant(50.0, 0, 0, 0, 0, 0)
    assert method.validation_terms({"video": batch})["photo"].isnan()
    still = batch | {"frames": batch["frames"][:, :1].repeat(1, 3, 1, 1, 1)}
    assert make_method().eval().validation_terms({"video": still})["photo"].isnan()


def test_losses_against_pseudo_depth_leave_the_focal_lengths_alone():
    method, batch = make_method("--learn_intrinsics", "--no_auto_mask", version=3), video()
    update = update_of(method, batch)
    guided = [term for name, term in update.terms.items() if name.startswith(("normal", "mask"))]
    factors = method.net_camera.log_factor
    gradient = torch.autograd.grad(sum(guided), factors, allow_unused=True, retain_graph=True)[0]
    assert gradient is None or not gradient.any()
    assert torch.autograd.grad(update.terms["photo"], factors)[0].any()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_in_half_precision_is_near_that_in_full(version, precision):
    method, batch = make_method("--no_auto_mask", version=version), video()
    full = update_of(method, batch)
    with torch.autocast("cpu", dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[precision]):
        half = update_of(method, batch)
    for name in ("photo", "geometry"):
        torch.testing.assert_close(half.terms[name], full.terms[name], rtol=0.1, atol=0.01)
    sum(half.terms.values()).backward()
    assert all(weight.grad.isfinite().all() for weight in method.parameters())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--lambda_geometry=-1"], "--lambda_geometry -1.0: must not be negative"),
        (["--pose_scale=0"], "--pose_scale 0.0: must be positive"),
        (["--lambda_photo=nan"], "--lambda_photo nan: must not be negative"),
        (["--highlight_level=0"], "--highlight_level 0.0: must be positive"),
        (["--zoom=0.9"], "--zoom 0.9: must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_an_error_in_one_line(args, message, capsys):
    with pytest.raises(SystemExit):
        make_method(*args)
    assert message in capsys.readouterr().err


def test_symptoms_read_what_is_logged():
    method = make_method()
    facts = update_of(method, video()).facts
    assert all(name in facts for symptom in method.symptoms() for name in symptom.reads)
