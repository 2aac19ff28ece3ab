"""Networks that several cases share: 180 million weights and their moments are too much to have once for each."""

import copy
from collections.abc import Callable, Container, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from models.base_model import Batch
from models.colon2depth_model import Colon2depthModel
from models.networks.layers import InstanceNorm2d, NearestUpConv, ScatterConv2d
from models.networks.winograd import WinogradConv2d
from util.updates import Progress, Update

AnyModule = TypeVar("AnyModule", bound=nn.Module)
Optimizers = dict[str, torch.optim.Optimizer]


class SharedModel(Colon2depthModel):
    """colon2depth as it is, but with optimisers that others use as well, and a step for batches of video alone."""

    shared_optimizers: Optimizers | None = None

    def build_optimizers(self) -> Optimizers:
        return self.shared_optimizers or super().build_optimizers()

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """The method's own step; without synthetic pairs, what that does with the video after them."""
        if "synthetic" in batch:
            yield from super().training_step(batch, progress)
            return
        frames = batch["video"]["frames"]
        depth = self.generate(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        yield self.video_update(batch["video"], depth, progress)

    def video_loss(self, batch: Batch, depth: torch.Tensor) -> torch.Tensor:
        """The video update without the network: gradients of depth (B, T, 1, H, W), which has to be a leaf."""
        depth.grad = None
        (loss,) = self.video_update(batch["video"], depth, Progress(1, 1)).terms.values()
        loss.backward()
        return loss.detach()


def share_weights(module: AnyModule) -> AnyModule:
    """A copy that has the same weights and buffers, not equal ones: a step of one is a step of the other."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)


def with_layers(network: AnyModule, ours: Container[str]) -> AnyModule:
    """A network of the same weights in which only some of ``OUR_LAYERS`` are ours, and the others PyTorch's own."""
    copied = share_weights(network)
    for parent in list(copied.modules()):
        if "norm" not in ours and isinstance(parent, nn.ReLU | nn.LeakyReLU):
            parent.inplace = True
        for name, layer in parent.named_children():
            kind = next((kind for kind, (ours_is, _) in PLAIN.items() if isinstance(layer, ours_is)), None)
            if kind is not None and kind not in ours:
                setattr(parent, name, PLAIN[kind][1](layer))
    return copied


def _plain_convolution(layer: nn.Conv2d) -> nn.Conv2d:
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, device="meta")
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain


# By the names of ``OUR_LAYERS``: our kind of layer, and what makes PyTorch's own from one.
PLAIN: dict[str, tuple[type[nn.Module], Callable[[Any], nn.Module]]] = {
    "norm": (InstanceNorm2d, lambda norm: nn.InstanceNorm2d(norm.num_features)),
    "decoder": (NearestUpConv, lambda layers: nn.Sequential(*layers)),
    "blocks": (WinogradConv2d, _plain_convolution),
    "output": (ScatterConv2d, _plain_convolution),
}


def count_parameters(method: nn.Module) -> dict[str, int]:
    """By network."""
    return {name: sum(weight.numel() for weight in net.parameters()) for name, net in method.networks().items()}
