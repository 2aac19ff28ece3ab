"""Runs cases on one set of networks, in whichever process it is."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from benchmark.batches import make_pictures, synthetic_batch, video_batch
from benchmark.cases import ACCUMULATE, ITERATIONS, Case, Load
from benchmark.memory import forget_peak, peak_since
from benchmark.networks import Optimizers, SharedModel, count_parameters, share_weights, with_layers
from benchmark.published import PublishedStep, default_adam, make_estimator
from benchmark.work import Work, count_work, product_rate, wait_for
from models.base_model import Batch
from models.geometry.flow import FlowEstimator
from options.train_options import TrainOptions
from util.engine import Engine, EngineSettings
from util.precision import choose_precision
from util.random_state import seed_everything
from util.updates import Progress

# Iterations that are timed together: in training, too, a GPU is given its next work while it does the last.
BURST = {"cpu": 1, "cuda": 10}

Steps = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Setup:
    """What a runner is made from.

    Args:
        flags: of ``train.py``, for the networks.
        gpu: number of the GPU; None for the CPU.
    """

    flags: tuple[str, ...]
    gpu: int | None = None


class CaseRunner:
    """Times cases, counts their operations and their memory. Networks are made when the first case needs them.

    All cases work on the same weights, and those with the same kind of Adam on the same moments. What a case has made
    (copies of the networks' structure, a batch) is kept as long as the load stays the same.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = torch.device("cpu") if setup.gpu is None else torch.device("cuda", setup.gpu)
        self._optimizers: dict[bool, Optimizers] = {}  # by whether they are fused
        self._load: Load | None = None
        self._batch: Batch = {}
        self._steps: dict[Case, Steps] = {}

    def seconds(self, case: Case, kind: str) -> float:
        """Of one iteration of this kind."""
        step, burst = self.steps(case)[kind], BURST[self.device.type]
        choose_precision(case.precision, self.device).set_backends()  # another case may have set others
        with _no_collection():
            wait_for(self.device)
            start = time.perf_counter()
            for _ in range(burst):
                step()
            wait_for(self.device)
            return (time.perf_counter() - start) / burst

    def work(self, case: Case) -> dict[str, Work]:
        """What an iteration of each kind computes."""
        return {kind: count_work(step) for kind, step in self.steps(case).items()}

    def peak_bytes(self, case: Case) -> int | None:
        """The most memory in use during a cycle, when all of the optimisers' moments are there."""
        for kind in case.kinds:
            self.seconds(case, kind)
        if not forget_peak(self.device):
            return None
        for kind in case.kinds:
            self.seconds(case, kind)
        return peak_since(self.device)

    def product_rate(self, precision: str) -> float:
        """See ``benchmark.work``."""
        return product_rate(precision, self.device)

    def parameters(self) -> dict[str, int]:
        """Number of weights of each network."""
        return count_parameters(self.method)

    def steps(self, case: Case) -> Steps:
        """The iterations of a case, by kind."""
        if case.load != self._load:
            self._steps.clear()
            self._load, self._batch = case.load, self._make_batch(case.load)
        if case not in self._steps:
            make = self._published_steps if case.published else self._our_steps
            self._steps[case] = make(case, self._batch)
        return self._steps[case]

    @cached_property
    def method(self) -> SharedModel:
        seed_everything(0)
        return SharedModel(TrainOptions().parse(list(self.setup.flags))).to(self.device)

    @cached_property
    def estimator(self) -> FlowEstimator:
        return make_estimator(self.device)

    def _make_batch(self, load: Load) -> Batch:
        if load.what == "train":
            return synthetic_batch(load.size, load.batch, self.device)
        if load.what in ("video", "video_loss"):
            return video_batch(load.size, load.batch, self.device, self.estimator)
        images = make_pictures(load.batch, 3, load.size, load.size, seed=0) * 2 - 1
        return {"inference": {"images": images.to(self.device)}}

    def _published_steps(self, case: Case, batch: Batch) -> Steps:
        if case.load.what == "inference":
            step = PublishedStep(self.method, {}, self.estimator)
            return {"predict": partial(step.predict, batch["inference"]["images"])}
        step = PublishedStep(self.method, self._shared_optimizers(case.fused), self.estimator)
        if case.load.what == "video":
            return {"video": partial(step.video, batch)}
        if case.load.what == "video_loss":
            return {"loss": partial(step.video_loss, batch, self._depth_of(batch))}
        return {kind: partial(step.train, batch, ITERATIONS[kind]) for kind in case.kinds}

    def _our_steps(self, case: Case, batch: Batch) -> Steps:
        method = share_weights(self.method)
        method.net_G, method.net_D = (with_layers(net, case.layers) for net in (method.net_G, method.net_D))
        if case.load.what == "inference":
            return {"predict": partial(self._predict, method.eval(), case.precision, batch["inference"]["images"])}
        if case.load.what == "video_loss":
            return {"loss": partial(method.video_loss, batch, self._depth_of(batch))}
        method.shared_optimizers = self._shared_optimizers(case.fused)
        engine = Engine(method, self._settings(case))
        return {kind: partial(engine.step, batch, Progress(1, ITERATIONS[kind])) for kind in case.kinds}

    def _depth_of(self, batch: Batch) -> torch.Tensor:
        """Made-up depth of the frames of clips, which gradients are asked for."""
        frames = batch["video"]["frames"]
        return frames.mean(dim=2, keepdim=True).requires_grad_()

    def _predict(self, method: SharedModel, precision: str, images: torch.Tensor) -> torch.Tensor:
        with choose_precision(precision, self.device).autocast():
            return method.predict(images)

    def _settings(self, case: Case) -> EngineSettings:
        extra = {"accumulate": ACCUMULATE} if case.extra == "accumulate" else {case.extra: True} if case.extra else {}
        gpu_ids = () if self.setup.gpu is None else (self.setup.gpu,)
        return EngineSettings(gpu_ids=gpu_ids, precision=case.precision, **extra)

    def _shared_optimizers(self, fused: bool) -> Optimizers:
        if fused not in self._optimizers:
            self._optimizers[fused] = self.method.build_optimizers() if fused else default_adam(self.method)
        return self._optimizers[fused]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python's garbage is not collected within: that would come in the middle of one case or another."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
