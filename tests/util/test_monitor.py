"""What a training shows: losses, pictures and a page that a resumed run continues."""

import re

import numpy as np
import pytest
import torch

from util.engine import TrainingDiverged
from util.monitor import TrainingMonitor
from util.updates import Progress


class FakeEngine:
    """Losses count up; pictures are one tensor and one array."""

    def __init__(self):
        self.read = 0

    def losses(self):
        self.read += 1
        return {"G_GAN": self.read / 10, "D_fake": 0.5}

    def rates(self):
        return {"lr_G": 1e-3}

    def visuals(self, batch):
        return {"frame": torch.full((3, 6, 8), 0.5), "video source": np.full((6, 8, 3), 200, np.uint8)}


def run(folder, iterations, total=8, done=0, print_freq=2, display_freq=4, html=True, engine=None):
    engine = engine or FakeEngine()
    monitor = TrainingMonitor(
        folder,
        name="demo",
        options_text="",
        total=total,
        done=done,
        batch_size=2,
        print_freq=print_freq,
        display_freq=display_freq,
        html=html,
    )
    with monitor:
        for iteration in iterations:
            with monitor.loading():
                pass
            monitor.after_step(Progress(1 + iteration // 4, iteration), engine, {})
        monitor.scores("eval", {"abs_rel": 0.123456, "rmse": 9.87654}, iterations[-1])
    return monitor


def log_lines(folder):
    return [line for line in (folder / "loss_log.txt").read_text().splitlines() if not line.startswith("=")]


def test_losses_are_logged_when_due_and_at_the_end(tmp_path):
    run(tmp_path, range(1, 6), total=5)
    lines = log_lines(tmp_path)
    assert [
        re.match(r"\(epoch: (\d+), iters: (\d+), time: [\d.]+, data: [\d.]+\)", line).groups() for line in lines[:3]
    ]
    assert [re.search(r"iters: (\d+)", line)[1] for line in lines[:3]] == ["2", "4", "5"]
    assert lines[0].endswith("G_GAN: 0.1 D_fake: 0.5")


def test_scores_stand_in_the_log_and_on_the_terminal(tmp_path, capsys):
    run(tmp_path, range(1, 3))
    expected = "eval at iteration 2: abs_rel 0.1235, rmse 9.877"
    assert log_lines(tmp_path)[-1] == expected
    assert expected in capsys.readouterr().err


def test_page_shows_pictures_newest_first_with_the_losses_then(tmp_path):
    run(tmp_path, range(1, 9))
    page = (tmp_path / "web" / "index.html").read_text()
    assert page.index("iteration 8") < page.index("iteration 4")
    assert "G_GAN 0.200" in page
    assert sorted(path.name for path in (tmp_path / "web" / "images").iterdir()) == [
        "00000004_frame.png",
        "00000004_video_source.png",
        "00000008_frame.png",
        "00000008_video_source.png",
    ]


def test_page_of_a_resumed_run_keeps_the_pictures_of_before(tmp_path):
    run(tmp_path, range(1, 9), total=8)
    resumed = run(tmp_path, range(7, 13), total=12, done=6)  # it stopped after 8, its last checkpoint was at 6
    assert [entry.iteration for entry in resumed.entries] == [12, 8, 4]
    page = (tmp_path / "web" / "index.html").read_text()
    assert [page.count(f"epoch-{1 + i // 4}-{i}") > 0 for i in (4, 8, 12)] == [True] * 3


def test_new_run_in_the_same_folder_begins_an_empty_page(tmp_path):
    run(tmp_path, range(1, 9))
    assert [entry.iteration for entry in run(tmp_path, range(1, 5)).entries] == [4]


def test_page_can_be_left_out(tmp_path):
    run(tmp_path, range(1, 9), html=False)
    assert not (tmp_path / "web").exists()


def test_divergence_ends_the_run_and_closes_the_log(tmp_path):
    class Diverged(FakeEngine):
        def losses(self):
            raise TrainingDiverged("a loss is not finite any more")

    with pytest.raises(TrainingDiverged):
        run(tmp_path, range(1, 5), engine=Diverged())
    assert log_lines(tmp_path) == []
