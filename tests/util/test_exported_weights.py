"""Exported weights: one file with all that testing needs, and refusals of what is damaged or none of ours."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.damage import Hostile
from util.checkpoint import DamagedFile, save_checkpoint
from util.errors import UserError
from util.exported_weights import export_weights, read_exported
from util.trained_weights import read_trained

OPTIONS = {"model": "toy", "lr": 5e-05, "dataroot": "datasets/mine", "streams": ["video"], "niter": None, "html": True}
FACTS = {"references": {"constant_mm": 1 / 3, "brightness_mm": 7.0}}


def weights(value):
    return {
        "1.weight": torch.full((2, 3), value),
        "1.bias": torch.full((2,), value, dtype=torch.bfloat16),
        "2.num_batches_tracked": torch.tensor(5),
    }


def save_run(folder, **more):
    networks = {"net_G": weights(0.5), "net_D": weights(0.25)}
    state = {"model": "toy", "options": OPTIONS, "facts": FACTS, "networks": networks, "iteration": 7}
    state |= {"ema": {}, "inference_networks": ["net_G"]} | more
    save_checkpoint(folder, "latest", {name: value for name, value in state.items() if value is not None})
    return folder / "latest.pth"


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        assert torch.equal(a[key], b[key])


def test_all_that_testing_needs_comes_back(tmp_path):
    out = tmp_path / "new" / "demo.safetensors"
    written = export_weights(save_run(tmp_path), out)
    held = read_exported(out)
    assert (held["model"], held["options"], held["facts"], held["iteration"]) == ("toy", OPTIONS, FACTS, 7)
    assert held["versions"]["torch"] == torch.__version__
    assert held["networks"].keys() == written.keys() == {"net_G"}
    assert_same_weights(held["networks"]["net_G"], weights(0.5))
    assert held["ema"] == {}
    assert [path.name for path in out.parent.iterdir()] == ["demo.safetensors"]


def test_tensors_are_named_by_network_and_key(tmp_path):
    export_weights(save_run(tmp_path), tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors").keys() == {f"net_G.{key}" for key in weights(0)}


def test_checkpoint_that_does_not_say_which_gives_all_networks(tmp_path):
    export_weights(save_run(tmp_path, inference_networks=None), tmp_path / "a.safetensors")
    assert read_exported(tmp_path / "a.safetensors")["networks"].keys() == {"net_G", "net_D"}


def test_averages_take_the_place_of_the_last_weights(tmp_path):
    run = save_run(tmp_path, ema={"net_G": weights(0.125)})
    export_weights(run, tmp_path / "a.safetensors", ema=True)
    held = read_exported(tmp_path / "a.safetensors")
    assert held["networks"].keys() == held["ema"].keys() == {"net_G"}
    assert_same_weights(held["networks"]["net_G"], weights(0.125))


def test_averages_that_a_run_does_not_have_are_an_error(tmp_path):
    with pytest.raises(UserError, match=r"latest\.pth holds no averaged weights"):
        export_weights(save_run(tmp_path), tmp_path / "a.safetensors", ema=True)
    assert not (tmp_path / "a.safetensors").exists()


def test_tied_strided_and_empty_tensors_can_be_exported(tmp_path):
    shared = torch.arange(24.0).reshape(1, 4, 3, 2)
    held = {"a": shared, "b": shared, "part": shared[:, :2], "nhwc": shared.to(memory_format=torch.channels_last)}
    held["empty"] = torch.zeros(0, 3)
    export_weights(save_run(tmp_path, networks={"net_G": held}), tmp_path / "a.safetensors")
    assert_same_weights(read_exported(tmp_path / "a.safetensors")["networks"]["net_G"], held)


def test_other_users_may_read_it_as_they_may_other_files(tmp_path):
    export_weights(save_run(tmp_path), tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "latest.pth").stat().st_mode


def test_every_kind_of_file_gives_networks_options_and_facts(tmp_path):
    run = save_run(tmp_path)
    export_weights(run, tmp_path / "x_net_y.safetensors")
    for path, networks, options, facts in (
        (run, {"net_G", "net_D"}, OPTIONS, FACTS),
        (tmp_path, {"net_G", "net_D"}, OPTIONS, FACTS),
        (tmp_path / "x_net_y.safetensors", {"net_G"}, OPTIONS, FACTS),
        (tmp_path / "latest_net_G.pth", {"net_G"}, {}, {}),
    ):
        held = read_trained(path)
        assert (held["networks"].keys(), held["options"], held["facts"]) == (networks, options, facts)
        assert_same_weights(held["networks"]["net_G"], weights(0.5))


# What cannot be written or read


def test_another_suffix_is_refused_since_it_could_not_be_read(tmp_path):
    with pytest.raises(UserError, match=r"a\.pth: exported weights are known by their suffix \.safetensors"):
        export_weights(save_run(tmp_path), tmp_path / "a.pth")


def test_full_disk_keeps_what_was_exported_before(tmp_path, monkeypatch):
    run = save_run(tmp_path)
    export_weights(run, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"could not write .*a\.safetensors \(No space left on device\)"):
        export_weights(run, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no exported weights at .*none\.safetensors"):
        read_exported(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        export_weights(tmp_path / "none.pth", tmp_path / "a.safetensors")


def test_changed_byte_anywhere_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    export_weights(save_run(tmp_path), path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 0x10
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.safetensors"):
            read_exported(path)


def test_changed_weight_is_damage(tmp_path):
    path = tmp_path / "a.safetensors"
    export_weights(save_run(tmp_path), path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DamagedFile, match="is damaged: its content is not what was exported"):
        read_exported(path)


@pytest.mark.parametrize("length", [0, 4, 60, -1])
def test_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "a.safetensors"
    export_weights(save_run(tmp_path), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFile, match=r"a\.safetensors is no safetensors file, or is damaged"):
        read_exported(path)


@pytest.mark.parametrize(
    ("metadata", "missing"),
    [(None, "format, model, options"), ({"format": "pt"}, "model, options, facts, versions, iteration, ema, checksum")],
)
def test_file_of_others_is_told_by_what_it_lacks(tmp_path, metadata, missing):
    save_file({"net_G.w": torch.zeros(2)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(UserError, match=rf"not written by scripts/export_weights\.sh: its metadata lack {missing}"):
        read_exported(tmp_path / "a.safetensors")


def test_other_version_is_named(tmp_path):
    export_weights(save_run(tmp_path), tmp_path / "a.safetensors")
    names = ("model", "options", "facts", "versions", "iteration", "ema", "checksum")
    metadata = dict.fromkeys(names, "{}") | {"format": json.dumps("endodepth weights 9")}
    save_file({"net_G.w": torch.zeros(2)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(
        UserError, match="has the format 'endodepth weights 9', this version reads 'endodepth weights 1'"
    ):
        read_exported(tmp_path / "a.safetensors")


def test_pickle_by_this_name_is_refused_and_runs_nothing(tmp_path):
    for legacy in (True, False):
        torch.save(
            {"a": Hostile(f"touch {tmp_path / 'made'}")},
            tmp_path / "a.safetensors",
            _use_new_zipfile_serialization=not legacy,
        )
        with pytest.raises(UserError, match=r"a\.safetensors is no safetensors file"):
            read_trained(tmp_path / "a.safetensors")
    assert not (tmp_path / "made").exists()
