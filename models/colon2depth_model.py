"""colon2depth: depth by a conditional GAN on synthetic pairs, made consistent on real video by masked gradient warping.

Source: "Depth Estimation for Colonoscopy Images with Self-supervised Learning from Videos", MICCAI 2021.
"""

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.base_model import BaseModel, Batch, Picture
from models.geometry.flow import warp
from models.geometry.neighbour_pairs import neighbour_pairs, to_unit
from models.losses.adversarial import GANLoss, feature_matching_loss
from models.losses.gradient_warping import masked_gradient_warping_loss
from models.losses.perceptual import PerceptualLoss
from models.networks.pix2pixhd import GlobalGenerator, LocalEnhancer, MultiscaleDiscriminator
from models.networks.weights import load_published_state
from util.colormap import colorize_depth, colorize_error
from util.padding import crop, pad_to_multiple
from util.parallel import frozen, unwrap
from util.updates import Progress, Update
from util.watchdog import Symptom

FEATURE_FACTOR = 2.0  # the published generator loss is L_GAN + 2 L_FM, beside the weight inside L_FM


CONSTANT_DEPTH = Symptom(
    name="the predicted depth is almost constant",
    reads=("depth_spread",),
    holds=lambda means: means["depth_spread"] < 0.01,  # 1 mm of 200 mm
    patience=3,
    advice="usual causes are a --lr too high, frames that are black or all alike, and depth in the wrong unit "
    "(python -m data.check shows both); --max_depth_mm far above the depths of the data does it too",
)


class Colon2depthModel(BaseModel):
    """Learns from ``synthetic`` (image, depth_mm, valid) and, from an epoch on, ``video`` (frames, flow and masks)."""

    streams = ("synthetic", "video")

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        add_network_options(parser)
        if is_train:
            add_loss_options(parser)

    @classmethod
    def check_options(cls, parser: ArgumentParser, opt: Namespace) -> None:
        for name in ("lambda_video", "lambda_video_step", "lambda_feat", "video_start_epoch", "niter_fix_global"):
            if getattr(opt, name) < 0:
                parser.error(f"--{name} {getattr(opt, name)}: must not be negative")
        if opt.max_depth_mm <= 0:
            parser.error(f"--max_depth_mm {opt.max_depth_mm}: must be above 0")
        if opt.d_every < 1:
            parser.error(f"--d_every {opt.d_every}: must be at least 1")
        if opt.niter_fix_global and opt.netG != "local":
            parser.error("--niter_fix_global holds the global part of --netG local; here it is --netG global")

    @classmethod
    def streams_for(cls, opt: Namespace) -> tuple[str, ...]:
        return cls.streams if opt.lambda_video > 0 or opt.lambda_video_step > 0 else cls.streams[:1]

    @classmethod
    def video_parts(cls, opt: Namespace) -> tuple[str, ...]:
        return ("flow",)

    def active_streams(self, epoch: int) -> tuple[str, ...]:
        streams = self.streams_for(self.opt)
        return streams if epoch > self.opt.video_start_epoch else streams[:1]

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.net_G = build_generator(opt)
        self.size_multiple = self.net_G.size_multiple
        if not opt.is_train:  # the generator is all that testing needs
            return
        self.net_D = MultiscaleDiscriminator(4, opt.ndf, opt.n_layers_D, opt.num_D, opt.norm)
        self.gan_loss = GANLoss("lsgan" if opt.lsgan else "vanilla")
        self.perceptual_loss = PerceptualLoss(opt.vgg_weights) if opt.vgg_loss else None

    def inference_networks(self) -> dict[str, nn.Module]:
        return {"net_G": self.net_G}

    def symptoms(self) -> list[Symptom]:
        blind = self.opt.num_D * (0.25 if self.opt.lsgan else math.log(2))  # what guessing costs, D_fake + D_real
        discriminator_won = Symptom(
            name="the discriminator tells real from fake without error",
            reads=("D_fake", "D_real"),
            holds=lambda means: means["D_fake"] + means["D_real"] < 0.04 * blind,
            patience=5,
            advice="the generator learns nothing from it any more; usual causes are true depth maps that their look "
            "alone gives away (another range or encoding) and too strong a discriminator: raise --d_every, lower --ndf",
        )
        return [discriminator_won, CONSTANT_DEPTH]

    def load_network(self, network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
        load_published_state(network, state, source)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        def adam(network: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.Adam(network.parameters(), lr=self.opt.lr, betas=(self.opt.beta1, 0.999), fused=True)

        return {"G": adam(self.net_G), "D": adam(self.net_D)}

    def begin_epoch(self, epoch: int) -> None:
        """``--niter_fix_global``: the first epochs train the enhancer alone."""
        if self.opt.netG == "local":
            network = unwrap(self.net_G)
            network.requires_grad_(epoch > self.opt.niter_fix_global)
            for parameter in network.enhancer_parameters():
                parameter.requires_grad_(True)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """Generator on synthetic pairs, the discriminator at every ``d_every``-th iteration, generator on video."""
        synthetic, video = batch["synthetic"], batch.get("video")
        image, real = synthetic["image"], self.normalise(synthetic["depth_mm"])
        if video is not None and self.opt.video_update == "joint":
            predicted, video_depth = self.generate_both(image, video["frames"])
            video_update = self.video_update(video, video_depth, progress)
        else:
            predicted, video_update = self.generate(image), Update("G", {})
        # An invalid pixel takes part in no error: both sides show the discriminator the same there.
        fake = torch.where(synthetic["valid"], predicted, real)
        facts = {"depth_spread": predicted.detach().std(dim=(1, 2, 3)).mean()} | video_update.facts
        yield Update("G", self.generator_terms(image, fake, real) | video_update.terms, facts)

        if progress.iteration % self.opt.d_every == 0:
            yield Update("D", self.discriminator_terms(image, fake.detach(), real))

        if video is not None and self.opt.video_update == "alternate":
            frames = video["frames"]
            depth = self.generate(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])  # (B, T, 1, H, W)
            yield self.video_update(video, depth, progress)

    def generator_terms(self, image: Tensor, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """L_GAN + 2 L_FM (+ VGG). The discriminator only judges; its features of the real pair need no gradient."""
        with frozen(self.net_D) as judge:
            judged = judge(torch.cat((image, fake), dim=1))
            terms = {"G_GAN": self.gan_loss(judged, True)}
            if self.opt.gan_feat_loss:
                with torch.no_grad():
                    judged_real = judge(torch.cat((image, real), dim=1))
                weight = FEATURE_FACTOR * self.opt.lambda_feat
                terms["G_FM"] = feature_matching_loss(judged, judged_real, self.opt.n_layers_D, self.opt.num_D, weight)
        if self.perceptual_loss is not None:
            terms["G_VGG"] = self.opt.lambda_feat * self.perceptual_loss(fake, real)
        return terms

    def discriminator_terms(self, image: Tensor, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """L_D = (L_fake + L_real) / 2."""
        pairs = torch.cat((image, fake), dim=1), torch.cat((image, real), dim=1)
        if self.opt.norm == "instance":  # each image is normalised by itself, so both go in one pass
            judged = self.net_D(torch.cat(pairs))
            judged_fake, judged_real = ([[m.chunk(2)[half] for m in maps] for maps in judged] for half in (0, 1))
        else:
            judged_fake, judged_real = (self.net_D(pair) for pair in pairs)
        return {
            "D_fake": 0.5 * self.gan_loss(judged_fake, False),
            "D_real": 0.5 * self.gan_loss(judged_real, True),
        }

    def video_update(self, video: dict[str, Tensor], depth: Tensor, progress: Progress) -> Update:
        """Masked gradient warping between each clip's middle frame and its neighbours, on the normalised depth.

        Args:
            video: the stream's batch.
            depth: of its frames, (B, T, 1, H, W).
            progress: the weight grows with the passes over the stream.
        """
        weight = self.opt.lambda_video + self.opt.lambda_video_step * progress.passes.get("video", 0)
        pairs = neighbour_pairs(video, depth)
        loss = masked_gradient_warping_loss(pairs.depth_src, pairs.depth_tgt, pairs.flow, pairs.mask, pairs.image_src)
        return Update("G", {"G_video": weight * loss}, {"unmasked": pairs.mask.float().mean()})

    def generate(self, images: Tensor) -> Tensor:
        """Normalised depth in [-1, 1], (B, 1, H, W), of images (B, 3, H, W) of any size."""
        # Twice: the residual blocks mirror a border, and instance norm needs more than one pixel.
        padded, place = pad_to_multiple(images, self.size_multiple, minimum=2 * self.size_multiple)
        return crop(self.net_G(padded), place)

    def generate_both(self, images: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of images (B, 3, H, W) and of the frames of clips (C, T, 3, h, w), in one pass where that is exact."""
        clips = frames.flatten(0, 1)
        if self.opt.norm == "instance" and clips.shape[1:] == images.shape[1:]:
            depth, clip_depth = self.generate(torch.cat((images, clips))).split((len(images), len(clips)))
        else:
            depth, clip_depth = self.generate(images), self.generate(clips)
        return depth, clip_depth.unflatten(0, frames.shape[:2])

    def normalise(self, depth_mm: Tensor) -> Tensor:
        """[mm], 0 to max_depth_mm, to [-1, 1]; what lies farther is cut off."""
        return (depth_mm / self.opt.max_depth_mm * 2 - 1).clamp(-1, 1)

    def denormalise(self, depth: Tensor) -> Tensor:
        """[-1, 1] to [mm]."""
        return (depth.float() + 1) / 2 * self.opt.max_depth_mm

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        return self.denormalise(self.generate(images))

    @torch.no_grad()
    def visuals(self, batch: Batch) -> dict[str, Picture]:
        synthetic = {name: tensor[:1] for name, tensor in batch["synthetic"].items()}
        pred_mm, gt_mm, valid = self.predict(synthetic["image"]), synthetic["depth_mm"], synthetic["valid"]
        pictures = {
            "frame": to_unit(synthetic["image"][0]),
            "prediction": self._depth_picture(pred_mm),
            "truth": self._depth_picture(gt_mm, valid),
            "error": colorize_error(_pixels((pred_mm - gt_mm).abs() * valid), self.opt.display_max_mm / 4),
        }
        if "video" in batch:
            pictures |= self._video_pictures({name: tensor[:1] for name, tensor in batch["video"].items()})
        return pictures

    def _video_pictures(self, video: dict[str, Tensor]) -> dict[str, Picture]:
        frames = video["frames"]
        depth_mm = self.predict(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        pairs = neighbour_pairs(video, depth_mm)
        return {
            "video source": pairs.image_src[0],
            "video prediction": self._depth_picture(pairs.depth_src[:1]),
            "warped neighbour": warp(pairs.image_tgt[:1], pairs.flow[:1])[0],
            "mask": pairs.mask[0].float().expand(3, -1, -1),
        }

    def _depth_picture(self, depth_mm: Tensor, valid: Tensor | None = None) -> Picture:
        return colorize_depth(
            _pixels(depth_mm), self.opt.display_max_mm, valid=None if valid is None else _pixels(valid)
        )


def add_network_options(parser: ArgumentParser) -> None:
    """Options without which the networks cannot be built again."""
    group = parser.add_argument_group("colon2depth: networks")
    group.add_argument("--netG", choices=("global", "local"), default="global", help="generator")
    group.add_argument("--ngf", type=int, default=64, help="generator's channels at full size")
    group.add_argument("--n_downsample_global", type=int, default=4, help="halvings in the global generator")
    group.add_argument("--n_blocks_global", type=int, default=9, help="residual blocks in the global generator")
    group.add_argument("--n_local_enhancers", type=int, default=1, help="enhancers of --netG local")
    group.add_argument("--n_blocks_local", type=int, default=3, help="residual blocks of an enhancer")
    group.add_argument("--norm", choices=("instance", "batch"), default="instance", help="normalisation")
    group.add_argument(
        "--upsample", choices=("nearest", "transposed"), default="nearest", help="decoder; transposed is pix2pixHD's"
    )
    group.add_argument(
        "--max_depth_mm", type=float, default=200.0, help="depth that the generator's output of 1 means [mm]"
    )


def add_loss_options(parser: ArgumentParser) -> None:
    """Discriminator, weights and the schedule of updates, with the published values."""
    group = parser.add_argument_group("colon2depth: losses")
    group.add_argument("--num_D", type=int, default=2, help="discriminators, each at half the size of the one before")
    group.add_argument("--n_layers_D", type=int, default=3, help="strided layers of a discriminator")
    group.add_argument("--ndf", type=int, default=64, help="channels of a discriminator's first layer")
    group.add_argument("--no_lsgan", dest="lsgan", action="store_false", help="cross entropy instead of least squares")
    group.add_argument("--lambda_feat", type=float, default=10.0, help="weight of feature matching and of the VGG loss")
    group.add_argument("--no_ganFeat_loss", dest="gan_feat_loss", action="store_false", help="no feature matching")
    group.add_argument("--vgg_loss", action="store_true", help="perceptual loss on VGG19 features")
    group.add_argument("--no_vgg_loss", dest="vgg_loss", action="store_false", help="no perceptual loss (the default)")
    group.add_argument("--vgg_weights", type=Path, help="file of VGG19 weights; without it they are downloaded")
    group.add_argument("--d_every", type=int, default=5, help="iterations from one discriminator update to the next")
    group.add_argument("--video_start_epoch", type=int, default=70, help="the video loss starts after this epoch")
    group.add_argument(
        "--lambda_video", type=float, default=5.0, help="weight of the video loss; 0 (and no step) for none"
    )
    group.add_argument(
        "--lambda_video_step", type=float, default=2.0, help="added to it after each pass over the video"
    )
    group.add_argument(
        "--video_update",
        choices=("alternate", "joint"),
        default="alternate",
        help="own generator update, or one for both",
    )
    group.add_argument("--niter_fix_global", type=int, default=0, help="epochs that train the local enhancer alone")


def build_generator(opt: Namespace) -> GlobalGenerator | LocalEnhancer:
    """The generator that ``--netG`` names."""
    down, blocks = opt.n_downsample_global, opt.n_blocks_global
    if opt.netG == "global":
        return GlobalGenerator(3, 1, opt.ngf, down, blocks, opt.norm, opt.upsample)
    return LocalEnhancer(3, 1, opt.ngf, down, blocks, opt.n_local_enhancers, opt.n_blocks_local, opt.norm, opt.upsample)


def _pixels(maps: Tensor) -> np.ndarray:
    """(1, 1, H, W) to a NumPy array (H, W)."""
    return maps[0, 0].cpu().numpy()
