"""Compiled networks equal plain ones, and where compiling fails one line says so and the plain ones go on."""

import functools

import pytest
import torch
from torch import nn

from models.networks.pix2pixhd import GlobalGenerator, LocalEnhancer, MultiscaleDiscriminator
from util.compilation import compile_networks, why_not
from util.parallel import frozen

CPU = torch.device("cpu")
TINY = {"ngf": 2, "n_downsample": 1}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def backend(monkeypatch):
    """Lets ``torch.compile`` use a backend."""
    compile_function = torch.compile
    return lambda backend: monkeypatch.setattr(torch, "compile", functools.partial(compile_function, backend=backend))


def twins(build, **arguments):
    """Two networks of equal weights in float64."""
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(build(**arguments).double())
    return networks


def assert_alike(compiled, plain, inputs):
    """The same outputs, and the same gradients of input and weights."""
    outcomes = []
    for network in (compiled, plain):
        x = inputs.clone().requires_grad_()
        y = network(x)
        tensors = [y] if torch.is_tensor(y) else [maps[-1] for maps in y]
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(sum(t.square().sum() for t in tensors), [x, *weights], allow_unused=True)
        outcomes.append([*tensors, *gradients])
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=1e-9, atol=1e-12)


# As they should be


def test_compiled_network_equals_the_plain_one_with_the_compiler_of_this_machine(capsys):
    reason = why_not(CPU)
    if reason:
        pytest.skip(f"torch.compile does not work here: {reason}")
    compiled, plain = twins(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 1)))
    compile_networks({"net_G": compiled}, CPU)
    assert_alike(compiled, plain, torch.rand(2, 2, 6, 7, dtype=torch.float64))
    assert compiled.forward.run is not compiled.forward.plain
    assert "--compile" not in capsys.readouterr().err  # PyTorch itself has remarks


# What Dynamo and autograd make of our networks does not depend on the compiler behind them.
@pytest.mark.parametrize(
    ("build", "name", "recompute"), [(LocalEnhancer, "eager", False), (GlobalGenerator, "aot_eager", True)]
)
def test_generators_are_traced_to_what_they_are(backend, capsys, build, name, recompute):
    backend(name)
    compiled, plain = twins(build, **TINY, **({"n_blocks_global": 1} if build is LocalEnhancer else {"n_blocks": 1}))
    compiled.recompute = recompute
    compile_networks({"net_G": compiled}, CPU)
    assert_alike(compiled, plain, 2 * torch.rand(1, 3, 16, 20, dtype=torch.float64) - 1)
    assert capsys.readouterr().err == ""


def test_discriminator_is_traced_anew_when_it_is_frozen(backend, capsys):
    backend("eager")
    compiled, plain = twins(MultiscaleDiscriminator, ndf=2, n_layers=1)
    compile_networks({"net_D": compiled}, CPU)
    images = torch.rand(1, 4, 16, 20, dtype=torch.float64)
    assert_alike(compiled, plain, images)
    with frozen(compiled) as judge, frozen(plain) as plain_judge:
        assert_alike(judge, plain_judge, images)
    assert capsys.readouterr().err == ""


def test_names_of_weights_stay_and_state_loads_both_ways(backend):
    backend("eager")
    compiled, plain = twins(GlobalGenerator, **TINY, n_blocks=1)
    compile_networks({"net_G": compiled}, CPU)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in compiled.named_modules()] == [name for name, _ in plain.named_modules()]
    with torch.no_grad():
        plain.model[1].bias.fill_(0.25)
    compiled.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(compiled(images), plain(images))


def test_mistake_that_a_network_finds_is_its_own_error(backend, capsys):
    backend("eager")
    network = LocalEnhancer(ngf=2, n_downsample=2, n_blocks_global=1)
    compile_networks({"net_G": network}, CPU)
    with pytest.raises(ValueError, match=r"multiples of 8, got \(36, 40\)"):
        network(torch.rand(1, 3, 36, 40))
    assert capsys.readouterr().err == ""


# As they may be


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("no C++ compiler\nand a long story"), "no C++ compiler"),
        (ImportError("\n Triton is not installed\n"), "Triton is not installed"),
        (OSError(), "OSError"),
    ],
)
def test_where_nothing_can_be_compiled_one_line_says_why_and_networks_stay_plain(monkeypatch, capsys, error, reason):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch, "compile", broken)
    assert why_not(CPU) == reason
    network = nn.Linear(3, 2)
    compile_networks({"net_G": network, "net_D": nn.Linear(3, 2)}, CPU)
    assert "forward" not in vars(network)
    assert capsys.readouterr().err == (
        f"--compile: going on without it, since torch.compile does not work here: {reason}\n"
    )


def test_network_that_cannot_be_compiled_says_so_once_and_goes_on_plain(backend, capsys):
    def no_pictures(graph, inputs):
        if any(torch.is_tensor(x) and x.ndim == 4 for x in inputs):
            raise NotImplementedError("pictures are beyond me\nand so on")
        return graph.forward

    backend(no_pictures)
    compiled, plain = twins(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()))
    fine = nn.Linear(3, 2)
    compile_networks({"net_G": compiled, "net_D": fine}, CPU)
    fine(torch.rand(4, 3))
    inputs = torch.rand(2, 2, 6, 7, dtype=torch.float64)
    for _ in range(2):
        assert_alike(compiled, plain, inputs)
    (line,) = capsys.readouterr().err.splitlines()
    reason = "backend='no_pictures' raised: NotImplementedError: pictures are beyond me"
    assert line == f"--compile: net_G goes on without it: {reason}"
    assert compiled.forward.run == compiled.forward.plain
    assert fine.forward.run != fine.forward.plain


def test_faults_of_a_step_are_not_taken_for_faults_of_the_compiler(backend, capsys):
    backend("eager")
    network = nn.Linear(3, 2)
    compile_networks({"net_G": network}, CPU)
    network.forward.run = lambda x: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        network(torch.rand(4, 3))
    assert capsys.readouterr().err == ""
