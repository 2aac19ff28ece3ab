"""Flow is computed once, for the right pairs in the right direction, and half a cache is never believed."""

import weakref

import cv2
import numpy as np
import pytest
import torch

from data.clips import VIEW_FILE, find_clips, write_clip_view
from data.flow_cache import FlowCache, pair_masks, pairs_of
from data.transforms import Preprocessing
from models.geometry.flow import create_flow_estimator
from util.errors import UserError

CPU = torch.device("cpu")
AS_IT_IS = Preprocessing("none")


class CodeEstimator:
    """Frame i is grey of level 50 + i; the "flow" from frame i to frame j is (j - i, i) everywhere."""

    name = "code"

    def __init__(self, fingerprint="1", fail_after=None):
        self.fingerprint, self.fail_after = fingerprint, fail_after
        self.calls = 0

    def __call__(self, src, tgt):
        self.calls += 1
        if self.calls == self.fail_after:
            raise KeyboardInterrupt
        i, j = (frames.mean() * 255 - 50 for frames in (src, tgt))
        return torch.stack([(j - i).round(), i.round()]).view(1, 2, 1, 1).expand(1, 2, *src.shape[-2:])


@pytest.fixture
def coded_clips(tmp_path, save):
    for name, count in (("a", 6), ("b", 3)):
        for number in range(count):
            save(tmp_path / "video" / name / f"{number}.png", np.full((9, 14, 3), 50 + number))
    return find_clips(tmp_path / "video")


@pytest.fixture
def cache(tmp_path):
    return FlowCache(tmp_path / "cache", AS_IT_IS)


def codes(flow):
    """(j - i, i) of each pair of a flow (N, 2, H, W)."""
    return [tuple(pair[:, 0, 0].int().tolist()) for pair in flow]


def test_pairs_of_a_window_are_the_right_ones_in_the_right_direction(cache, coded_clips):
    cache.fill(coded_clips, CodeEstimator(), CPU)
    read = cache.read(coded_clips[0], first=2, count=2)
    assert codes(read["flow_fwd"]) == [(1, 2), (1, 3)]  # 2 to 3, 3 to 4
    assert codes(read["flow_bwd"]) == [(-1, 3), (-1, 4)]  # 3 to 2, 4 to 3
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in read.items()} == {
        "flow_fwd": (torch.float32, (2, 2, 9, 14)),
        "flow_bwd": (torch.float32, (2, 2, 9, 14)),
        "mask_fwd": (torch.bool, (2, 1, 9, 14)),
        "mask_bwd": (torch.bool, (2, 1, 9, 14)),
    }


def test_pairs_of_a_window_with_step_2(tmp_path, coded_clips):
    cache = FlowCache(tmp_path / "cache", AS_IT_IS, step=2)
    cache.fill(coded_clips, CodeEstimator(), CPU)
    assert [cache.num_pairs(clip) for clip in coded_clips] == [4, 1]
    read = cache.read(coded_clips[0], first=1, count=2)
    assert codes(read["flow_fwd"]) == [(2, 1), (2, 3)]  # 1 to 3, 3 to 5
    assert codes(read["flow_bwd"]) == [(-2, 3), (-2, 5)]


def test_what_is_current_is_not_computed_again(cache, coded_clips):
    first, again = CodeEstimator(), CodeEstimator()
    cache.fill(coded_clips, first, CPU)
    assert first.calls == 2 * (5 + 2)
    cache.fill(coded_clips, again, CPU)
    assert again.calls == 0


def test_only_the_clip_whose_frame_changed_is_computed_again(cache, coded_clips, save):
    cache.fill(coded_clips, CodeEstimator(), CPU)
    save(coded_clips[1].files[1], np.full((9, 14, 3), 58))
    again = CodeEstimator()
    cache.fill(coded_clips, again, CPU)
    assert again.calls == 2 * 2
    assert codes(cache.read(coded_clips[1], 0, 2)["flow_fwd"]) == [(8, 0), (-6, 8)]


@pytest.mark.parametrize("change", ["frame", "estimator", "size", "flow"])
def test_whatever_the_flow_was_made_from_makes_it_new_when_it_changes(tmp_path, cache, coded_clips, save, change):
    cache.fill(coded_clips, CodeEstimator(), CPU)
    estimator = CodeEstimator("2" if change == "estimator" else "1")
    if change == "frame":
        save(tmp_path / "video" / "a" / "6.png", np.full((9, 14, 3), 56))
    elif change == "size":
        cache = FlowCache(tmp_path / "cache", Preprocessing("resize", load_size=16))
    elif change == "flow":
        (tmp_path / "cache" / "a" / "flow.npy").unlink()
    cache.fill(find_clips(tmp_path / "video"), estimator, CPU)
    assert estimator.calls == {"frame": 12, "estimator": 14, "size": 14, "flow": 10}[change]


@pytest.mark.parametrize("fail_after", [1, 7, 10, 11, 14])
def test_an_interrupted_computation_is_done_again_and_leaves_no_rubbish(tmp_path, cache, coded_clips, fail_after):
    with pytest.raises(KeyboardInterrupt):
        cache.fill(coded_clips, CodeEstimator(fail_after=fail_after), CPU)
    whole = ["a"] if fail_after > 10 else []
    files = sorted(str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*.*"))
    assert files == [f"{name}/{file}" for name in whole for file in ("flow.npy", "mask.npy", "source.json")]
    again = CodeEstimator()
    cache.fill(coded_clips, again, CPU)
    assert again.calls == (4 if whole else 14)
    assert codes(cache.read(coded_clips[0], 0, 5)["flow_fwd"]) == [(1, i) for i in range(5)]


def test_an_interrupted_renewal_does_not_leave_the_old_flow_as_current(cache, coded_clips, save):
    cache.fill(coded_clips, CodeEstimator(), CPU)
    save(coded_clips[0].files[0], np.full((9, 14, 3), 40))
    with pytest.raises(KeyboardInterrupt):
        cache.fill(coded_clips, CodeEstimator(fail_after=3), CPU)
    again = CodeEstimator()
    cache.fill(coded_clips, again, CPU)
    assert again.calls == 10


def test_flow_of_another_estimator_is_not_believed_when_the_run_ended_before_it_said_so(
    cache, coded_clips, monkeypatch
):
    def power_cut(path, text):
        raise KeyboardInterrupt

    cache.fill(coded_clips, CodeEstimator("old"), CPU)
    with monkeypatch.context() as patched:
        patched.setattr("data.flow_cache.write_text", power_cut)
        with pytest.raises(KeyboardInterrupt):
            cache.fill(coded_clips, CodeEstimator("new"), CPU)
    again = CodeEstimator("old")
    cache.fill(coded_clips, again, CPU)
    assert again.calls == 10


def test_clips_that_are_too_short_for_a_pair_are_left_out(tmp_path, save, cache):
    save(tmp_path / "video" / "one" / "0.png", np.full((9, 14, 3), 50))
    for number in range(2):
        save(tmp_path / "video" / "two" / f"{number}.png", np.full((9, 14, 3), 50 + number))
    estimator = CodeEstimator()
    cache.fill(find_clips(tmp_path / "video"), estimator, CPU)
    assert estimator.calls == 2


@pytest.mark.parametrize("mode", ["none", "resize"])
def test_a_clip_whose_frames_differ_in_size_is_an_error(tmp_path, coded_clips, save, mode):
    save(coded_clips[0].files[3], np.full((9, 15, 3), 53))
    with pytest.raises(UserError, match=r"clip .*/a differ in size: the first is 9x14 pixels, 3.png 9x15"):
        FlowCache(tmp_path / "cache", Preprocessing(mode, load_size=16)).fill(coded_clips, CodeEstimator(), CPU)


def test_a_long_clip_does_not_wait_in_memory():
    drawn, alive = [], []

    def frames():
        for number in range(50):
            frame = torch.full((1,), number)
            drawn.append(number)
            alive.append(weakref.ref(frame))
            yield frame

    for index, (src, tgt) in enumerate(pairs_of(frames(), step=2)):
        assert (src.item(), tgt.item(), drawn[-1]) == (index, index + 2, index + 2)
        assert sum(frame() is not None for frame in alive) <= 4
    assert index == 47


def moving_texture(save, folder, count=4, size=(64, 90), motion=(4, -2), border=12):
    """Frames of one texture that moves by ``motion`` (x, y) from frame to frame, inside a black border."""
    rng = np.random.default_rng(0)
    height, width = size
    texture = cv2.GaussianBlur(rng.uniform(0, 1, (height + 60, width + 60)), (0, 0), 2.0)
    texture = 60 + 180 * (texture - texture.min()) / np.ptp(texture)
    for t in range(count):
        top, left = 30 - motion[1] * t, 30 - motion[0] * t
        frame = texture[top : top + height, left : left + width].copy()
        frame[:border] = frame[-border:] = frame[:, :border] = frame[:, -border:] = 3
        save(folder / f"{t}.png", np.repeat(frame[..., None], 3, axis=2))


@pytest.mark.parametrize("step", [1, 2])
def test_flow_of_a_real_estimator_leads_where_the_texture_went(tmp_path, save, step):
    moving_texture(save, tmp_path / "video" / "clip")
    (clip,) = find_clips(tmp_path / "video")
    cache = FlowCache(tmp_path / "cache", AS_IT_IS, step)
    cache.fill([clip], create_flow_estimator("dis"), CPU)
    read = cache.read(clip, 0, 1)
    for way, sign in (("fwd", 1), ("bwd", -1)):
        flow, mask = read[f"flow_{way}"][0], read[f"mask_{way}"][0, 0]
        expected = torch.tensor([4.0, -2.0]) * sign * step
        assert mask.float().mean() > 0.1
        torch.testing.assert_close(flow[:, mask].median(dim=1).values, expected, rtol=0, atol=0.3)


def test_masks_exclude_the_black_border_at_both_ends(tmp_path, save):
    moving_texture(save, tmp_path / "video" / "clip")
    (clip,) = find_clips(tmp_path / "video")
    cache = FlowCache(tmp_path / "cache", AS_IT_IS)
    cache.fill([clip], create_flow_estimator("dis"), CPU)
    masks = torch.cat([cache.read(clip, 0, 3)[f"mask_{way}"] for way in ("fwd", "bwd")])
    border = torch.ones(64, 90, dtype=torch.bool)
    border[12:-12, 12:-12] = False
    assert not masks[..., border].any()
    assert masks[..., ~border].float().mean() > 0.5


def test_a_pixel_that_moves_into_the_border_is_masked():
    view = torch.zeros(8, 12, dtype=torch.bool)
    view[2:6, 3:9] = True
    flow = torch.tensor([2.0, 1.0]).view(2, 1, 1).expand(2, 8, 12)
    forward, backward = pair_masks(torch.stack([flow, -flow]), view)[:, 0]
    expected = torch.zeros(2, 8, 12, dtype=torch.bool)
    expected[0, 2:5, 3:7] = True  # of the view's rows and columns, those whose target is in it too
    expected[1, 3:6, 5:9] = True
    torch.testing.assert_close(torch.stack([forward, backward]), expected)


def test_masks_exclude_what_a_file_beside_the_frames_says_and_follow_it(tmp_path, save, cache):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(60, 250, (32, 48, 3)), (0, 0), 2)
    for number in range(3):
        save(tmp_path / "video" / "clip" / f"{number}.png", texture[:, number : number + 40])
    estimator = create_flow_estimator("dis")

    def masks():
        (clip,) = find_clips(tmp_path / "video")
        cache.fill([clip], estimator, CPU)
        return cache.read(clip, 0, 2)["mask_fwd"][:, 0]

    before, view = masks(), np.ones((32, 40), bool)
    view[8:16, 10:20] = False
    write_clip_view(tmp_path / "video" / "clip" / VIEW_FILE, view)
    after = masks()
    assert before[:, 8:16, 10:20].any()
    assert not after[:, 8:16, 10:20].any()
    assert after.sum() > 0.7 * before.sum()
