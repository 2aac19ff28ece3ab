"""Checkpoints of PyTorch Lightning: weights and options come back, and nothing in the file is run."""

from argparse import Namespace

import pytest
import torch

from tests.damage import Hostile
from util.checkpoint import DamagedFile
from util.errors import UserError
from util.lightning_checkpoint import read_lightning
from util.trained_weights import is_bare, read_trained

STATE = {
    "depth_net.encoder.conv1.weight": torch.arange(6.0).reshape(2, 3),
    "depth_net.head.bias": torch.tensor([0.5], dtype=torch.float16),
    "pose_net.head.bias": torch.tensor(3),
}
OPTIONS = {"model_version": "v3", "resnet_layers": 50, "lr": 1e-4, "use_ssim": True}


def save(path, state=STATE, options=None, **more):
    """As Lightning writes it when only weights are kept."""
    content = {"epoch": 99, "global_step": 100_000, "pytorch-lightning_version": "2.6.0", "state_dict": state}
    content |= {"loops": {"fit_loop": {"state_dict": {}}}, "hparams_name": "kwargs"}
    content |= {"hyper_parameters": {"hparams": options}} if options is not None else {}
    torch.save(content | more, path)
    return path


def allowed():
    return set(torch.serialization.get_safe_globals())


def test_weights_come_back_by_network_and_key(tmp_path):
    networks = read_lightning(save(tmp_path / "a.ckpt"))["networks"]
    assert {name: list(state) for name, state in networks.items()} == {
        "depth_net": ["encoder.conv1.weight", "head.bias"],
        "pose_net": ["head.bias"],
    }
    for name, state in networks.items():
        for key, value in state.items():
            assert value.dtype == STATE[f"{name}.{key}"].dtype
            assert torch.equal(value, STATE[f"{name}.{key}"])


def test_options_come_back_where_they_are_plain(tmp_path):
    odd = {"ckpt_path": None, "sizes": [256, 320], "inner": Namespace(lr=1), "weights": torch.zeros(2)}
    held = read_lightning(save(tmp_path / "a.ckpt", options=Namespace(**OPTIONS, **odd)))
    assert held["options"] == OPTIONS
    assert held["facts"] == {}


@pytest.mark.parametrize("options", [None, {"lr": 1.0}, "v3", torch.zeros(1)])
def test_without_a_namespace_there_are_no_options(tmp_path, options):
    assert read_lightning(save(tmp_path / "a.ckpt", options=options))["options"] == {}


def test_tensor_of_no_network_is_kept_by_its_own_name(tmp_path):
    networks = read_lightning(save(tmp_path / "a.ckpt", {"scale": torch.ones(1), **STATE}))["networks"]
    assert networks.keys() == {"scale", "depth_net", "pose_net"}


def test_options_of_another_project_are_not_taken_for_ours(tmp_path):
    """Their batch_size, seed or model would otherwise become that of our test."""
    path = save(tmp_path / "a.ckpt", options=Namespace(batch_size=4, seed=1, model="theirs"))
    held = read_trained(path)
    assert (held["options"], held["facts"]) == ({}, {})
    assert held["networks"].keys() == {"depth_net", "pose_net"}


def test_file_is_known_by_its_suffix_whatever_it_is_called(tmp_path):
    path = save(tmp_path / "last_net_G.ckpt")
    assert not is_bare(path)
    assert read_trained(path)["networks"].keys() == {"depth_net", "pose_net"}


# What is refused


def hostile_contents(command):
    hostile = Hostile(command)
    return {
        "beside the weights": {"callbacks": hostile},
        "among the weights": {"state_dict": {"depth_net.a": hostile}},
        "as the options": {"hyper_parameters": {"hparams": hostile}},
        "in the options": {"hyper_parameters": {"hparams": Namespace(seed=hostile)}},
        "deep in the options": {"hyper_parameters": {"hparams": Namespace(a=[Namespace(b={"c": hostile})])}},
    }


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", hostile_contents(""))
def test_hostile_file_is_refused_and_nothing_in_it_is_run(tmp_path, place, legacy):
    path, made = tmp_path / "a.ckpt", tmp_path / "made"
    content = {"state_dict": STATE, **hostile_contents(f"touch {made}")[place]}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"a\.ckpt is no PyTorch .*Python objects, which are never loaded") as error:
        read_trained(path)
    assert "weights_only" not in str(error.value)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()  # it was hostile indeed


def test_namespaces_are_let_in_for_this_file_only(tmp_path):
    before = allowed()
    read_lightning(save(tmp_path / "a.ckpt", options=Namespace()))
    assert allowed() == before
    with pytest.raises(UserError):
        read_lightning(save(tmp_path / "a.ckpt", options=Hostile("true")))
    assert allowed() == before
    torch.save({"a": Namespace()}, tmp_path / "x_net_G.pth")
    with pytest.raises(UserError, match="Python objects, which are never loaded"):
        read_trained(tmp_path / "x_net_G.pth")


@pytest.mark.parametrize("state", [None, [torch.zeros(1)], {"a.b": 1}, {1: torch.zeros(1)}, {"a": STATE}])
def test_file_without_tensors_by_name_is_no_checkpoint_of_lightning(tmp_path, state):
    with pytest.raises(UserError, match=r"a\.ckpt is no checkpoint of PyTorch Lightning"):
        read_lightning(save(tmp_path / "a.ckpt", state))


@pytest.mark.parametrize("content", [torch.zeros(2), {"networks": {}}])
def test_other_files_are_no_checkpoints_of_lightning(tmp_path, content):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt is no checkpoint of PyTorch Lightning"):
        read_lightning(tmp_path / "a.ckpt")


def test_changed_byte_is_noticed(tmp_path):
    path = save(tmp_path / "a.ckpt", options=Namespace(**OPTIONS))
    content = bytearray(path.read_bytes())
    content[content.index(STATE["depth_net.encoder.conv1.weight"].numpy().tobytes()) + 5] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.ckpt is damaged"):
        read_lightning(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        read_trained(tmp_path / "none.ckpt")
