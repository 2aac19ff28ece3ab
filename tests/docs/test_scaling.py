"""The figures of docs/scaling.md follow from the networks and options, and the files that it names are there."""

import re
from pathlib import Path

import pytest
import torch

from models.networks.pix2pixhd import GlobalGenerator, MultiscaleDiscriminator
from options.train_options import TrainOptions
from util.distributed import MEETING_TIMEOUT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())  # whatever the length of its lines
ROW = re.compile(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def exchanged():
    """Bytes of an iteration on pairs and of one with video, on average."""
    with torch.device("meta"):
        networks = GlobalGenerator(), MultiscaleDiscriminator()
    generator, discriminator = (4 * sum(w.numel() for w in network.parameters()) for network in networks)
    assert f"{generator:,} bytes for the generator's {generator // 4:,} weights, {discriminator:,} for" in TEXT
    every = TrainOptions().parse(["--gpu_ids=-1"]).d_every
    assert f"{generator:,} + {discriminator:,} / {every}" in TEXT
    return generator + discriminator / every, 2 * generator + discriminator / every


def test_bytes_a_process_sends_are_those_of_a_ring(exchanged):
    rows = [[float(cell) for cell in row] for row in ROW.findall(PAGE)]
    assert [row[0] for row in rows] == [2, 4, 8, 16]
    for number, factor, *megabytes in rows:
        assert factor == 2 * (number - 1) / number
        assert megabytes == [round(factor * size / 1e6, 1) for size in exchanged]


def test_seconds_are_bytes_by_bandwidth(exchanged):
    pairs, _ = exchanged
    fast, slow = (pairs / rate for rate in (12.5e9, 1.25e9))
    assert f"{pairs / 1e6:.1f} MB / 12.5 GB/s = {1000 * fast:.0f} ms an iteration, at 1.25 GB/s" in TEXT
    assert f"(10 Gbit/s) {1000 * slow:.0f} ms" in TEXT
    assert f"that is {2000 * fast:.0f} ms at 12.5 GB/s and {2 * slow:.2f} s at 1.25 GB/s" in TEXT


def test_numbers_of_processes_are_those_that_divide_both_batches():
    opt = TrainOptions().parse(["--gpu_ids=-1"])
    assert f"the published {opt.batch_size} pairs and {opt.video_batch_size} clips that is 1, 2 or 4" in TEXT
    assert [n for n in range(1, 9) if opt.batch_size % n == opt.video_batch_size % n == 0] == [1, 2, 4]
    script = (ROOT / "scripts" / "train_multinode.sh").read_text(encoding="utf-8")
    asked = dict(re.findall(r"^#SBATCH --(\S+)=(\S+)$", script, re.MULTILINE))
    assert int(asked["nodes"]) * int(asked["ntasks-per-node"]) == 4


def test_what_the_page_names_is_there():
    assert f"after {MEETING_TIMEOUT.seconds // 60} minutes" in TEXT
    for path in re.findall(r"(?:tests|scripts)/[\w/]+\.\w+", PAGE):
        assert (ROOT / path).is_file(), path
