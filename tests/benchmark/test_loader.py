"""The loader's data sets and its times."""

import pytest
import torch

import benchmark.loader
from benchmark.loader import data_sets, loader_turns, measure_loader, turn_units, worker_counts


def test_data_sets_are_of_the_size_and_hold_whole_batches():
    with data_sets(48, 18) as sets:
        assert (len(sets["pairs"]), len(sets["clips"])) == (18, 18)
        pair, packed, clip = sets["pairs"][17, 0], sets["packed pairs"][17, 0], sets["clips"][17, 0]
    assert pair["image"].shape == (3, 48, 48)
    assert pair["valid"].all()
    torch.testing.assert_close(packed, pair, atol=0.01, rtol=0)
    assert 20 <= pair["depth_mm"].min() < 60 < pair["depth_mm"].max() <= 120
    assert (clip["frames"].shape, clip["flow_fwd"].shape) == ((3, 3, 48, 48), (2, 2, 48, 48))
    assert clip["mask_fwd"].float().mean() > 0.5
    # What is seen moves by (-2, -1) px from frame to frame; the sample may be flipped.
    torch.testing.assert_close(clip["flow_fwd"].abs().mean(dim=(0, 2, 3)), torch.tensor([2.0, 1.0]), atol=0.3, rtol=0)


def test_more_processes_than_cores_and_one_are_not_tried(monkeypatch):
    counts = {}
    for cores in (1, 2, 3, 16):
        monkeypatch.setattr(benchmark.loader, "count_cores", lambda cores=cores: cores)
        counts[cores] = worker_counts()
    assert counts == {1: [0, 1, 2], 2: [0, 1, 2], 3: [0, 1, 2, 4], 16: [0, 1, 2, 4, 8, 16]}


def test_each_number_of_processes_has_its_turns(monkeypatch):
    monkeypatch.setattr(benchmark.loader, "WORKERS", (0, 1))
    told = []
    rows = measure_loader(32, 2, 2, told.append)
    assert [(row.stream, row.workers, len(row.seconds)) for row in rows] == [
        ("pairs", 0, 2),
        ("pairs", 1, 2),
        ("packed pairs", 0, 2),
        ("packed pairs", 1, 2),
        ("clips", 0, 2),
        ("clips", 1, 2),
    ]
    assert all(seconds > 0 for row in rows for seconds in row.seconds)
    assert rows[0].samples_per_s == pytest.approx(2 / (sum(rows[0].seconds) / 2))
    assert told == [turn_units(32, 2)] * loader_turns(2)
