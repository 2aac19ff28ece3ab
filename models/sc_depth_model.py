"""SC-Depth V1, V2 and V3: depth and camera motion from nothing but video.

Sources: V1 Bian et al., NeurIPS 2019 and IJCV 2021; V2 Bian et al., TPAMI 2022; V3 Sun et al., TPAMI 2023.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.base_model import BaseModel, Batch, Picture
from models.geometry.camera import View, rotation_warp, synthesize_view
from models.geometry.motion import compose, motion_from_rotation, motion_from_vector, rotation_from_angles
from models.geometry.normals import normals_from_depth, surrounded
from models.geometry.triplet import ALL_OF_A_PIXEL, Triplet, both_ways
from models.losses.mask_ranking import mask_ranking_loss
from models.losses.normal_matching import normal_matching_loss
from models.losses.normal_ranking import normal_ranking_loss
from models.losses.photometric import standardise, unstandardise
from models.losses.rectification import known_angles, rotation_consistency, rotation_triplet
from models.losses.smoothness import edge_aware_smoothness
from models.losses.view_pairs import MIN_PIXELS, PairSwitches, PairTerms, best_neighbour, masked_mean, pair_terms
from models.networks.focal import FocalLengths
from models.networks.resnet_encoder import NUM_LAYERS, load_imagenet_weights
from models.networks.sc_depth import DepthNet, PoseNet
from models.networks.sc_depth_weights import load_sc_depth_state, ours_from_published
from util.colormap import colorize_depth
from util.errors import UserError
from util.padding import crop, pad_to_multiple
from util.updates import Progress, Update
from util.watchdog import Symptom

SHOWN_DEPTH = 3.0  # darkest colour in pictures, in median depths of the frame: there is no unit

STILL_CAMERA = Symptom(
    name="the camera hardly moves",
    reads=("kept", "step"),  # noise alone keeps half of the pixels of a still film
    holds=lambda means: means["kept"] < 0.05 or means["step"] < 0.001,
    patience=3,
    advice="depth can be learned from motion only; take frames that are farther apart (--frame_step, or --min_motion "
    "of data.prepare_video), and look at the view and highlight masks in the pictures",
)
STRETCHED_DEPTH = Symptom(
    name="the predicted depth is stretched without measure",
    reads=("depth_spread",),
    holds=lambda means: means["depth_spread"] > 3,
    patience=3,
    advice="usual causes are a --lr too high and, for V3, pseudo-depth of another kind than --pseudo_depth_kind says",
)
CONSTANT_DEPTH = Symptom(
    name="the predicted depth is almost constant",
    reads=("depth_spread",),
    holds=lambda means: means["depth_spread"] < 0.02,
    patience=5,
    advice="usual causes are a --lr too high, a wrong camera (intrinsics.json, --fov), a motion that only turns, and "
    "--lambda_smooth too large",
)
DISAGREEMENT = Symptom(
    name="the depths of neighbouring frames do not agree",
    reads=("disagreement",),
    holds=lambda means: means["disagreement"] > 0.3,
    patience=5,
    advice="the motion is not found: frames may be too far apart (--max_motion of data.prepare_video), the clip may "
    "have cuts, or --pose_scale may be far from the steps of this camera",
)


class Pairs(NamedTuple):
    """Both directions of each neighbour: first target <- neighbour, then neighbour <- target, along the batch."""

    terms: PairTerms  # (2 R B, 1, H, W) each
    view: View
    depth_tgt: Tensor  # of the target frames, (B, 1, H, W)
    motion: Tensor  # src_from_tgt, (2 R B, 4, 4)

    def forward_terms(self) -> PairTerms:
        """Target <- neighbour, on the target's grid."""
        return PairTerms(*(term.chunk(2)[0] for term in self.terms))


class ScDepthModel(BaseModel):
    """Learns from ``video``: ``frames``, ``intrinsics``, ``view`` and (V3) ``pseudo_depth``.

    Depth has one unknown scale for all frames, and is in mm only after an alignment.
    """

    streams = ("video",)
    metric = False

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        add_network_options(parser)
        if is_train:
            add_loss_options(parser)
            add_endoscopy_options(parser)
            parser.set_defaults(lr=1e-4, beta1=0.9, niter=100, niter_decay=0, zoom=1.15)

    @classmethod
    def check_options(cls, parser: ArgumentParser, opt: Namespace) -> None:
        for name in (name for name in vars(opt) if name.startswith("lambda_")):
            if not getattr(opt, name) >= 0:
                parser.error(f"--{name} {getattr(opt, name)}: must not be negative")
        if not opt.pose_scale > 0:
            parser.error(f"--pose_scale {opt.pose_scale}: must be positive")
        if not opt.highlight_level > 0:
            parser.error(f"--highlight_level {opt.highlight_level}: must be positive (1.1 masks nothing)")

    @classmethod
    def video_parts(cls, opt: Namespace) -> tuple[str, ...]:
        return ("intrinsics", "view", *(("pseudo_depth",) if opt.sc_version == 3 else ()))

    @classmethod
    def validates_by(cls, opt: Namespace) -> str:
        return {"depth": "depth", "photo": "terms"}[opt.val_mode]

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.net_depth = DepthNet(opt.resnet_layers)
        self.net_pose = PoseNet(6, opt.pose_scale)
        if opt.sc_version == 2:
            self.net_rectify = PoseNet(3, 1.0, half_size=True)
        self.predicts_motion = True
        if not opt.is_train:
            return
        if opt.learn_intrinsics:
            self.net_camera = FocalLengths()
        if opt.encoder_weights != "none":
            self._begin_with(None if opt.encoder_weights == "imagenet" else Path(opt.encoder_weights))
        self.switches = PairSwitches(opt.ssim, opt.auto_mask, opt.dynamic_mask, opt.brightness_fit)

    def _begin_with(self, weights: Path | None) -> None:
        """ImageNet weights for the encoders; a file for those that have as many layers as it, the depth network's."""
        for network in self.inference_networks().values():
            if weights is None or network.encoder.num_layers == self.opt.resnet_layers:
                load_imagenet_weights(network.encoder, weights)

    def inference_networks(self) -> dict[str, nn.Module]:
        return {name: network for name, network in self.networks().items() if name != "net_camera"}

    def symptoms(self) -> list[Symptom]:
        return [STILL_CAMERA, CONSTANT_DEPTH, STRETCHED_DEPTH, DISAGREEMENT]

    def load_networks(self, states: Mapping[str, Mapping[str, Tensor]], source: str) -> None:
        states = ours_from_published(states)
        if "net_rectify" in states and self.opt.sc_version != 2 and not self.opt.is_train:
            raise UserError(f"{source} holds a rectify network, so its motion is that of V2: give --sc_version 2")
        super().load_networks(states, source)
        self.predicts_motion = all(name in states for name in self.inference_networks())

    def load_network(self, network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
        load_sc_depth_state(network, state, source)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        weights = [weight for network in self.networks().values() for weight in network.parameters()]
        return {"all": torch.optim.Adam(weights, lr=self.opt.lr, betas=(self.opt.beta1, 0.999), fused=True)}

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """One update of all networks."""
        triplet = self.triplet(batch["video"])
        terms, facts = {}, {}
        if self.opt.sc_version == 2:
            rectified, angles = self.rectify(triplet)
            terms, facts = self.rectification(triplet, rectified, angles)
            triplet = rectified
        pairs = self.pairs(triplet)
        terms |= self.consistency_terms(pairs, len(triplet.refs))
        if self.opt.sc_version == 3:
            terms |= self.pseudo_depth_terms(triplet, pairs, batch["video"]["pseudo_depth"])
        else:
            smoothness = edge_aware_smoothness(pairs.depth_tgt, triplet.tgt, triplet.seen_tgt)
            terms["smooth"] = self.opt.lambda_smooth * smoothness
        yield Update("all", terms, facts | self.facts(batch["video"], triplet, pairs))

    def triplet(self, video: dict[str, Tensor]) -> Triplet:
        """The middle frame of each clip and those around it, standardised; seen is the view without highlights."""
        K = self.net_camera(video["intrinsics"]) if self.opt.learn_intrinsics else video["intrinsics"]
        seen = video["view"][:, None] & self._no_highlight(video["frames"])
        return Triplet.of_clips(standardise(video["frames"]), seen, K)

    def rectify(self, triplet: Triplet) -> tuple[Triplet, Tensor]:
        """V2: the neighbours as the target camera's orientation sees them, and the angles of their turns (R B, 3).

        The neighbours stay differentiable in the angles.
        """
        angles = self.net_rectify(triplet.tgt.repeat(len(triplet.refs), 1, 1, 1), triplet.refs.flatten(0, 1))
        return triplet.turned(angles), angles

    def rectification(
        self, triplet: Triplet, rectified: Triplet, before: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """V2: terms that teach the rectify network, and facts.

        Args:
            triplet, rectified, before: what ``rectify`` was given, and what it gave.
        """
        tgt = triplet.tgt.repeat(len(triplet.refs), 1, 1, 1)
        refs, turned = triplet.refs.flatten(0, 1), rectified.refs.flatten(0, 1)
        known, usable = known_angles(before)
        with torch.no_grad():  # an example, whatever the camera
            made_up = triplet.turned(known).refs.flatten(0, 1)
        example = torch.where(usable[:, None, None, None], turned.detach(), made_up)
        after, again = self.net_rectify(torch.cat((tgt, example)), torch.cat((turned, refs))).chunk(2)
        terms = {
            "rot_consistency": self.opt.lambda_rot_consistency * rotation_consistency(again, known),
            "rot_triplet": self.opt.lambda_rot_triplet * rotation_triplet(before, after),
        }
        return terms, {"rot_before": before.detach().abs().mean(), "rot_after": after.detach().abs().mean()}

    def pairs(self, triplet: Triplet) -> Pairs:
        """Depth of all frames, motion of all pairs, and each frame seen from the camera of the other one."""
        R, B = triplet.refs.shape[:2]
        depths = self.depth(torch.cat((triplet.tgt[None], triplet.refs)).flatten(0, 1)).unflatten(0, (R + 1, B))
        tgt, src = both_ways(triplet.tgt, triplet.refs)
        depth_tgt, depth_src = both_ways(depths[0], depths[1:])
        seen_tgt, seen_src = both_ways(triplet.seen_tgt, triplet.seen_refs)
        motion = motion_from_vector(self.net_pose(tgt, src))
        K = triplet.K.repeat(2 * R, 1, 1)
        view = synthesize_view(torch.cat((src, seen_src.to(src.dtype)), dim=1), depth_src, depth_tgt, motion, K)
        seen = seen_tgt & (view.image[:, 3:] > ALL_OF_A_PIXEL)
        view = view._replace(image=view.image[:, :3])
        return Pairs(pair_terms(tgt, src, view, seen, self.switches), view, depths[0], motion)

    def consistency_terms(self, pairs: Pairs, num_neighbours: int) -> dict[str, Tensor]:
        """L_photo and L_geo: on the target's grid the best neighbour, on each neighbour's grid the target."""
        terms = pairs.terms
        if self.opt.min_optimize:
            backward = PairTerms(*(term.chunk(2)[1] for term in terms))
            best = best_neighbour(pairs.forward_terms(), num_neighbours)
            terms = PairTerms(*(torch.cat(both) for both in zip(best, backward, strict=True)))
        return {
            "photo": self.opt.lambda_photo * masked_mean(terms.photometric, terms.mask),
            "geometry": self.opt.lambda_geometry * masked_mean(terms.inconsistency, terms.mask),
        }

    def pseudo_depth_terms(self, triplet: Triplet, pairs: Pairs, pseudo: Tensor) -> dict[str, Tensor]:
        """V3: normals and depth order of the target are those of its pseudo-depth (B, 1, H, W), 0 where unknown."""
        known = (pseudo > 0) & triplet.seen_tgt
        pseudo = torch.where(known, pseudo, 1.0)
        K = triplet.K.detach()  # else focal lengths that are learned would bend the normals
        normals, normals_pseudo = (normals_from_depth(depth, K) for depth in (pairs.depth_tgt, pseudo))
        inside = surrounded(known)
        reliability, watched = self._reliability(pairs, len(triplet.refs))
        matching = normal_matching_loss(normals, normals_pseudo, inside)
        ranking = normal_ranking_loss(normals, normals_pseudo, triplet.tgt, pseudo, inside)
        order = mask_ranking_loss(pairs.depth_tgt, pseudo, reliability, known & watched)
        return {
            "normal_matching": self.opt.lambda_normal_matching * matching,
            "normal_ranking": self.opt.lambda_normal_ranking * ranking,
            "mask_ranking": self.opt.lambda_mask_ranking * order,
        }

    @staticmethod
    def _reliability(pairs: Pairs, num_neighbours: int) -> tuple[Tensor, Tensor]:
        """1 - D_diff, its mean over the neighbours that count, and where there are any: (B, 1, H, W) each.

        As published, a pixel that no neighbour sees is perfectly reliable; here nothing is known of it.
        """
        forward = pairs.forward_terms()
        weight = forward.mask.unflatten(0, (num_neighbours, -1)).float()
        agreement = 1 - forward.inconsistency.detach().unflatten(0, (num_neighbours, -1))
        count = weight.sum(dim=0)
        return (weight * agreement).sum(dim=0) / count.clamp(min=1), count > 0

    def facts(self, video: dict[str, Tensor], triplet: Triplet, pairs: Pairs) -> dict[str, Tensor]:
        """What each mask leaves (shares of all pixels), and how depth and motion are doing."""
        terms, depth = pairs.terms, pairs.depth_tgt.detach()
        step = pairs.motion.detach()[:, :3, 3].norm(dim=1).mean()
        facts = {
            "view": video["view"].float().mean(),
            "no_highlight": self._no_highlight(video["frames"]).float().mean(),
            "in_view": terms.in_view.float().mean(),
            "kept": terms.mask.float().mean(),
            "disagreement": masked_mean(terms.inconsistency.detach(), terms.in_view),
            "depth_spread": (depth.std(dim=(1, 2, 3)) / depth.mean(dim=(1, 2, 3))).mean(),
            "step": step / depth.median(),  # how far the camera goes, in median depths
        }
        if self.opt.learn_intrinsics:
            focal_x, focal_y, _ = triplet.K.detach().mean(dim=0).diagonal()
            facts |= {"fx_px": focal_x, "fy_px": focal_y}
        return facts

    def depth(self, images: Tensor) -> Tensor:
        """Depth (B, 1, H, W) of standardised images (B, 3, H, W) of any size."""
        multiple = self.size_multiple
        padded, place = pad_to_multiple(images, multiple, minimum=2 * multiple)  # the decoder mirrors a border
        return crop(self.net_depth(padded), place)

    @property
    def size_multiple(self) -> int:
        return DepthNet.size_multiple

    def _no_highlight(self, frames: Tensor) -> Tensor:
        """Where frames (B, T, 3, H, W) in [-1, 1] are not burnt out, bool (B, T, 1, H, W)."""
        return (frames.amin(dim=2, keepdim=True) + 1) / 2 < self.opt.highlight_level

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        return self.depth(standardise(images))

    @torch.no_grad()
    def predict_motion(self, tgt: Tensor, src: Tensor, K: Tensor) -> Tensor:
        tgt, src = standardise(tgt), standardise(src)
        if self.opt.sc_version != 2:
            return motion_from_vector(self.net_pose(tgt, src))
        rotation = rotation_from_angles(self.net_rectify(tgt, src))
        rectified = rotation_warp(src, rotation, K)[0]
        # X_src = R (X_rectified), since the rectified neighbour looks from the same place.
        return compose(motion_from_rotation(rotation), motion_from_vector(self.net_pose(tgt, rectified)))

    @torch.no_grad()
    def validation_terms(self, batch: Batch) -> dict[str, Tensor]:
        triplet = self.triplet(batch["video"])
        if self.opt.sc_version == 2:
            triplet = self.rectify(triplet)[0]
        pairs = self.pairs(triplet)
        photo = self.consistency_terms(pairs, len(triplet.refs))["photo"]
        # Else networks that throw every pixel out of view would be the best ones.
        return {"photo": torch.where(pairs.terms.mask.sum() > MIN_PIXELS, photo, torch.nan)}

    @torch.no_grad()
    def visuals(self, batch: Batch) -> dict[str, Picture]:
        video = {name: tensor[:1] for name, tensor in batch["video"].items()}
        triplet = self.triplet(video)
        pictures = {"frame": unstandardise(triplet.tgt[0]), "neighbour": unstandardise(triplet.refs[0, 0])}
        if self.opt.sc_version == 2:
            triplet = self.rectify(triplet)[0]
            pictures["rectified neighbour"] = unstandardise(triplet.refs[0, 0])
        pairs = self.pairs(triplet)
        terms = pairs.terms
        pictures |= {
            "prediction": depth_picture(pairs.depth_tgt[0]),
            "warped neighbour": unstandardise(pairs.view.image[0]),
            "photometric error": grey_picture(terms.photometric[0]),
            "disagreement": grey_picture(terms.inconsistency[0]),
            "seen": grey_picture(triplet.seen_tgt[0]),
            "in view": grey_picture(terms.in_view[0]),
            "kept": grey_picture(terms.mask[0]),
        }
        if "pseudo_depth" in video:
            pictures["pseudo-depth"] = depth_picture(video["pseudo_depth"][0])
        return {name: _shown(picture) for name, picture in pictures.items()}


def depth_picture(depth: Tensor) -> Picture:
    """(1, H, W) in colours from 0 to ``SHOWN_DEPTH`` medians of its own."""
    known = depth[depth > 0]
    median = known.median() if known.numel() else depth.new_ones(())
    return colorize_depth((depth[0].float() / median).cpu().numpy(), SHOWN_DEPTH)


def grey_picture(x: Tensor) -> Tensor:
    """A map (1, H, W) in [0, 1], or a mask."""
    return x.float().expand(3, -1, -1)


def _shown(picture: Picture) -> Picture:
    """Standardised pictures end a little outside [0, 1] by rounding."""
    return picture.float().clamp(0, 1) if isinstance(picture, Tensor) else picture


def add_network_options(parser: ArgumentParser) -> None:
    """Options without which the networks cannot be built again."""
    group = parser.add_argument_group("sc_depth: networks")
    group.add_argument(
        "--sc_version",
        type=int,
        choices=(1, 2, 3),
        default=1,
        help="1: consistency over video; 2: and rotations taken out before; 3: and guided by pseudo-depth",
    )
    group.add_argument(
        "--resnet_layers", type=int, choices=NUM_LAYERS, default=18, help="size of the depth network's encoder"
    )
    group.add_argument("--pose_scale", type=float, default=0.01, help="factor on what the pose network gives")


def add_loss_options(parser: ArgumentParser) -> None:
    """Weights and parts of the losses, with the published values."""
    group = parser.add_argument_group("sc_depth: losses")
    group.add_argument(
        "--encoder_weights",
        default="imagenet",
        metavar="imagenet|none|FILE",
        help="what the encoders begin with: torchvision's weights (downloaded), nothing, or a file of such weights for "
        "--resnet_layers; the pose network has 18 layers and takes such a file too",
    )
    group.add_argument("--lambda_photo", type=float, default=1.0, help="weight of the photometric loss")
    group.add_argument("--lambda_geometry", type=float, default=0.1, help="weight of depth consistency")
    group.add_argument("--lambda_smooth", type=float, default=0.1, help="weight of smoothness (V1, V2)")
    group.add_argument("--lambda_rot_consistency", type=float, default=1.0, help="weight of known rotations (V2)")
    group.add_argument("--lambda_rot_triplet", type=float, default=1.0, help="weight of less rotation afterwards (V2)")
    group.add_argument("--lambda_normal_matching", type=float, default=0.1, help="weight of equal normals (V3)")
    group.add_argument("--lambda_normal_ranking", type=float, default=0.1, help="weight of equal bends at edges (V3)")
    group.add_argument("--lambda_mask_ranking", type=float, default=0.1, help="weight of equal depth order (V3)")
    group.add_argument("--no_ssim", dest="ssim", action="store_false", help="absolute difference only")
    group.add_argument(
        "--no_auto_mask", dest="auto_mask", action="store_false", help="keep pixels that look the same without motion"
    )
    group.add_argument(
        "--no_dynamic_mask", dest="dynamic_mask", action="store_false", help="do not weigh down where depths disagree"
    )
    group.add_argument(
        "--no_min_optimize", dest="min_optimize", action="store_false", help="all neighbours, not the best one a pixel"
    )
    group.add_argument(
        "--val_mode",
        choices=("depth", "photo"),
        default="depth",
        help="best is chosen by: depth scores of the eval split, or the photometric loss on video held out",
    )


def add_endoscopy_options(parser: ArgumentParser) -> None:
    """What endoscopes need beyond the published method."""
    group = parser.add_argument_group("sc_depth: endoscopy")
    group.add_argument(
        "--highlight_level",
        type=float,
        default=0.9,
        help="pixels whose darkest channel is above are reflections and left out; 1.1: none",
    )
    group.add_argument(
        "--brightness_fit", action="store_true", help="fit one gain and offset a pair: the exposure changes"
    )
    group.add_argument(
        "--learn_intrinsics", action="store_true", help="learn the focal lengths; the camera given is where they begin"
    )
