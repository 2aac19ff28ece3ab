"""The published system's schedule, recreated to be measured against. Nothing of it is used in training.

Source: "Depth Estimation for Colonoscopy Images with Self-supervised Learning from Videos" (MICCAI 2021) and the
pix2pixHD code that it builds on, as both run on today's PyTorch. Weights and losses are ours, so what it learns is the
same; what differs is how, how often and where something is computed:

- layers of PyTorch's own, decoder as upsampling, mirrored border, convolution; float32; contiguous layout
- Adam as PyTorch makes it by default
- three passes of the discriminator in every iteration (fake detached, real, fake), all with gradients
- the generator's loss goes back into the discriminator's weights too, whose gradients are thrown away
- prediction: gradients are recorded, since the code leaves them out only where PyTorch's version begins with 0.4
- video: one clip at a time, through NumPy; flow both ways and masks in every step; one loss for each pair of frames
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torchvision.models.optical_flow import raft_large

from benchmark.networks import Optimizers, with_layers
from models.base_model import Batch
from models.colon2depth_model import FEATURE_FACTOR, Colon2depthModel
from models.geometry.flow import FlowEstimator, create_flow_estimator
from models.geometry.flow_estimators import RaftEstimator
from models.geometry.neighbour_pairs import to_unit
from models.losses.adversarial import feature_matching_loss
from models.losses.gradient_warping import masked_gradient_warping_loss

MAX_ERROR = 1.0  # of the way there and back [px^2]


class PublishedStep:
    """The published update of a method's networks.

    Args:
        method: has the networks, the losses and their weights.
        optimizers: of its networks, ``G`` and ``D``.
        estimator: of the flow between neighbouring frames.
    """

    def __init__(self, method: Colon2depthModel, optimizers: Optimizers, estimator: FlowEstimator) -> None:
        self.method, self.optimizers, self.estimator = method, optimizers, estimator
        self.net_G, self.net_D = with_layers(method.net_G, ()), with_layers(method.net_D, ())

    def train(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        """One iteration on synthetic pairs; returns the terms. The discriminator learns in every ``d_every``-th."""
        terms = self._terms(batch["synthetic"])
        self._update("G", terms["G_GAN"] + terms["G_FM"])
        if iteration % self.method.opt.d_every == 0:
            self._update("D", terms["D_fake"] + terms["D_real"])
        return {name: term.detach() for name, term in terms.items()}

    def video(self, batch: Batch) -> dict[str, Tensor]:
        """One generator update on clips; returns the term."""
        clips = batch["video"]["frames"]
        loss = self._video_loss(clips, [self.net_G(_through_numpy(clip)) for clip in clips])
        self._update("G", loss)
        return {"G_video": loss.detach()}

    def video_loss(self, batch: Batch, depth: Tensor) -> Tensor:
        """The same without the network: gradients of depth (B, T, 1, H, W), which has to be a leaf."""
        depth.grad = None
        loss = self._video_loss([_through_numpy(clip) for clip in batch["video"]["frames"]], list(depth))
        loss.backward()
        return loss.detach()

    def predict(self, images: Tensor) -> Tensor:
        """Depth [mm], (B, 1, H, W), of images (B, 3, H, W) in [-1, 1]; what gradients would need is kept meanwhile."""
        return self.method.denormalise(self.net_G(images)).detach()

    def _terms(self, synthetic: dict[str, Tensor]) -> dict[str, Tensor]:
        method, opt = self.method, self.method.opt
        image, real = synthetic["image"], method.normalise(synthetic["depth_mm"])
        fake = torch.where(synthetic["valid"], self.net_G(image), real)
        judged_detached = self.net_D(torch.cat((image, fake.detach()), dim=1))
        judged_real = self.net_D(torch.cat((image, real), dim=1))
        judged = self.net_D(torch.cat((image, fake), dim=1))
        weight = FEATURE_FACTOR * opt.lambda_feat
        return {
            "G_GAN": method.gan_loss(judged, True),
            "G_FM": feature_matching_loss(judged, judged_real, opt.n_layers_D, opt.num_D, weight),
            "D_fake": 0.5 * method.gan_loss(judged_detached, False),
            "D_real": 0.5 * method.gan_loss(judged_real, True),
        }

    def _update(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def _video_loss(self, clips: Iterable[Tensor], depths: Iterable[Tensor]) -> Tensor:
        pairs = zip(clips, depths, strict=True)
        losses = [loss for clip, depth in pairs for loss in self._pair_losses(clip, depth)]
        return self.method.opt.lambda_video * torch.stack(losses).mean()

    def _pair_losses(self, clip: Tensor, depth: Tensor) -> Iterator[Tensor]:
        """Of the middle frame of a clip (T, 3, H, W) with depth (T, 1, H, W), with each of its neighbours."""
        pictures = clip.cpu().numpy()
        middle = (len(clip) - 1) // 2
        for neighbour in (middle - 1, middle + 1):
            if neighbour < 0:
                continue
            src, tgt = (to_unit(torch.from_numpy(pictures[[at]])).to(clip.device) for at in (middle, neighbour))
            flow = self.estimator(src, tgt)
            mask = consistent_numpy(flow[0].cpu().numpy(), self.estimator(tgt, src)[0].cpu().numpy())
            mask = torch.from_numpy(mask)[None, None].to(clip.device)
            yield masked_gradient_warping_loss(depth[[middle]], depth[[neighbour]], flow, mask, src)


def _through_numpy(clip: Tensor) -> Tensor:
    return torch.from_numpy(clip.cpu().numpy()).to(clip.device)


def default_adam(method: Colon2depthModel) -> Optimizers:
    """Adam with the method's rates, as PyTorch makes it when nothing is said: a loop over the weights on the CPU."""
    opt = method.opt
    networks = {"G": method.net_G, "D": method.net_D}
    return {
        name: torch.optim.Adam(network.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
        for name, network in networks.items()
    }


class UntrainedRaft(RaftEstimator):
    """RAFT with random weights: it costs the same time, and needs no download."""

    def __init__(self) -> None:
        self.name = self.fingerprint = "raft_large_untrained"
        self.network = raft_large(weights=None, progress=False).eval().requires_grad_(False)


def make_estimator(device: torch.device) -> FlowEstimator:
    """The flow that the published step computes: RAFT on a GPU, where PWC-Net was published, else DIS."""
    return UntrainedRaft() if device.type == "cuda" else create_flow_estimator("dis")


def consistent_numpy(flow_fwd: np.ndarray, flow_bwd: np.ndarray) -> np.ndarray:
    """Forward-backward mask of flows (2, H, W) [px], bool (H, W): that of ``models.geometry.flow``, in NumPy."""
    height, width = flow_fwd.shape[-2:]
    y, x = np.mgrid[:height, :width]
    to_x, to_y = x + flow_fwd[0], y + flow_fwd[1]
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    error = np.square(flow_fwd + bilinear_numpy(flow_bwd, to_x, to_y)).sum(axis=0)
    return inside & (error < MAX_ERROR)


def bilinear_numpy(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample (C, H, W) at positions (H, W) [px]; outside is the border. Returns (C, H, W)."""
    height, width = picture.shape[-2:]
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    of_x, of_y = x - left, y - top
    upper = picture[:, top, left] * (1 - of_x) + picture[:, top, right] * of_x
    lower = picture[:, bottom, left] * (1 - of_x) + picture[:, bottom, right] * of_x
    return upper * (1 - of_y) + lower * of_y
