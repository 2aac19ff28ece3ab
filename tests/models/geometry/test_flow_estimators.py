"""Flow estimators: right direction and unit, any size, weights from a file, clear refusals."""

from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights, raft_small

from models.geometry.flow import create_flow_estimator, warp
from util.errors import UserError


def texture(height, width, seed=0):
    """A smooth random colour texture (3, H, W) in [0, 1]."""
    noise = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return torch.from_numpy((smooth - smooth.min()) / (smooth.max() - smooth.min())).permute(2, 0, 1)


def moved_pair(u, v, height=96, width=128, margin=16):
    """Two frames of a texture that moves by whole pixels (u, v), and the flow between them."""
    scene = texture(height + 2 * margin, width + 2 * margin)
    src = scene[:, margin : margin + height, margin : margin + width]
    tgt = scene[:, margin - v : margin - v + height, margin - u : margin - u + width]
    return src[None], tgt[None]


@pytest.fixture(scope="module")
def raft_weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "raft_small.pth"
    torch.save(raft_small(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize(("u", "v"), [(3, 0), (0, -2), (-4, 3)])
def test_dis_recovers_a_translation_in_pixels_and_in_the_right_direction(u, v):
    src, tgt = moved_pair(u, v)
    flow = create_flow_estimator("dis")(src, tgt)
    assert flow.shape == (1, 2, 96, 128)
    assert flow.dtype == torch.float32
    error = (flow - torch.tensor([float(u), float(v)]).view(1, 2, 1, 1)).norm(dim=1)
    assert error.median() < 0.2


def test_target_warped_by_the_estimated_flow_is_the_source():
    src, tgt = moved_pair(3, 2)
    flow = create_flow_estimator("dis")(src, tgt)
    before, after = (tgt - src).abs().median(), (warp(tgt, flow) - src).abs().median()
    assert after < 0.1 * before


def test_dis_takes_each_pair_of_a_batch_by_itself():
    pairs = [moved_pair(3, 0), moved_pair(-2, 1)]
    src, tgt = (torch.cat(frames) for frames in zip(*pairs, strict=True))
    estimator = create_flow_estimator("dis")
    assert torch.equal(estimator(src, tgt), torch.cat([estimator(*pair) for pair in pairs]))


@pytest.mark.parametrize("size", [(3, 5), (17, 33), (41, 30)])
def test_dis_runs_on_small_and_odd_sizes(size):
    frames = texture(*size)[None].expand(2, -1, -1, -1)
    flow = create_flow_estimator("dis")(frames, frames)
    assert flow.shape == (2, 2, *size)
    assert flow.abs().max() < 0.1


def test_raft_runs_on_odd_sizes_without_gradient(raft_weights):
    torch.manual_seed(0)
    src, tgt = (torch.rand(2, 3, 37, 141, requires_grad=True) for _ in range(2))
    flow = create_flow_estimator("raft_small", raft_weights)(src, tgt)
    assert flow.shape == (2, 2, 37, 141)
    assert flow.dtype == torch.float32
    assert not flow.requires_grad
    assert torch.isfinite(flow).all()


def test_raft_sees_what_torchvisions_own_transform_makes(raft_weights):
    src, tgt = (texture(128, 136, seed)[None] for seed in (1, 2))
    network = raft_small(weights=None).eval()
    network.load_state_dict(torch.load(raft_weights, weights_only=True))
    with torch.no_grad():
        expected = network(*Raft_Small_Weights.DEFAULT.transforms()(src, tgt))[-1]
    flow = create_flow_estimator("raft_small", raft_weights)(src, tgt)
    assert torch.allclose(flow, expected, atol=1e-4)  # px, float32 through 12 recurrent updates


def test_raft_is_not_touched_by_autocast(raft_weights):
    src, tgt = (texture(128, 128, seed)[None] for seed in (1, 2))
    estimator = create_flow_estimator("raft_small", raft_weights)
    expected = estimator(src, tgt)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(estimator(src.half().float(), tgt.half().float()), estimator(src.half(), tgt.half()))
        assert torch.equal(estimator(src, tgt), expected)


def test_fingerprint_tells_weights_and_kinds_apart(raft_weights, tmp_path):
    first = create_flow_estimator("raft_small", raft_weights)
    assert first.name == "raft_small"
    copy = tmp_path / "copy.pth"
    copy.write_bytes(raft_weights.read_bytes())
    assert create_flow_estimator("raft_small", copy).fingerprint == first.fingerprint
    torch.manual_seed(1)
    torch.save(raft_small(weights=None).state_dict(), copy)
    assert create_flow_estimator("raft_small", copy).fingerprint != first.fingerprint
    dis = create_flow_estimator("dis")
    assert dis.name == "dis"
    assert dis.fingerprint == create_flow_estimator("dis").fingerprint != first.fingerprint


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="'pwc', known are: raft_large, raft_small, dis"):
        create_flow_estimator("pwc")


@pytest.mark.parametrize(
    ("name", "published"), [("raft_large", Raft_Large_Weights), ("raft_small", Raft_Small_Weights)]
)
def test_failed_download_says_what_to_do(name, published, monkeypatch):
    def fail(self, **options):
        raise URLError("no route")

    monkeypatch.setattr(published, "get_state_dict", fail)
    with pytest.raises(UserError, match=rf"{name}.* failed .*--flow_weights FILE .*--flow dis"):
        create_flow_estimator(name)


def test_weights_of_the_other_raft_are_refused(raft_weights):
    with pytest.raises(UserError, match=r"raft_small.pth: do not fit RAFT: \d+ missing from the file"):
        create_flow_estimator("raft_large", raft_weights)


def test_weights_for_an_estimator_without_any_are_refused(raft_weights):
    with pytest.raises(UserError, match="dis has no weights"):
        create_flow_estimator("dis", raft_weights)


@pytest.mark.parametrize("size", [(3, 8, 8), (2, 1, 8, 8)])
def test_wrong_shapes_are_refused(size):
    with pytest.raises(ValueError, match=r"must both be \(B, 3, H, W\)"):
        create_flow_estimator("dis")(torch.rand(size), torch.rand(size))
