"""Forward passes on a GPU that is pretended: tensors say that they are on it, and have no values.

PyTorch's fake tensors work out devices, types and shapes. An operation on tensors of two devices is an error, and so is
asking for a value, for which a real GPU would have to be waited. (Without a real GPU they have no backward pass.)
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from data import create_streams
from models import create_model, model_names
from tests.tiny_run import tiny_options, write_data_set
from util.updates import Progress

GPU = torch.device("cuda", 0)
EAGER = ["--d_every=1", "--video_start_epoch=0"]  # all updates of colon2depth in the first iteration
WAYS = [
    ("colon2depth", EAGER),
    ("colon2depth", [*EAGER, "--video_update=joint", "--norm=batch", "--no_lsgan"]),
    ("colon2depth", [*EAGER, "--netG=local", "--upsample=transposed"]),
    *(("sc_depth", [f"--sc_version={version}"]) for version in (1, 2, 3)),
    ("sfm_depth", ["--lambda_flow=1"]),
    ("sfm_depth", ["--net=unet", "--consistency=normalized_distance"]),
]


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture
def mode():
    return FakeTensorMode()


def pretend(tensor, mode):
    """A fake tensor on the GPU, like this one."""
    with mode:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)


def move(module, mode):
    """What ``module.to(GPU)`` does, which fake weights do not allow."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(pretend(weight, mode), weight.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, pretend(buffer, mode))
    return module


def test_values_and_other_devices_are_errors(mode):
    x = pretend(torch.ones(2), mode)
    with mode, pytest.raises(DataDependentOutputException):
        x.sum().item()
    with mode, pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        x + torch.ones(2)


def test_every_method_is_tried():
    assert {name for name, _ in WAYS} == set(model_names())


@pytest.mark.parametrize(("name", "flags"), WAYS)
def test_losses_are_computed_on_the_gpu_which_is_never_waited_for(name, flags, dataroot, mode):
    opt = tiny_options(*flags, dataroot=dataroot, model=name)
    streams, method = create_streams(opt), move(create_model(opt), mode)
    method.begin_epoch(1)
    batch = {
        stream: {key: pretend(x, mode) for key, x in tensors.items()}
        for stream, tensors in streams.next(method.active_streams(1)).items()
    }
    with mode:
        updates = list(method.training_step(batch, Progress(1, 1, streams.passes)))
    assert {update.optimizer for update in updates} == set(method.build_optimizers())
    values = [value for update in updates for value in (update.terms | update.facts).values()]
    assert {(value.device, value.ndim) for value in values} == {(GPU, 0)}


@pytest.mark.parametrize(("name", "flags"), WAYS)
def test_predictions_stay_on_the_gpu(name, flags, dataroot, mode):
    opt = tiny_options(*flags, dataroot=dataroot, model=name)
    method = move(create_model(opt), mode).eval()
    with mode:
        depth = method.predict(torch.zeros(2, 3, 32, 48, device=GPU))
    assert (depth.device, depth.shape) == (GPU, (2, 1, 32, 48))
