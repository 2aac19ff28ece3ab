"""What a method is: networks, the streams it learns from, its updates and its prediction."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from util.errors import UserError
from util.parallel import unwrap
from util.updates import Progress, Update
from util.watchdog import Symptom

Batch = dict[str, dict[str, Tensor]]
Picture = Tensor | np.ndarray  # float (3, H, W) in [0, 1], or uint8 (H, W, 3)


class BaseModel(nn.Module):
    """Base of all methods. Children called ``net_*`` are its networks: they are saved, loaded and wrapped.

    ``streams`` names what it learns from; ``metric`` says whether ``predict`` gives mm or depth up to a scale, and
    ``predicts_motion`` whether there is a ``predict_motion``.
    """

    streams: tuple[str, ...] = ()
    metric = True
    predicts_motion = False

    def __init__(self, opt: Namespace) -> None:
        super().__init__()
        self.opt = opt

    @staticmethod
    def add_options(parser: ArgumentParser, is_train: bool) -> None:
        """Declare the method's options; published values go in with ``parser.set_defaults``."""

    @classmethod
    def check_options(cls, parser: ArgumentParser, opt: Namespace) -> None:
        """End in ``parser.error`` when options contradict each other."""

    @classmethod
    def streams_for(cls, opt: Namespace) -> tuple[str, ...]:
        """Streams that a training with these options needs."""
        return cls.streams

    @classmethod
    def video_parts(cls, opt: Namespace) -> tuple[str, ...]:
        """What is read of the ``video`` stream beside the frames: ``flow``, ``view``, ``intrinsics``, ``pseudo_depth``.

        What no method reads is not computed for it; see ``data.clips_dataset``.
        """
        return ()

    @classmethod
    def validates_by(cls, opt: Namespace) -> str:
        """What the checkpoint ``best`` is chosen by: ``depth`` of the eval split, or ``terms`` on video held out."""
        return "depth"

    def active_streams(self, epoch: int) -> tuple[str, ...]:
        """Streams whose batches the method reads in ``epoch``."""
        return self.streams_for(self.opt)

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch, from 1; for schedules of what is trained."""

    def networks(self) -> dict[str, nn.Module]:
        return {name: child for name, child in self.named_children() if name.startswith("net_")}

    def inference_networks(self) -> dict[str, nn.Module]:
        """Those that ``predict`` needs: of them averages are kept, and weights exported."""
        return self.networks()

    def symptoms(self) -> list[Symptom]:
        """What in the logged losses and facts means that the training goes wrong, and what to do then."""
        return []

    def load_networks(self, states: Mapping[str, Mapping[str, Tensor]], source: str) -> None:
        """Load weights by network name; all keys must fit. ``source`` names them in errors.

        Raises:
            UserError: keys or shapes differ, or none of the method's networks is there.
        """
        shared = {name: network for name, network in self.networks().items() if name in states}
        if not shared:
            has = ", ".join(self.networks())
            raise UserError(f"{source} holds {', '.join(states)}, but the method has {has}; is it of another --model?")
        for name, network in shared.items():
            self.load_network(unwrap(network), states[name], f"{source} ({name})")

    def load_network(self, network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
        """Load one network's weights.

        Raises:
            UserError: keys or shapes differ.
        """
        raise NotImplementedError

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        raise NotImplementedError

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """The updates of one iteration; at each ``yield`` the engine does backward and step."""
        raise NotImplementedError

    def predict(self, images: Tensor) -> Tensor:
        """Depth of images (B, 3, H, W) in [-1, 1], any size: (B, 1, H, W), in mm when the method is ``metric``."""
        raise NotImplementedError

    def predict_motion(self, tgt: Tensor, src: Tensor, K: Tensor) -> Tensor:
        """How the camera moved: ``src_from_tgt`` (B, 4, 4), translation in the unit of ``predict``.

        Args:
            tgt, src: two frames in [-1, 1], (B, 3, H, W) each.
            K: of both, (B, 3, 3) [px].
        """
        raise NotImplementedError

    def validation_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Losses on a batch that is not learned from, in evaluation mode; ``best`` has the lowest sum of them."""
        raise NotImplementedError

    def visuals(self, batch: Batch) -> dict[str, Picture]:
        """Pictures of the first sample of each stream, by caption."""
        raise NotImplementedError
