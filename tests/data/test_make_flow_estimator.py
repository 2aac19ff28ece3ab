"""Which optical flow a run gets."""

from argparse import Namespace

import pytest

from data import flow_cache
from data.flow_cache import make_flow_estimator
from util.errors import UserError


def options(**changes):
    return Namespace(**{"flow": "auto", "flow_weights": None, "gpu_ids": [], **changes})


@pytest.fixture
def offline(monkeypatch):
    """RAFT's weights cannot be had."""
    build = flow_cache.create_flow_estimator

    def fail_for_raft(name, weights=None):
        if name.startswith("raft"):
            raise UserError("download failed")
        return build(name, weights)

    monkeypatch.setattr(flow_cache, "create_flow_estimator", fail_for_raft)


def test_auto_is_dis_without_gpu_and_weights(offline):
    assert make_flow_estimator(options()).name == "dis"


def test_auto_on_a_gpu_falls_back_to_dis_and_says_so(offline, capsys):
    assert make_flow_estimator(options(gpu_ids=[0])).name == "dis"
    assert "download failed; going on with --flow dis" in capsys.readouterr().err


def test_weights_that_were_given_are_not_passed_over(offline, tmp_path):
    with pytest.raises(UserError, match="download failed"):
        make_flow_estimator(options(flow_weights=tmp_path / "raft.pth"))


def test_an_estimator_that_was_asked_for_is_not_replaced(offline):
    with pytest.raises(UserError, match="download failed"):
        make_flow_estimator(options(flow="raft_large", gpu_ids=[0]))
