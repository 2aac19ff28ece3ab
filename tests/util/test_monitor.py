"""What a training shows: losses, pictures and a page that a resumed run continues."""

import re
import time

import numpy as np
import pytest
import torch
from torch import nn

from util.engine import TrainingDiverged
from util.monitor import TrainingMonitor, first_iteration_line, slow_data_hint
from util.updates import Progress
from util.watchdog import Symptom, Watchdog


class FakeMethod:
    def networks(self):
        return {"net_G": nn.Linear(60, 20), "net_D": nn.Linear(9, 1)}  # 1220 and 10 parameters


class FakeEngine:
    """Losses count up; pictures are one tensor and one array."""

    device = torch.device("cpu")
    method = FakeMethod()

    def __init__(self):
        self.read = 0
        self.read_at = []
        self.iteration = 0

    def losses(self):
        self.read += 1
        self.read_at.append(self.iteration)
        return {"G_GAN": self.read / 10, "D_fake": 0.5}

    def rates(self):
        return {"lr_G": 1e-3}

    def visuals(self, batch):
        return {"frame": torch.full((3, 6, 8), 0.5), "video source": np.full((6, 8, 3), 200, np.uint8)}


def run(
    folder, iterations, total=8, done=0, print_freq=2, display_freq=4, html=True, engine=None, wait_s=0.0, **settings
):
    """``wait_s``: how long the next batch is waited for, or each of them."""
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
        **settings,
    )
    with monitor:
        for number, iteration in enumerate(iterations):
            engine.iteration = iteration
            with monitor.loading():
                time.sleep(wait_s[number] if isinstance(wait_s, list) else wait_s)
            monitor.after_step(Progress(1 + iteration // 4, iteration), engine, {})
        monitor.scores("eval", {"abs_rel": 0.123456, "rmse": 9.87654}, iterations[-1])
    return monitor


def log_lines(folder, *others):
    """Lines of the log without headers and those that begin with one of ``others``."""
    lines = (folder / "loss_log.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith(("=", "first iteration", *others))]


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


def test_page_that_cannot_be_written_is_told_of_once_and_ends_nothing(tmp_path, capsys):
    (tmp_path / "web").touch()
    monitor = run(tmp_path, range(1, 9))
    assert monitor.entries == []
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warning.startswith(f"warning: {tmp_path}/web/ cannot be written (")
    assert warning in log_lines(tmp_path)


@pytest.mark.parametrize("damaged", ["[{", '{"a": 1}', '[{"iteration": 1}]', '[{"iteration": 1, "x": 2}]'])
def test_damaged_list_of_pictures_begins_a_new_page(tmp_path, capsys, damaged):
    run(tmp_path, range(1, 5))
    (tmp_path / "web" / "entries.json").write_text(damaged)
    assert [entry.iteration for entry in run(tmp_path, range(5, 9), done=4).entries] == [8]
    assert "entries.json cannot be read" in capsys.readouterr().err


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


def test_first_iteration_tells_sizes_memory_and_time_once_a_session(tmp_path, capsys):
    run(tmp_path, range(5, 9), total=8, done=4)
    (line,) = [line for line in (tmp_path / "loss_log.txt").read_text().splitlines() if line.startswith("first")]
    assert line in capsys.readouterr().err.splitlines()
    pattern = (
        r"first iteration, with start-up: net_G 1\.2 k and net_D 10 parameters, peak memory [\d.]+ [MG]iB \(CPU\), "
        r"[\d.]+ images/s, about \d+ s for 4 iterations"
    )
    assert re.fullmatch(pattern, line)


def test_time_expected_is_that_of_the_first_iteration_times_their_number():
    line = first_iteration_line(FakeEngine(), seconds=1.6, batch_size=4, iterations=12000)
    assert line.endswith("2.5 images/s, about 5 h 20 min for 12000 iterations")


def test_start_up_is_left_out_of_the_speed_after_it(tmp_path):
    run(tmp_path, range(1, 4), total=3, print_freq=3, display_freq=9, html=False, wait_s=[0.6, 0.0, 0.0])
    times = re.search(r"time: ([\d.]+), data: ([\d.]+)", log_lines(tmp_path, "eval")[0])
    assert float(times[1]) < 0.1
    assert float(times[2]) < 0.1


def test_slow_data_give_one_hint_a_session(tmp_path, capsys):
    run(tmp_path, range(1, 46), total=45, print_freq=15, html=False, wait_s=0.001, num_workers=0)
    (hint,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hint")]
    assert re.fullmatch(r"hint: \d\d % of the time is waiting for data; raise --num_workers \(now 0\)", hint)
    assert log_lines(tmp_path).count(hint) == 1


def test_fast_data_and_short_intervals_give_no_hint(tmp_path, capsys):
    class Busy(FakeEngine):
        def losses(self):
            time.sleep(0.1)
            return super().losses()

    run(tmp_path / "short", range(1, 19), total=18, print_freq=9, html=False, wait_s=0.001)
    run(tmp_path / "fast", range(1, 25), total=24, print_freq=12, html=False, engine=Busy())
    assert "hint" not in capsys.readouterr().err


def test_more_loaders_than_processors_are_not_advised(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert slow_data_hint(0.347, 3) == "hint: 35 % of the time is waiting for data; raise --num_workers (now 3)"
    assert "raise" not in slow_data_hint(0.347, 4)
    assert "--num_workers 4 keeps every CPU busy" in slow_data_hint(0.347, 4)


def test_warnings_of_the_watchdog_stand_in_the_log_and_on_the_terminal(tmp_path, capsys):
    high = Symptom("the loss is high", ("G_GAN", "lr_G"), lambda means: means["G_GAN"] > 0.15, 2, "look at it")
    run(tmp_path, range(1, 9), watchdog=Watchdog([high]))
    warning = "warning: the loss is high for 2 logging intervals (G_GAN 0.3, lr_G 0.001): look at it"
    lines = log_lines(tmp_path)
    assert lines.index(warning) == 3  # after the third interval's losses
    assert capsys.readouterr().err.splitlines().count(warning) == 1


def test_quiet_processes_write_nothing_but_read_losses_when_the_main_one_does(tmp_path, capsys):
    loud, quiet = FakeEngine(), FakeEngine()
    run(tmp_path / "loud", range(1, 8), total=7, engine=loud)
    capsys.readouterr()

    quiet.visuals = None  # whoever makes pictures fails
    run(tmp_path / "quiet", range(1, 8), total=7, engine=quiet, quiet=True)
    assert quiet.read_at == loud.read_at == [2, 4, 6, 7]
    assert not (tmp_path / "quiet").exists()
    assert capsys.readouterr() == ("", "")


def test_divergence_reaches_quiet_processes(tmp_path):
    class Diverged(FakeEngine):
        def losses(self):
            raise TrainingDiverged("a loss is not finite any more")

    with pytest.raises(TrainingDiverged):
        run(tmp_path, range(1, 5), engine=Diverged(), quiet=True)


def test_a_system_clock_set_back_disturbs_nothing(tmp_path, capsys, monkeypatch):
    system_time, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: system_time() - jump[0])

    class SetBack(FakeEngine):
        def rates(self):
            jump[0] = 86400.0
            return super().rates()

    run(tmp_path, range(1, 9), html=False, engine=SetBack())
    assert capsys.readouterr().err.splitlines()[-2].startswith("eval at iteration 8")
    for line in log_lines(tmp_path, "eval"):
        assert 0 <= float(re.search(r"time: (-?[\d.]+)", line)[1]) < 10
    assert len(log_lines(tmp_path, "eval")) == 4
