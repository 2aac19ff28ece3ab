"""sfm_depth: dense depth of single endoscopic frames, supervised by sparse structure from motion.

Sources: Liu et al., "Self-supervised Learning for Dense Depth Estimation in Monocular Endoscopy", CARE workshop at
MICCAI 2018 (the defaults), and their later objective, IEEE TMI 39(5), 2020.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.base_model import BaseModel, Batch, Picture
from models.geometry.camera import relative_pose
from models.geometry.depth_scaling import MODES, ScaledDepth, scale_to_sparse
from models.geometry.depth_warping import SAMPLINGS, RelativeFlow, WarpedDepth, relative_flow, warp_depth
from models.losses.depth_consistency import KINDS, depth_consistency_loss
from models.losses.scale_invariant import SECOND_TERMS, scale_invariant_loss
from models.losses.sparse_flow import sparse_flow_loss
from models.networks.positive_depth import DEPTH_NETWORKS, build_depth_network, load_depth_state
from util.colormap import colorize_depth, colorize_error
from util.updates import Progress, Update
from util.watchdog import Symptom

PUBLISHED = {"model": "net_depth"}  # what the authors' checkpoints call it
BOTH = 2  # frames of a pair, and directions between them
SHOWN_DEPTH = 3.0  # darkest colour in pictures, in median depths of the frame
SHOWN_ERROR = 0.25  # brightest colour, as a share of the depth

NO_OVERLAP = Symptom(
    name="the frames of a pair hardly show the same place",
    reads=("overlap",),
    holds=lambda means: means["overlap"] < 0.05,
    patience=3,
    advice="poses or units may be wrong (look at the points in the report of data.run_sfm), or --max_gap too large",
)
CONSTANT_DEPTH = Symptom(
    name="the predicted depth is almost constant",
    reads=("depth_spread",),
    holds=lambda means: means["depth_spread"] < 0.02,
    patience=5,
    advice="usual causes are a --lr too high, a --lambda_consistency that outweighs the sparse depth (a constant map "
    "is consistent), and clips whose points are wrong",
)
NO_POINTS = Symptom(
    name="most frames have no sparse depth",
    reads=("usable",),
    holds=lambda means: means["usable"] < 0.5,
    patience=3,
    advice="raise --visibility_overlap, lower --sparse_threshold, and look at the report of data.run_sfm",
)


class Directions(NamedTuple):
    """Both directions of each pair along the batch: first the first frames as targets, then the second ones."""

    raw: Tensor  # depth of the targets as predicted, (2B, 1, H, W)
    target: ScaledDepth
    warped: WarpedDepth  # the other frame's depth on the target's grid
    flow: RelativeFlow | None  # that the target's depth gives; None where no loss reads it
    src_from_tgt: Tensor  # (2B, 4, 4)
    K: Tensor  # (2B, 3, 3)
    usable: Tensor  # bool (2B,): both frames have points, so that both have the clip's scale


class SfmDepthModel(BaseModel):
    """Learns from ``sfm``: pairs of frames with sparse depth, confidence, flow, mask, intrinsics and poses.

    Depth of a frame has a scale of its own, unknown, so it is in mm only after an alignment.
    """

    streams = ("sfm",)
    metric = False

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        add_network_options(parser)
        if is_train:
            add_loss_options(parser)
            # Frames keep their aspect and are not zoomed: poses belong to them. Mirrored they could be; published: not.
            parser.set_defaults(
                resize_or_crop="scale_width",
                load_size=480,
                flip=False,
                batch_size=8,
                lr=1e-4,
                beta1=0.9,
                niter=40,
                niter_decay=0,
            )

    @classmethod
    def check_options(cls, parser: ArgumentParser, opt: Namespace) -> None:
        for name in (name for name in vars(opt) if name.startswith("lambda_")):
            if not getattr(opt, name) >= 0:
                parser.error(f"--{name} {getattr(opt, name)}: must not be negative")
        if not opt.lambda_sparse + opt.lambda_flow > 0:
            parser.error(
                "--lambda_sparse and --lambda_flow are both 0: consistency alone is content with a constant map"
            )
        if opt.resize_or_crop not in ("resize", "scale_width", "none") or opt.zoom > 1:
            parser.error(
                "sfm_depth cuts the lens circle out of frames itself, and poses belong to the frames as they are: "
                f"--resize_or_crop must be resize, scale_width or none (here {opt.resize_or_crop}), --zoom 1"
            )
        if not 1 <= opt.min_gap <= opt.max_gap:
            parser.error(f"--min_gap {opt.min_gap} and --max_gap {opt.max_gap}: need 1 <= smallest <= largest")
        if opt.visibility_overlap < 0 or (opt.sfm_preparation == "published" and opt.visibility_overlap < 1):
            parser.error(
                f"--visibility_overlap {opt.visibility_overlap}: must not be negative, and at least 1 with "
                "--sfm_preparation published, whose interval without its upper end is empty at 0"
            )
        for flag, kind in (("consistency_plus_one", "l1"), ("consistency_by_translation", "normalized_l2")):
            if getattr(opt, flag) and opt.consistency != kind:
                parser.error(f"--{flag} belongs to --consistency {kind}, here it is {opt.consistency}")
        if opt.occlusion_tolerance is not None and opt.occlusion_tolerance < 0:
            parser.error(f"--occlusion_tolerance {opt.occlusion_tolerance}: must not be negative")
        if opt.sfm_divisor < 1:
            parser.error(f"--sfm_divisor {opt.sfm_divisor}: must be at least 1")

    @classmethod
    def validates_by(cls, opt: Namespace) -> str:
        return "terms"

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.net_depth = build_depth_network(opt.net, ngf=opt.ngf)

    def symptoms(self) -> list[Symptom]:
        return [NO_OVERLAP, CONSTANT_DEPTH, NO_POINTS]

    def load_networks(self, states: Mapping[str, Mapping[str, Tensor]], source: str) -> None:
        super().load_networks({PUBLISHED.get(name, name): state for name, state in states.items()}, source)

    def load_network(self, network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
        load_depth_state(network, state, source)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        weights = list(self.net_depth.parameters())
        if self.opt.optimizer == "sgd":
            return {"depth": torch.optim.SGD(weights, lr=self.opt.lr, momentum=self.opt.beta1)}
        return {"depth": torch.optim.Adam(weights, lr=self.opt.lr, betas=(self.opt.beta1, 0.999), fused=True)}

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """One update: Eq. 5 of the paper, or another choice of its terms."""
        sfm = batch["sfm"]
        directions = self.directions(sfm)
        yield Update("depth", self.terms(sfm, directions, progress.epoch), self.facts(sfm, directions))

    def directions(self, sfm: dict[str, Tensor]) -> Directions:
        """Depth of both frames, brought to the clip's scale, and each seen from the other one."""
        raw = self.net_depth(stacked(sfm["frames"]))
        scaled = scale_to_sparse(raw, stacked(sfm["sparse_depth"]), stacked(sfm["confidence"]), self.opt.scaling)
        poses, K = stacked(sfm["pose"]), sfm["intrinsics"].repeat(BOTH, 1, 1)
        mask = sfm["mask"].repeat(BOTH, 1, 1, 1)
        src_from_tgt = relative_pose(swapped(poses), poses)
        warped = warp_depth(
            swapped(scaled.depth),
            scaled.depth,
            src_from_tgt,
            K,
            mask,
            self.opt.warp_sampling,
            occlusion_tolerance=self.opt.occlusion_tolerance,
        )
        flow = relative_flow(scaled.depth, src_from_tgt, K, mask) if self.opt.lambda_flow else None
        return Directions(raw, scaled, warped, flow, src_from_tgt, K, scaled.usable & swapped(scaled.usable))

    def terms(self, sfm: dict[str, Tensor], directions: Directions, epoch: int) -> dict[str, Tensor]:
        """The weighted losses; each is a sum over both frames, or both directions, of means over the batch."""
        terms = {}
        if self.opt.lambda_sparse:
            sparse = scale_invariant_loss(
                directions.raw,
                stacked(sfm["sparse_depth"]),
                stacked(sfm["confidence"]),
                second_term=self.opt.second_term,
                threshold=self.opt.sparse_threshold,
            )
            terms["sparse"] = self.opt.lambda_sparse * BOTH * sparse
        if directions.flow is not None:
            counts = directions.flow.seen & directions.target.usable.view(-1, 1, 1, 1)
            weight = stacked(sfm["flow_confidence"]) * counts
            flow = sparse_flow_loss(directions.flow.flow, stacked(sfm["sparse_flow"]), weight)
            terms["flow"] = self.opt.lambda_flow * BOTH * flow
        weight = self.consistency_weight(epoch)
        if weight:
            terms["consistency"] = weight * BOTH * self.consistency(directions)
        return terms

    def consistency(self, directions: Directions) -> Tensor:
        """Mean over the pairs, in both directions."""
        translation = directions.src_from_tgt[:, :3, 3] if self.opt.consistency_by_translation else None
        return depth_consistency_loss(
            directions.warped.depth,
            directions.target.depth,
            directions.warped.valid,
            self.opt.consistency,
            K=directions.K,
            usable=directions.usable,
            plus_one=self.opt.consistency_plus_one,
            translation=translation,
        )

    def consistency_weight(self, epoch: int) -> float:
        """In an epoch, from 1."""
        return self.opt.lambda_consistency_early if epoch <= self.opt.early_epochs else self.opt.lambda_consistency

    @torch.no_grad()
    def facts(self, sfm: dict[str, Tensor], directions: Directions) -> dict[str, Tensor]:
        """How well the scaled depth fits the points, how much the frames share, and how deep the map is."""
        mask = sfm["mask"].repeat(BOTH, 1, 1, 1)
        depth, sparse = directions.target.depth, stacked(sfm["sparse_depth"])
        points = stacked(sfm["confidence"]) > 0
        error = torch.where(points, (depth - sparse).abs() / torch.where(points, sparse, 1.0), 0.0)
        count = mask.sum(dim=(1, 2, 3)).clamp(min=1)
        mean = torch.where(mask, depth, 0.0).sum(dim=(1, 2, 3)) / count
        variance = torch.where(mask, depth - mean.view(-1, 1, 1, 1), 0.0).square().sum(dim=(1, 2, 3)) / count
        return {
            "abs_rel": error.sum() / points.sum().clamp(min=1),
            "scale_spread": directions.target.spread.mean(),
            "usable": directions.usable.float().mean(),
            "overlap": directions.warped.valid.sum() / mask.sum().clamp(min=1),
            "depth_spread": (variance.sqrt() / mean.clamp(min=torch.finfo(mean.dtype).tiny)).mean(),
        }

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        return self.net_depth(images)

    @torch.no_grad()
    def validation_terms(self, batch: Batch) -> dict[str, Tensor]:
        """The losses with the final weights, so that they mean the same in every epoch."""
        directions = self.directions(batch["sfm"])
        return self.terms(batch["sfm"], directions, epoch=self.opt.early_epochs + 1)

    @torch.no_grad()
    def visuals(self, batch: Batch) -> dict[str, Picture]:
        sfm = {name: tensor[:1] for name, tensor in batch["sfm"].items()}
        directions = self.directions(sfm)
        depth, warped, valid = (
            directions.target.depth[0, 0],
            directions.warped.depth[0, 0],
            directions.warped.valid[0, 0],
        )
        mask, sparse = sfm["mask"][0, 0], sfm["sparse_depth"][0, 0, 0]
        median = depth[mask].median()
        error = ((warped - depth).abs() / depth.clamp(min=torch.finfo(depth.dtype).tiny)).cpu().numpy()
        return {
            "frame": in_unit_range(sfm["frames"][0, 0]),
            "other frame": in_unit_range(sfm["frames"][0, 1]),
            "prediction": depth_picture(depth * mask, median),
            "sparse depth": depth_picture(sparse, median),
            "other frame's depth, warped": depth_picture(warped * valid, median),
            "relative difference": colorize_error(error, SHOWN_ERROR, valid=valid.cpu().numpy()),
        }


def stacked(pairs: Tensor) -> Tensor:
    """What each frame of the pairs has, (B, 2, ...), along the batch: all first frames, then all second ones."""
    return pairs.transpose(0, 1).flatten(0, 1)


def swapped(x: Tensor) -> Tensor:
    """The same of the other frame of each pair, (2B, ...)."""
    return torch.cat(x.chunk(BOTH)[::-1])


def in_unit_range(image: Tensor) -> Tensor:
    """(3, H, W) in [-1, 1] to [0, 1]."""
    return ((image.float() + 1) / 2).clamp(0, 1)


def depth_picture(depth: Tensor, median: Tensor) -> Picture:
    """(H, W), 0 where unknown, in colours from 0 to ``SHOWN_DEPTH`` times ``median``."""
    return colorize_depth((depth.float() / median).cpu().numpy(), SHOWN_DEPTH)


def add_network_options(parser: ArgumentParser) -> None:
    """Options without which the network cannot be built again."""
    group = parser.add_argument_group("sfm_depth: network")
    group.add_argument(
        "--net",
        choices=tuple(DEPTH_NETWORKS),
        default="fcdensenet57",
        help="FC-DenseNet 57 (2020), the U-Net of 2018, pix2pixHD's global generator, or SC-Depth's ResNet",
    )
    group.add_argument("--ngf", type=int, default=64, help="filters of the first layer of --net global")


def add_loss_options(parser: ArgumentParser) -> None:
    """Which losses, as in the paper of 2018 by default."""
    group = parser.add_argument_group("sfm_depth: losses")
    group.add_argument("--lambda_sparse", type=float, default=1.0, help="weight of sparse depth (scale-invariant)")
    group.add_argument("--lambda_flow", type=float, default=0.0, help="weight of sparse flow, of the sum of directions")
    group.add_argument(
        "--lambda_consistency",
        type=float,
        default=2e-4,
        help="omega, weight of depth consistency, of the sum of directions; for l1 with respect to depth as a share of "
        "the clip's global scale",
    )
    group.add_argument(
        "--lambda_consistency_early", type=float, default=2e-4, help="the same in the first --early_epochs epochs"
    )
    group.add_argument("--early_epochs", type=int, default=0, help="epochs with --lambda_consistency_early")
    group.add_argument("--consistency", choices=tuple(KINDS), default="l1", help="how two depth maps are compared")
    group.add_argument(
        "--consistency_plus_one", action="store_true", help="l1 divides by one pixel more (code of 2018)"
    )
    group.add_argument(
        "--consistency_by_translation", action="store_true", help="normalized_l2 counts short motions more (published)"
    )
    group.add_argument("--scaling", choices=MODES, default="mean_ratio", help="how depth gets the scale of its points")
    group.add_argument(
        "--warp_sampling", choices=SAMPLINGS, default="exact", help="where the other map is read; two as published"
    )
    group.add_argument(
        "--occlusion_tolerance",
        type=float,
        help="leave out what the other frame sees nearer by this share; default: keep",
    )
    group.add_argument(
        "--second_term",
        choices=SECOND_TERMS,
        default="minus",
        help="of the scale-invariant loss; plus is published code",
    )
    group.add_argument(
        "--sparse_threshold", type=float, default=0.0, help="least sparse depth that counts, see --sfm_root"
    )
    group.add_argument("--optimizer", choices=("adam", "sgd"), default="adam", help="sgd has --beta1 as its momentum")
