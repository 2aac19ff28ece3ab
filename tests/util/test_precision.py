"""What each precision computes in, on the CPU and as if there were GPUs of several ages."""

import pytest
import torch
from torch import nn

from util.precision import PRECISIONS, Precision, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture
def gpu_of(monkeypatch):
    """Says which compute capability the GPUs have."""
    return lambda major, minor: monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, minor))


@pytest.fixture
def backends():
    """The switches of cuDNN and cuBLAS; they are put back at the end."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    yield
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


def product(precision):
    """Of float32 matrices within autocast, and the one of them that learns."""
    weight = nn.Parameter(torch.full((3, 2), 1 / 3))
    with precision.autocast():
        return torch.ones(4, 3) @ weight, weight


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0)])
def test_auto_is_bf16_on_gpus_that_compute_in_it(gpu_of, capability):
    gpu_of(*capability)
    assert choose_precision("auto", GPU) == Precision("bf16", GPU)


@pytest.mark.parametrize("capability", [(6, 1), (7, 0), (7, 5)])
def test_auto_is_tf32_on_older_gpus_even_where_bf16_is_emulated(gpu_of, capability):
    gpu_of(*capability)
    assert choose_precision("auto", GPU) == Precision("tf32", GPU)


def test_auto_is_fp32_on_the_cpu_without_a_word(capsys):
    assert choose_precision("auto", CPU) == Precision("fp32", CPU)
    assert capsys.readouterr().err == ""


def test_tf32_is_fp32_on_the_cpu_and_one_line_says_so(capsys):
    assert choose_precision("tf32", CPU) == Precision("fp32", CPU)
    assert capsys.readouterr().err == "--precision tf32 is of NVIDIA GPUs; the CPU computes in fp32\n"


@pytest.mark.parametrize("name", [name for name in PRECISIONS if name != "auto"])
def test_what_is_asked_for_is_taken_on_any_gpu(gpu_of, name):
    gpu_of(7, 5)
    assert choose_precision(name, GPU) == Precision(name, GPU)


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_are_in_the_precision_and_gradients_in_float32(name, dtype):
    y, weight = product(choose_precision(name, CPU))
    y.float().sum().backward()
    assert y.dtype == dtype
    assert weight.grad.dtype == torch.float32
    expected = torch.full((4, 2), 1 / 3).to(dtype).float() * 3  # what one third is in that type
    torch.testing.assert_close(y.float(), expected, rtol=torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_losses_are_scaled_with_fp16_alone(name):
    scaler = Precision(name, CPU).scaler()
    loss = torch.tensor(2.0)
    scaled = scaler.scale(loss).item()
    assert scaled == (2.0 * scaler.get_scale() if name == "fp16" else 2.0)
    assert scaler.is_enabled() == (name == "fp16")
    assert (scaled > 1000) == (name == "fp16")


def test_each_optimiser_has_a_scale_of_its_own():
    precision = Precision("fp16", CPU)
    assert precision.scaler() is not precision.scaler()


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize(("name", "tf32"), [("tf32", True), ("fp32", False), ("bf16", False), ("fp16", False)])
def test_gpus_multiply_in_tf32_where_it_is_named_and_nowhere_else(name, tf32):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not tf32
    torch.backends.cudnn.benchmark = False
    Precision(name, GPU).set_backends()
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (tf32, tf32)
    assert torch.backends.cudnn.benchmark


@pytest.mark.usefixtures("backends")
def test_the_cpu_changes_no_switch_of_gpus():
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = True, False
    Precision("fp32", CPU).set_backends()
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark) == (True, False)
