"""The streams that options ask for, and the shares of several processes."""

import pytest
import torch

from data import create_streams
from tests.tiny_run import tiny_options, write_data_set
from util.errors import UserError


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("set") / "data")


def options(dataroot, *more, accumulate=1):
    opt = tiny_options("--batch_size=4", "--video_batch_size=2", *more, dataroot=dataroot)
    opt.accumulate = accumulate
    return opt


def test_two_processes_share_the_batches_of_both_streams(dataroot):
    active = ("synthetic", "video")
    single = create_streams(options(dataroot))
    ranks = [create_streams(options(dataroot), rank, 2) for rank in range(2)]
    for _ in range(2):
        whole, shares = single.next(active), [streams.next(active) for streams in ranks]
        for name in active:
            together = {key: torch.cat([share[name][key] for share in shares]) for key in whole[name]}
            torch.testing.assert_close(together, whole[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("more", "world", "accumulate", "words"),
    [
        ([], 4, 1, r"--video_batch_size 2 cannot be shared equally \(4 processes\); take a multiple of 4"),
        ([], 1, 4, r"--video_batch_size 2 .* \(--accumulate 4\); take a multiple of 4"),
        ([], 2, 2, r"--video_batch_size 2 .* \(2 processes with --accumulate 2\); take a multiple of 4"),
        (["--batch_size=3"], 2, 1, "--batch_size 3 .*multiple of 2"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_an_error_before_data_is_touched(dataroot, more, world, accumulate, words):
    with pytest.raises(UserError, match=words):
        create_streams(options(dataroot / "missing", *more, accumulate=accumulate), world=world)


def test_the_batch_of_a_stream_that_is_not_learned_from_may_be_any(dataroot):
    opt = options(dataroot, "--lambda_video=0", "--lambda_video_step=0")
    assert list(create_streams(opt, world=4).next(())) == ["synthetic"]


def test_options_say_whether_bad_samples_are_skipped_and_whether_memory_is_pinned(dataroot):
    opt = options(dataroot)
    opt.streams = ["synthetic"]  # the flow of clips would be computed on the GPU
    first = create_streams(opt).first
    assert (first.skip_bad, first.pin_memory) == (False, False)
    opt.on_bad_sample, opt.gpu_ids = "skip", [0]
    first = create_streams(opt).first
    assert (first.skip_bad, first.pin_memory) == (True, True)


def test_a_broken_frame_is_skipped_in_training(tmp_path):
    root = write_data_set(tmp_path / "data")
    broken = root / "train_A" / "003.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    streams = create_streams(options(root, "--on_bad_sample=skip", "--batch_size=6", "--serial_batches", "--no_flip"))
    batch = streams.next(())["synthetic"]
    torch.testing.assert_close(batch["image"][3], batch["image"][4], rtol=0, atol=0)
    (line,) = streams.take_skipped()
    assert line.startswith(f"{broken}: is truncated")
    with pytest.raises(UserError, match=r"train_A/003\.png is truncated"):
        create_streams(options(root, "--batch_size=6")).next(())
