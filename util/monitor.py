"""What a training shows while it runs: the bar with its ETA, the log, tensorboard and the page of pictures."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from util.engine import Batch, Engine
from util.files import atomic_path, write_text
from util.gallery import TrainingEntry, write_training_page
from util.progress import progress_bar
from util.run_log import RunLog
from util.updates import Progress

WEB, ENTRIES = "web", "entries.json"
PAGE_REFRESH_S = 60
MAX_PAGE_ENTRIES = 200  # older pictures stay on disk and in tensorboard

Pictures = Mapping[str, Tensor | np.ndarray]


class TrainingMonitor:
    """Reports a run to the terminal, ``loss_log.txt``, tensorboard and ``web/index.html`` in the run's folder.

    Losses are means since the line before, so that a discriminator's, which come at every few iterations, are on
    every line.

    Args:
        folder: the run's folder.
        name: of the run, for the page.
        options_text: the options, shown in tensorboard.
        total: iterations of the whole run.
        done: iterations done before (a resumed run).
        batch_size: images an iteration, for images/s.
        print_freq, display_freq: iterations between logged losses and between pictures.
        html: whether to write the page.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        options_text: str,
        total: int,
        done: int,
        batch_size: int,
        print_freq: int,
        display_freq: int,
        html: bool,
    ) -> None:
        self.folder, self.name, self.html = folder, name, html
        self.batch_size, self.print_freq, self.display_freq, self.total = batch_size, print_freq, display_freq, total
        self.log = RunLog(folder, options_text, first_step=done)
        self.bar = progress_bar(total, "training", "iterations", initial=done)
        self.entries = self._earlier_entries(done)
        self._losses = ""
        self._begin_interval()

    def __enter__(self) -> "TrainingMonitor":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        self.log.close()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Around waiting for a batch: its share of the time is shown."""
        began = time.perf_counter()
        yield
        self._data_s += time.perf_counter() - began

    def after_step(self, progress: Progress, engine: Engine, batch: Batch) -> None:
        """Count an iteration; log losses and pictures when they are due (and at the run's end).

        Raises:
            TrainingDiverged: a loss is not finite any more.
        """
        self._interval += 1
        self.bar.update(1)
        last = progress.iteration == self.total
        if progress.iteration % self.print_freq == 0 or last:
            self._log_losses(progress, engine)
        if progress.iteration % self.display_freq == 0 or last:
            self._log_pictures(progress, engine.visuals(batch))

    def scores(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Curves of scores in tensorboard, as ``<group>/<metric>``, and a line in the log and on the terminal."""
        self.log.scalars({f"{group}/{metric}": value for metric, value in values.items()}, step)
        line = f"{group} at iteration {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.log.note(line)
        self.bar.write(line, file=sys.stderr)

    def _begin_interval(self) -> None:
        self._began, self._data_s, self._interval = time.perf_counter(), 0.0, 0

    def _log_losses(self, progress: Progress, engine: Engine) -> None:
        losses = engine.losses()
        elapsed = time.perf_counter() - self._began
        images_s, data_share = self._interval * self.batch_size / elapsed, self._data_s / elapsed
        self.log.losses(
            losses,
            epoch=progress.epoch,
            iteration=progress.iteration,
            step=progress.iteration,
            time_s=elapsed / self._interval,
            data_s=self._data_s / self._interval,
        )
        speed = {"speed/images_per_s": images_s, "speed/data_share": data_share}
        self.log.scalars(engine.rates() | speed, progress.iteration)
        self._losses = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        speed_text = f"{images_s:.1f} images/s, data {data_share:.0%}"
        self.bar.set_postfix_str(f"epoch {progress.epoch}, {speed_text}, {self._losses}")
        self._begin_interval()

    def _log_pictures(self, progress: Progress, pictures: Pictures) -> None:
        arrays = {caption: _to_uint8(picture) for caption, picture in pictures.items()}
        self.log.images(arrays, progress.iteration)
        if not self.html:
            return
        paths = {}
        for caption, picture in arrays.items():
            paths[caption] = f"images/{progress.iteration:08d}_{caption.replace(' ', '_')}.png"
            with atomic_path(self.folder / WEB / paths[caption]) as temporary:
                cv2.imwrite(str(temporary), picture[..., ::-1])
        self.entries.insert(0, TrainingEntry(progress.epoch, progress.iteration, paths, note=self._losses))
        del self.entries[MAX_PAGE_ENTRIES:]
        write_training_page(self.folder / WEB / "index.html", self.entries, self.name, refresh_s=PAGE_REFRESH_S)
        write_text(self.folder / WEB / ENTRIES, json.dumps([asdict(entry) for entry in self.entries]) + "\n")

    def _earlier_entries(self, done: int) -> list[TrainingEntry]:
        """Those that a resumed run has on its page already."""
        path = self.folder / WEB / ENTRIES
        entries = json.loads(path.read_text(encoding="utf-8")) if done and path.is_file() else []
        return [TrainingEntry(**entry) for entry in entries if entry["iteration"] <= done]


def _to_uint8(picture: Tensor | np.ndarray) -> np.ndarray:
    """Float (3, H, W) in [0, 1] or uint8 (H, W, 3) to the latter."""
    if isinstance(picture, np.ndarray):
        return picture
    return (picture.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
