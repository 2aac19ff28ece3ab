"""colon2depth: the order of its updates, its losses, and that they teach what they should."""

import pytest
import torch
from torch import nn

from models import create_model
from models.geometry.neighbour_pairs import neighbour_pairs, to_unit
from models.losses.gradient_warping import masked_gradient_warping_loss
from tests.tiny_run import tiny_options
from util.engine import Engine
from util.updates import Progress

SIZE = (36, 44)  # multiples of the tiny generator's 4, so that its output is not cropped
V_BEFORE, V_AFTER = (2, 1), (-1, 3)  # px from t - 1 to t, and from t to t + 1


def make_method(*args):
    torch.manual_seed(0)
    return create_model(tiny_options("--max_depth_mm=200", *args))


def synthetic_batch(count=2):
    generator = torch.Generator().manual_seed(3)
    slope = torch.linspace(30, 120, SIZE[1]).expand(count, 1, *SIZE)
    depth_mm = slope + torch.arange(count).view(-1, 1, 1, 1) * 20.0
    valid = torch.ones(count, 1, *SIZE, dtype=torch.bool)
    valid[:, :, :4, :6] = False
    image = (1 - depth_mm / 100).clamp(-1, 1) + 0.05 * torch.randn(count, 3, *SIZE, generator=generator)
    return {"image": image.clamp(-1, 1), "depth_mm": torch.where(valid, depth_mm, 0.0), "valid": valid}


def moving(picture, shift):
    """What a camera sees of a large ``picture`` (C, 60, 70) after everything has moved by ``shift`` (x, y) [px]."""
    left, top = 10 - shift[0], 10 - shift[1]
    return picture[:, top : top + SIZE[0], left : left + SIZE[1]]


def smooth(channels, seed):
    noise = torch.rand(1, channels, 60, 70, generator=torch.Generator().manual_seed(seed))
    blurred = nn.functional.avg_pool2d(noise, 5, stride=1, padding=2, count_include_pad=False)
    return (blurred / blurred.amax())[0]


def video_clip(length=3, batch=1):
    """Clips of translated pictures with their flow, and the true depth, translated likewise, (B, T, 1, H, W)."""
    shifts = [(-V_BEFORE[0], -V_BEFORE[1]), (0, 0), V_AFTER][3 - length :]
    velocities = [V_BEFORE, V_AFTER][3 - length :]
    frames = torch.stack(
        [torch.stack([moving(smooth(3, clip), s) for s in shifts]) for clip in range(batch)]
    )  # (B, T, 3, H, W)
    depth = torch.stack([torch.stack([moving(smooth(1, 50 + clip), s) for s in shifts]) for clip in range(batch)])
    flow = torch.tensor(velocities, dtype=torch.float32).view(1, -1, 2, 1, 1).expand(batch, -1, -1, *SIZE)
    masks = {f"mask_{name}": interior(f) for name, f in (("fwd", flow), ("bwd", -flow))}
    return {"frames": frames * 2 - 1, "flow_fwd": flow, "flow_bwd": -flow, **masks}, depth


def interior(flow):
    """(B, T - 1, 1, H, W): neither here nor there in the last row or column, which have no forward difference."""
    end = flow + torch.stack(torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="xy"))
    inside = (end >= 0) & (end < torch.tensor([SIZE[1] - 1, SIZE[0] - 1]).view(2, 1, 1))
    inside[..., -1, :], inside[..., :, -1] = False, False
    return inside.all(dim=2, keepdim=True)


def updates_of(method, batch, progress=None):
    return list(method.training_step(batch, progress or Progress(1, 1)))


def video_update(method, video, passes=None):
    """The update that the method makes of clips, after so many passes over the streams."""
    depth = method.generate(video["frames"].flatten(0, 1)).unflatten(0, video["frames"].shape[:2])
    return method.video_update(video, depth, Progress(1, 1, passes or {}))


def to_double(batch):
    return {
        stream: {name: x.double() if x.is_floating_point() else x for name, x in tensors.items()}
        for stream, tensors in batch.items()
    }


def generator_gradient(method, updates):
    """Of the sum of all terms, as one vector."""
    loss = sum(term for update in updates for term in update.terms.values())
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(method.net_G.parameters()))])


# Order of updates


def test_generator_learns_at_every_iteration_and_the_discriminator_at_every_third():
    method, batch = make_method("--d_every=3"), {"synthetic": synthetic_batch()}
    order = ["".join(update.optimizer for update in updates_of(method, batch, Progress(1, i))) for i in range(1, 8)]
    assert order == ["G", "G", "GD", "G", "G", "GD", "G"]


def test_video_makes_a_generator_update_of_its_own_after_the_discriminators():
    batch = {"synthetic": synthetic_batch(), "video": video_clip()[0]}
    updates = updates_of(make_method("--d_every=1"), batch)
    assert [update.optimizer for update in updates] == ["G", "D", "G"]
    assert [sorted(update.terms) for update in updates] == [["G_FM", "G_GAN"], ["D_fake", "D_real"], ["G_video"]]


def test_joint_video_is_a_term_of_the_one_generator_update():
    batch = {"synthetic": synthetic_batch(), "video": video_clip()[0]}
    updates = updates_of(make_method("--d_every=1", "--video_update=joint"), batch)
    assert [update.optimizer for update in updates] == ["G", "D"]
    assert sorted(updates[0].terms) == ["G_FM", "G_GAN", "G_video"]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_gradient_of_the_joint_update_is_the_sum_of_the_two(norm):
    """Though the generator sees pairs and clips in one pass; batch norm would mix them, so there it takes two."""
    batch = to_double({"synthetic": synthetic_batch(), "video": video_clip()[0]})
    method = make_method("--d_every=9", f"--norm={norm}").double()  # no update is made between the yields
    synthetic, video = updates_of(method, batch)
    total = generator_gradient(method, [synthetic]) + generator_gradient(method, [video])
    joint = make_method("--d_every=9", "--video_update=joint", f"--norm={norm}").double()
    torch.testing.assert_close(generator_gradient(joint, updates_of(joint, batch)), total, rtol=1e-9, atol=1e-12)
    assert generator_gradient(method, updates_of(method, batch)[1:]).norm() > 1e-3 * total.norm()


def test_video_is_active_after_its_start_epoch_and_never_without_weight():
    method = make_method("--video_start_epoch=7")
    assert method.active_streams(7) == ("synthetic",)
    assert method.active_streams(8) == ("synthetic", "video")
    without = make_method("--video_start_epoch=7", "--lambda_video=0", "--lambda_video_step=0")
    assert without.active_streams(8) == without.streams_for(without.opt) == ("synthetic",)


def test_discriminator_judges_the_depth_made_before_the_generators_update():
    method, batch = make_method("--d_every=1"), {"synthetic": synthetic_batch()}
    synthetic = batch["synthetic"]
    with torch.no_grad():
        before = method.generate(synthetic["image"])
    steps = method.training_step(batch, Progress(1, 1))
    next(steps)
    with torch.no_grad():
        for parameter in method.net_G.parameters():
            parameter.add_(0.5)
    judged = []
    method.net_D.register_forward_hook(lambda network, inputs, output: judged.append(inputs[0]))
    next(steps)
    real = method.normalise(synthetic["depth_mm"])
    fake = torch.where(synthetic["valid"], before, real)
    (both,) = judged  # in one pass
    for seen, depth in zip(both.chunk(2), (fake, real), strict=True):
        torch.testing.assert_close(seen, torch.cat((synthetic["image"], depth), dim=1))  # RGB first


# Losses


def test_generator_terms_equal_those_of_a_slow_recomputation():
    method, batch = make_method("--lambda_feat=7"), {"synthetic": synthetic_batch()}
    terms = updates_of(method, batch)[0].terms
    image, depth_mm, valid = (batch["synthetic"][name] for name in ("image", "depth_mm", "valid"))
    real = torch.empty_like(depth_mm)
    for place in range(real.numel()):
        real.view(-1)[place] = min(depth_mm.view(-1)[place].item(), 200.0) / 100.0 - 1.0
    with torch.no_grad():
        fake = method.net_G(image)
        fake = torch.stack([fake.flatten(), real.flatten()])[(~valid).long().flatten(), torch.arange(real.numel())]
        of_fake = method.net_D(torch.cat((image, fake.view_as(real)), dim=1))
        of_real = method.net_D(torch.cat((image, real), dim=1))
    gan, matching = 0.0, 0.0
    for scale in range(2):
        gan += ((of_fake[scale][-1] - 1.0) ** 2).mean().item()
        for layer in range(4):  # all but the prediction
            distance = (of_fake[scale][layer] - of_real[scale][layer]).abs().mean().item()
            matching += 4.0 / (3 + 1) * (1.0 / 2) * 7.0 * distance
    assert sorted(terms) == ["G_FM", "G_GAN"]
    assert terms["G_GAN"].item() == pytest.approx(gan, rel=1e-5)
    assert terms["G_FM"].item() == pytest.approx(2 * matching, rel=1e-5)


def test_discriminator_terms_are_half_of_each_mean_square():
    method, batch = make_method("--d_every=1"), {"synthetic": synthetic_batch()}
    image, depth_mm, valid = (batch["synthetic"][name] for name in ("image", "depth_mm", "valid"))
    terms = updates_of(method, batch)[1].terms
    real = depth_mm / 100 - 1
    with torch.no_grad():
        of_fake = method.net_D(torch.cat((image, torch.where(valid, method.net_G(image), real)), dim=1))
        of_real = method.net_D(torch.cat((image, real), dim=1))
    fake_loss = sum((maps[-1] ** 2).mean().item() for maps in of_fake)
    real_loss = sum(((maps[-1] - 1) ** 2).mean().item() for maps in of_real)
    assert terms["D_fake"].item() == pytest.approx(fake_loss / 2, rel=1e-5)
    assert terms["D_real"].item() == pytest.approx(real_loss / 2, rel=1e-5)


def test_losses_can_be_left_out_and_changed():
    batch = {"synthetic": synthetic_batch()}
    assert sorted(updates_of(make_method("--no_ganFeat_loss"), batch)[0].terms) == ["G_GAN"]
    lsgan, vanilla = (updates_of(make_method(*args), batch)[0].terms["G_GAN"] for args in ((), ("--no_lsgan",)))
    assert lsgan.item() != pytest.approx(vanilla.item(), rel=1e-3)


def test_invalid_pixels_get_no_gradient_from_any_term():
    method, synthetic = make_method("--d_every=1"), synthetic_batch()
    outputs = []

    def keep(network, inputs, output):
        output.retain_grad()
        outputs.append(output)

    method.net_G.register_forward_hook(keep)
    update = next(method.training_step({"synthetic": synthetic}, Progress(1, 1)))
    for name, term in update.terms.items():
        outputs[0].grad = None
        term.backward(retain_graph=True)
        assert (outputs[0].grad[~synthetic["valid"]] == 0).all(), name
        assert (outputs[0].grad[synthetic["valid"]] != 0).float().mean() > 0.9, name


def test_discriminator_sees_the_same_in_both_depths_where_the_truth_is_invalid():
    method, synthetic = make_method(), synthetic_batch()
    judged = []
    method.net_D.register_forward_hook(lambda network, inputs, output: judged.append(inputs[0][:, 3:]))
    next(method.training_step({"synthetic": synthetic}, Progress(1, 1)))
    fake, real = judged
    assert torch.equal(fake[~synthetic["valid"]], real[~synthetic["valid"]])
    assert not torch.equal(fake[synthetic["valid"]], real[synthetic["valid"]])


def test_generators_update_leaves_no_gradient_on_the_discriminator():
    method, batch = make_method("--d_every=9"), {"synthetic": synthetic_batch(), "video": video_clip()[0]}
    weights = [p.clone() for p in method.net_D.parameters()]
    Engine(method).step(batch, Progress(1, 1))
    assert all(p.grad is None for p in method.net_D.parameters())
    assert all(torch.equal(p, before) for p, before in zip(method.net_D.parameters(), weights, strict=True))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_discriminators_terms_are_those_of_two_separate_passes(norm):
    method = make_method("--d_every=1", f"--norm={norm}").double()
    synthetic = to_double({"synthetic": synthetic_batch()})["synthetic"]
    image, real = synthetic["image"], method.normalise(synthetic["depth_mm"])
    terms = method.discriminator_terms(image, -real, real)
    for name, depth, target in (("D_fake", -real, 0.0), ("D_real", real, 1.0)):
        judged = method.net_D(torch.cat((image, depth), dim=1))
        expected = sum((maps[-1] - target).square().mean() for maps in judged) / 2
        torch.testing.assert_close(terms[name], expected)


def test_in_the_generators_update_the_discriminator_is_a_fixed_function():
    """Nothing is kept for gradients of its weights, which nobody would read."""
    method = make_method("--d_every=9")
    loss = sum(updates_of(method, {"synthetic": synthetic_batch()})[0].terms.values())
    gradients = torch.autograd.grad(loss, list(method.net_D.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)
    assert all(weight.requires_grad for weight in method.net_D.parameters())


def test_discriminators_terms_do_not_reach_back_into_the_generator():
    method, batch = make_method("--d_every=1"), {"synthetic": synthetic_batch()}
    loss = sum(updates_of(method, batch)[1].terms.values())
    gradients = torch.autograd.grad(loss, list(method.net_G.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)


@pytest.mark.parametrize(("passes", "weight"), [(0, 5.0), (1, 7.0), (3, 11.0)])
def test_weight_of_the_video_loss_grows_with_every_pass_over_the_video(passes, weight):
    method, (video, _) = make_method("--lambda_video=5", "--lambda_video_step=2"), video_clip()
    single = make_method("--lambda_video=1", "--lambda_video_step=0")
    term = video_update(method, video, {"synthetic": 79, "video": passes}).terms["G_video"]
    assert term.item() == pytest.approx(weight * video_update(single, video).terms["G_video"].item())


def test_video_term_is_the_warping_loss_of_both_neighbours_on_the_normalised_depth():
    method, (video, _) = make_method("--lambda_video=1", "--lambda_video_step=0"), video_clip(batch=2)
    update = video_update(method, video)
    with torch.no_grad():
        depth = torch.stack([method.net_G(frames) for frames in video["frames"]])
    total, unmasked = 0.0, 0.0
    for clip in range(2):
        for neighbour, flow, mask in ((0, "flow_bwd", "mask_bwd"), (2, "flow_fwd", "mask_fwd")):
            pair = min(neighbour, 1)
            loss = masked_gradient_warping_loss(
                depth[clip : clip + 1, 1],
                depth[clip : clip + 1, neighbour],
                video[flow][clip : clip + 1, pair],
                video[mask][clip : clip + 1, pair],
                to_unit(video["frames"][clip : clip + 1, 1]),
            )
            total, unmasked = total + loss.item() / 4, unmasked + video[mask][clip, pair].float().mean().item() / 4
    assert update.terms["G_video"].item() == pytest.approx(total, rel=1e-5)
    assert update.facts["unmasked"].item() == pytest.approx(unmasked, rel=1e-5)


# Pairs of neighbours


def pair_loss(video, depth):
    pairs = neighbour_pairs(video, depth)
    return masked_gradient_warping_loss(pairs.depth_src, pairs.depth_tgt, pairs.flow, pairs.mask).item()


@pytest.mark.parametrize("length", [2, 3])
def test_true_depth_of_a_translated_scene_costs_nothing_along_the_right_flows(length):
    video, depth = video_clip(length, batch=2)
    assert pair_loss(video, depth) < 1e-6  # rounding of float32
    swapped = video | {"flow_fwd": video["flow_bwd"], "flow_bwd": video["flow_fwd"]}
    assert pair_loss(swapped, depth) > 0.01


def test_true_depth_costs_something_when_the_pairs_flows_change_places():
    video, depth = video_clip(3)
    moved = video | {name: video[name].flip(1) for name in ("flow_fwd", "flow_bwd")}
    assert pair_loss(moved, depth) > 0.01
    assert pair_loss(video, depth.flip(1)) > 0.01


@pytest.mark.parametrize(("length", "number"), [(2, 1), (3, 2)])
def test_pairs_of_a_clip_show_the_neighbour_on_the_grid_of_the_source(length, number):
    video, depth = video_clip(length, batch=2)
    pairs = neighbour_pairs(video, depth)
    middle = length - 2
    assert pairs.image_src.shape == (2 * number, 3, *SIZE)
    neighbours = [1] if length == 2 else [0, 2]
    for position, neighbour in enumerate(neighbours):
        rows = slice(2 * position, 2 * position + 2)
        assert torch.equal(pairs.image_src[rows], to_unit(video["frames"][:, middle]))
        assert torch.equal(pairs.image_tgt[rows], to_unit(video["frames"][:, neighbour]))
        assert torch.equal(pairs.depth_tgt[rows], depth[:, neighbour])


def test_images_of_pairs_lie_between_0_and_1():
    video, depth = video_clip()
    assert 0 <= neighbour_pairs(video, depth).image_src.min() < 0.5 < neighbour_pairs(video, depth).image_src.max() <= 1


# Units


def test_normalised_depth_comes_back_in_mm():
    method = make_method()
    depth_mm = torch.tensor([0.0, 50.0, 100.0, 199.9])
    assert method.normalise(depth_mm).tolist() == pytest.approx([-1.0, -0.5, 0.0, 0.999], abs=1e-6)
    torch.testing.assert_close(method.denormalise(method.normalise(depth_mm)), depth_mm)


def test_depth_beyond_the_full_scale_is_cut_off():
    assert make_method("--max_depth_mm=100").normalise(torch.tensor([150.0])).item() == 1.0


def test_prediction_is_in_mm_between_0_and_the_full_scale():
    method, images = make_method("--max_depth_mm=120").eval(), synthetic_batch()["image"]
    depth_mm = method.predict(images)
    with torch.no_grad():
        torch.testing.assert_close(depth_mm, (method.net_G(images) + 1) * 60)
    assert 0 <= depth_mm.min() < depth_mm.max() <= 120


# What is trained


def test_first_epochs_of_niter_fix_global_train_the_enhancer_alone():
    method = make_method("--netG=local", "--niter_fix_global=1", "--n_blocks_local=1", "--ngf=2")
    engine, batch = Engine(method), {"synthetic": synthetic_batch()}
    names = {id(p): name for name, p in method.net_G.named_parameters()}
    enhancer = {names[id(p)] for p in method.net_G.enhancer_parameters()}
    assert 0 < len(enhancer) < len(names)
    for epoch, trained in ((1, enhancer), (2, set(names.values()))):
        before = {name: p.clone() for name, p in method.net_G.named_parameters()}
        method.begin_epoch(epoch)
        engine.step(batch, Progress(epoch, epoch))
        after = dict(method.net_G.named_parameters())
        assert {name for name in names.values() if not torch.equal(before[name], after[name])} == trained


def test_network_options_that_contradict_each_other_are_refused(capsys):
    for args in (("--niter_fix_global=3",), ("--d_every=0",), ("--lambda_video=-1",)):
        with pytest.raises(SystemExit) as error:
            tiny_options(*args)
        assert error.value.code == 2
        assert args[0].split("=")[0] in capsys.readouterr().err


def test_generator_learns_one_pair_by_heart():
    """40 updates on one image bring the relative error from 0.6 below a third of that."""
    method = make_method("--ndf=16", "--lr=0.005", "--d_every=2")
    engine, synthetic = Engine(method), synthetic_batch(1)
    valid = synthetic["valid"]

    def abs_rel():
        error = (method.predict(synthetic["image"]) - synthetic["depth_mm"]).abs()
        return (error[valid] / synthetic["depth_mm"][valid]).mean().item()

    before = abs_rel()
    for iteration in range(1, 41):
        engine.step({"synthetic": synthetic}, Progress(1, iteration))
    assert before > 0.5
    assert abs_rel() < before / 3


def test_video_loss_makes_depth_of_neighbours_consistent():
    """Relative to the steepness of the depth: flat depth, which costs nothing, would not count as consistent."""
    method, (video, _) = make_method("--ngf=8", "--lr=0.003"), video_clip()
    optimizer = method.build_optimizers()["G"]

    def inconsistency():
        with torch.no_grad():
            depth = method.generate(video["frames"].flatten(0, 1)).unflatten(0, (1, 3))
            pairs = neighbour_pairs(video, depth)
            steepness = masked_gradient_warping_loss(
                pairs.depth_src, torch.zeros_like(pairs.depth_tgt), pairs.flow, pairs.mask
            )
            return (pair_loss(video, depth) / steepness).item()

    before = inconsistency()
    for _ in range(30):
        optimizer.zero_grad()
        sum(video_update(method, video).terms.values()).backward()
        optimizer.step()
    assert inconsistency() < before / 2
