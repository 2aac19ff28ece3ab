"""Reading weights: safely, from a file or a download, and with refusals that name the file."""

from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models.optical_flow import Raft_Small_Weights

from util.errors import UserError
from util.weight_files import load_strictly, read_or_download, read_weights, rename_prefixes


def test_saved_state_is_read(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth")["a"].tolist() == [0, 1, 2]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of weights at .*none\.pth"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.parametrize("content", [b"", b"no weights", b"hello", b"PK\x03\x04 broken archive"])
def test_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pth is no PyTorch file of weights, is damaged"):
        read_weights(path)


def test_file_with_code_is_refused_without_advice_to_run_it(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(UserError, match="holds Python objects, which are never loaded") as error:
        read_weights(tmp_path / "module.pth")
    assert "weights_only" not in str(error.value)


def test_file_is_preferred_to_the_download(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    assert read_or_download(tmp_path / "a.pth", Raft_Small_Weights.DEFAULT, "")["a"] == 1


@pytest.mark.parametrize("failure", [URLError("no route"), RuntimeError("invalid hash value")])
def test_failed_download_names_the_address_the_reason_and_the_advice(monkeypatch, failure):
    def fail(self, **options):
        assert options["weights_only"]
        assert options["check_hash"]
        raise failure

    monkeypatch.setattr(Raft_Small_Weights, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"https://.*raft_small.* failed \(.*(no route|invalid hash).*\); do this"):
        read_or_download(None, Raft_Small_Weights.DEFAULT, "do this")


def test_at_most_three_keys_of_a_kind_are_named():
    state = {f"key{i}": torch.zeros(1) for i in range(5)} | nn.Linear(2, 3).state_dict()
    with pytest.raises(UserError, match=r"^here: do not fit Linear: 5 unknown here: key0, key1, key2$"):
        load_strictly(nn.Linear(2, 3), state, source="here")


@pytest.mark.parametrize("state", [[torch.zeros(1)], torch.zeros(1)])
def test_what_is_no_dictionary_is_refused(state):
    with pytest.raises(UserError, match="expected tensors by name, got"):
        load_strictly(nn.Linear(2, 3), state)


def test_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "a.pth").write_bytes(b"")

    def forbidden(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(torch, "load", forbidden)
    with pytest.raises(PermissionError):
        read_weights(tmp_path / "a.pth")


def test_keys_are_renamed_by_what_they_begin_with_and_none_hides_another():
    state = {"old.a": 1, "other": 2, "old.b": 3, "new.b": 4}
    assert rename_prefixes(state, {"old.": "new."}) == {"new.a": 1, "other": 2, "old.b": 3, "new.b": 4}
