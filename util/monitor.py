"""What a training shows while it runs: the bar with its ETA, the log, tensorboard and the page of pictures."""

import json
import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from util.engine import Batch, Engine
from util.files import write_bytes, write_text
from util.gallery import TrainingEntry, write_training_page
from util.human_units import human_count, human_duration, human_size
from util.memory_use import device_title, peak_bytes
from util.progress import progress_bar
from util.run_log import RunLog
from util.updates import Progress
from util.watchdog import Watchdog

WEB, ENTRIES, SKIPPED = "web", "entries.json", "skipped_samples.txt"
PAGE_REFRESH_S = 60
MAX_PAGE_ENTRIES = 200  # older pictures stay on disk and in tensorboard
SLOW_DATA_SHARE = 0.2  # of the time, from which waiting for data is worth a hint
MIN_HINT_ITERATIONS = 10  # in a logging interval: over fewer, one slow batch is a large share

Pictures = Mapping[str, Tensor | np.ndarray]


class TrainingMonitor:
    """Reports a run to the terminal, ``loss_log.txt``, tensorboard and ``web/index.html`` in the run's folder.

    Losses are means since the line before, so that a discriminator's, which come at every few iterations, are on
    every line. The first iteration, in which loaders, kernels and caches start, has a line of its own and is left out
    of the speeds after it. A training of days does not end for what is only shown: where the page cannot be written,
    that is told once, and the training goes on.

    Args:
        folder: the run's folder.
        name: of the run, for the page.
        options_text: the options, shown in tensorboard.
        total: iterations of the whole run.
        done: iterations done before (a resumed run).
        batch_size: images an iteration, for images/s.
        print_freq, display_freq: iterations between logged losses and between pictures.
        html: whether to write the page.
        num_workers: processes that load data, for the hint when they are too slow.
        watchdog: looks at the losses of every logging interval; its warnings go where scores go.
        quiet: for all but one process of a distributed run: nothing is written or shown. Losses are still read when
            they are due, since reading them takes all processes.
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
        num_workers: int = 0,
        watchdog: Watchdog | None = None,
        quiet: bool = False,
    ) -> None:
        self.folder, self.name, self.html = folder, name, html
        self.batch_size, self.print_freq, self.display_freq, self.total = batch_size, print_freq, display_freq, total
        self.num_workers, self.watchdog, self.quiet = num_workers, watchdog or Watchdog([]), quiet
        self._losses, self._first, self._hinted = "", True, False
        self._unwritten: set[str] = set()  # what was told of
        if not quiet:
            self.log = RunLog(folder, options_text, first_step=done)
            self.bar = progress_bar(total, "training", "iterations", initial=done)
            self.entries = self._earlier_entries(done)
        self._begin_interval()

    def __enter__(self) -> "TrainingMonitor":
        return self

    def __exit__(self, *error: object) -> None:
        if not self.quiet:
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
        last = progress.iteration == self.total
        losses = engine.losses() if progress.iteration % self.print_freq == 0 or last else None
        if self.quiet:
            return
        self.bar.update(1)
        first, self._first = self._first, False
        if first:
            self._log_first(progress, engine)
        if losses is not None:
            self._log_losses(losses, progress, engine)
        if first or losses is not None:
            self._begin_interval()
        if progress.iteration % self.display_freq == 0 or last:
            self._log_pictures(progress, engine.visuals(batch))

    def scores(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Curves of scores in tensorboard, as ``<group>/<metric>``, and a line in the log and on the terminal."""
        if self.quiet:
            return
        self.log.scalars(group, values, step)
        self._say(f"{group} at iteration {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def skipped(self, samples: Collection[str]) -> None:
        """Tell of samples that were left out since they cannot be read; all of them are in ``skipped_samples.txt``.

        Args:
            samples: a line each, file and reason; in a distributed run every process has those that it met.
        """
        if not samples:
            return
        path = self.folder / SKIPPED
        known = set(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else set()  # by a session before
        new = [line for line in samples if line not in known]
        for line in new:
            told = f"warning: skipped {line}"
            sys.stderr.write(told + "\n") if self.quiet else self._say(told)
        with self._sparing(SKIPPED), path.open("a", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in new)

    def _say(self, line: str) -> None:
        """To the terminal, if there still is one, where the bar stays below it, and to the log."""
        self.log.note(line)
        with suppress(OSError):
            self.bar.write(line, file=sys.stderr)

    def _begin_interval(self) -> None:
        self._began, self._data_s, self._interval = time.perf_counter(), 0.0, 0

    def _log_first(self, progress: Progress, engine: Engine) -> None:
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)  # it may still be at work on what it was given
        seconds = time.perf_counter() - self._began
        iterations = self.total - progress.iteration + 1
        self._say(first_iteration_line(engine, seconds, self.batch_size, iterations))

    def _log_losses(self, losses: Mapping[str, float], progress: Progress, engine: Engine) -> None:
        elapsed = time.perf_counter() - self._began
        images_s, data_share = self._interval * self.batch_size / elapsed, self._data_s / elapsed
        rates = engine.rates()
        self.log.losses(
            losses,
            epoch=progress.epoch,
            iteration=progress.iteration,
            step=progress.iteration,
            time_s=elapsed / self._interval,
            data_s=self._data_s / self._interval,
        )
        self.log.scalars("rate", rates, progress.iteration)
        self.log.scalars("speed", {"images_per_s": images_s, "data_share": data_share}, progress.iteration)
        self._losses = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        speed_text = f"{images_s:.1f} images/s, data {data_share:.0%}"
        self.bar.set_postfix_str(f"epoch {progress.epoch}, {speed_text}, {self._losses}")
        for warning in self.watchdog.check(rates | losses):
            self._say(warning)
        if data_share > SLOW_DATA_SHARE and self._interval >= MIN_HINT_ITERATIONS and not self._hinted:
            self._hinted = True
            self._say(slow_data_hint(data_share, self.num_workers))

    def _log_pictures(self, progress: Progress, pictures: Pictures) -> None:
        arrays = {caption: _to_uint8(picture) for caption, picture in pictures.items()}
        self.log.images(arrays, progress.iteration)
        if self.html:
            with self._sparing(f"{WEB}/"):
                self._add_to_page(progress, arrays)

    def _add_to_page(self, progress: Progress, arrays: Mapping[str, np.ndarray]) -> None:
        paths = {}
        for caption, picture in arrays.items():
            paths[caption] = f"images/{progress.iteration:08d}_{caption.replace(' ', '_')}.png"
            # cv2.imwrite says that all is well when a small file does not fit on the disk.
            write_bytes(self.folder / WEB / paths[caption], cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        self.entries.insert(0, TrainingEntry(progress.epoch, progress.iteration, paths, note=self._losses))
        del self.entries[MAX_PAGE_ENTRIES:]
        write_training_page(self.folder / WEB / "index.html", self.entries, self.name, refresh_s=PAGE_REFRESH_S)
        write_text(self.folder / WEB / ENTRIES, json.dumps([asdict(entry) for entry in self.entries]) + "\n")

    @contextmanager
    def _sparing(self, name: str) -> Iterator[None]:
        """Around writing what the training itself does not need: the first failure is told."""
        try:
            yield
        except OSError as error:
            if name not in self._unwritten:
                self._unwritten.add(name)
                line = f"warning: {self.folder}/{name} cannot be written ({error}); the training goes on"
                sys.stderr.write(line + "\n") if self.quiet else self._say(line)

    def _earlier_entries(self, done: int) -> list[TrainingEntry]:
        """Those that a resumed run has on its page already; none where their list is damaged."""
        path = self.folder / WEB / ENTRIES
        try:
            entries = json.loads(path.read_text(encoding="utf-8")) if done and path.is_file() else []
            return [TrainingEntry(**entry) for entry in entries if entry["iteration"] <= done]
        except (OSError, ValueError, TypeError, KeyError) as error:
            sys.stderr.write(f"warning: {path} cannot be read ({error}); the page begins anew\n")
            return []


def first_iteration_line(engine: Engine, seconds: float, batch_size: int, iterations: int) -> str:
    """Sizes of the networks, memory, and what the first iteration lets expect of the time.

    Args:
        engine: has done one iteration.
        seconds: that it took, with all that starts in it.
        batch_size: images of an iteration.
        iterations: that this session has, with the first one.
    """
    networks = engine.method.networks().items()
    sizes = " and ".join(f"{name} {human_count(sum(p.numel() for p in net.parameters()))}" for name, net in networks)
    peak = peak_bytes(engine.device)
    memory = f"peak memory {human_size(peak)} ({device_title(engine.device)}), " if peak else ""
    speed = f"{batch_size / seconds:.1f} images/s"
    time_text = f"about {human_duration(seconds * iterations)} for {iterations} iterations"
    return f"first iteration, with start-up: {sizes} parameters, {memory}{speed}, {time_text}"


def slow_data_hint(share: float, num_workers: int) -> str:
    """What to do when ``share`` of the time is waiting for data; more loaders than CPUs would not help."""
    waiting = f"hint: {share * 100:.0f} % of the time is waiting for data; "
    if num_workers < (os.cpu_count() or 1):
        return f"{waiting}raise --num_workers (now {num_workers})"
    return f"{waiting}--num_workers {num_workers} keeps every CPU busy, so smaller files or a faster disk would help"


def _to_uint8(picture: Tensor | np.ndarray) -> np.ndarray:
    """Float (3, H, W) in [0, 1] or uint8 (H, W, 3) to the latter."""
    if isinstance(picture, np.ndarray):
        return picture
    return (picture.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
