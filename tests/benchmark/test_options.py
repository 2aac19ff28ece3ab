"""Options of the benchmark: lists, defaults and contradictions."""

import pytest
import torch

from benchmark.options import network_flags, parse_options
from options.train_options import TrainOptions

CPU = ["--gpu_ids", "-1"]


def test_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt = parse_options(CPU)
    assert (opt.what, opt.sizes, opt.precisions) == (
        ["train", "video", "video_loss", "inference", "loader", "films"],
        [256, 512],
        ["fp32", "bf16"],
    )
    assert (opt.baseline, opt.extras, opt.infer_batches, opt.memory) == ("published", [], [1], True)
    assert opt.device == torch.device("cpu")


def test_networks_are_those_of_training_with_the_same_flags():
    opt = TrainOptions().parse(list(network_flags(parse_options([*CPU, "--ngf=8", "--n_blocks_global=2"]))))
    assert (opt.ngf, opt.ndf, opt.n_downsample_global, opt.n_blocks_global, opt.gpu_ids) == (8, 64, 4, 2, [])


def test_published_step_is_in_fp32_so_that_comes_first():
    assert parse_options([*CPU, "--precisions", "bf16,fp32"]).precisions == ["fp32", "bf16"]
    assert parse_options([*CPU, "--precisions", "bf16", "--baseline", "none"]).precisions == ["bf16"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--what", "training"], "unknown training; known are: train, video, video_loss, inference, loader, films"),
        (["--what", ""], "nothing is left to measure"),
        (["--sizes", "256,big"], "'256,big' are no numbers with commas"),
        (["--sizes", "0"], "all must be at least 1"),
        (["--sizes", "250"], "must be a multiple of 16, at least 32"),
        (["--sizes", "16"], "must be a multiple of 16, at least 32"),
        (["--precisions", "fp8"], "unknown fp8; known are: fp32, tf32, bf16, fp16"),
        (["--precisions", "fp32,tf32"], "only NVIDIA GPUs have it"),
        (["--precisions", "bf16"], "--baseline published computes in fp32"),
        (["--extras", "magic"], "unknown magic"),
        (["--extras", "accumulate"], "--batch 1 must be a multiple of it"),
        (["--repeats", "0"], "--repeats 0: must be at least 1"),
        (["--warmup", "-1"], "--warmup -1: must not be negative"),
        (["--baseline", "ours"], "invalid choice"),
        (["--out", "nowhere/at/all.json"], "there is no folder nowhere/at"),
        (["--size", "256"], "unrecognized arguments"),
    ],
)
def test_mistake_is_one_line(args, message, error_of):
    assert message in error_of(parse_options, [*CPU, *args])
