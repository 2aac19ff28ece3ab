"""The record of a run: TensorBoard events, and ``loss_log.txt`` in pix2pixHD's format."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes what a run reports to ``folder/loss_log.txt`` and ``folder/tensorboard/``.

    Where TensorBoard's files cannot be written (not installed, disk full), it says so once on stderr and goes on with
    ``loss_log.txt`` alone: a training of days does not end for its curves. Nor for a line of ``loss_log.txt``, once it
    is open.
    """

    def __init__(self, folder: Path, options_text: str, first_step: int = 0) -> None:
        """
        Args:
            folder: the run's folder; made where it is missing. An existing ``loss_log.txt`` is continued.
            options_text: the options of the run, shown under TensorBoard's "text".
            first_step: the step at which a resumed run goes on; TensorBoard hides what an interrupted run had
                written from there on.

        Raises:
            OSError: ``loss_log.txt`` cannot be written.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / "loss_log.txt").open("a", encoding="utf-8")
        self._warned = False
        self._write_line(f"================ Training Loss ({datetime.now():%a %b %d %H:%M:%S %Y}) ================")
        self._writer = self._open_tensorboard(first_step)
        self.text("options", f"```\n{options_text}\n```", first_step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def losses(
        self, terms: Mapping[str, float], *, epoch: int, iteration: int, step: int, time_s: float, data_s: float
    ) -> str:
        """Record the losses of a logging interval: one line in ``loss_log.txt``, and a curve each in TensorBoard.

        Args:
            terms: losses by name, in the order in which they are to stand.
            epoch: from 1 on.
            iteration: of the run, from 1 on (pix2pixHD counts samples within the epoch).
            step: TensorBoard's axis.
            time_s: time for an iteration, all told [s].
            data_s: part of it that was spent waiting for data [s].

        Returns:
            The line, for the terminal.
        """
        line = loss_line(terms, epoch=epoch, iteration=iteration, time_s=time_s, data_s=data_s)
        self._write_line(line)
        self.scalars("training", terms, step)
        return line

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add a point to the curve of every name; TensorBoard shows those of a group together."""
        for name, value in values.items():
            self._to_tensorboard("add_scalar", f"{group}/{name}", float(value), step)

    def images(self, pictures: Mapping[str, Tensor | np.ndarray], step: int) -> None:
        """Add pictures by name.

        Args:
            pictures: float tensors (3, H, W) in [0, 1], or uint8 arrays (H, W, 3); RGB.
            step: TensorBoard's axis.

        Raises:
            ValueError: neither of the two.
        """
        for name, picture in pictures.items():
            layout = _layout(name, picture)
            self._to_tensorboard("add_image", f"pictures/{name}", picture, step, dataformats=layout)

    def text(self, name: str, markdown: str, step: int) -> None:
        """Add a text, which TensorBoard shows as Markdown."""
        self._to_tensorboard("add_text", name, markdown, step)

    def note(self, line: str) -> None:
        """Add a line to ``loss_log.txt`` alone."""
        self._write_line(line)

    def flush(self) -> None:
        """Bring everything so far to the disk; lines of ``loss_log.txt`` are there already."""
        self._to_tensorboard("flush")

    def close(self) -> None:
        """Write what is left and close the files; the log takes nothing more."""
        self._to_tensorboard("close")
        self._writer = None
        with self._sparing_lines():
            self._file.close()

    def _write_line(self, line: str) -> None:
        with self._sparing_lines():
            self._file.write(line + "\n")
            self._file.flush()  # so that an interrupted run loses nothing, and `tail -f` shows it

    @contextmanager
    def _sparing_lines(self) -> Iterator[None]:
        """What did not fit on the disk waits in the file's buffer; the first failure is told."""
        try:
            yield
        except OSError as error:
            if not self._warned:
                self._warned = True
                sys.stderr.write(f"warning: lines are missing in {self.folder}/loss_log.txt: {error}\n")

    def _open_tensorboard(self, first_step: int) -> "SummaryWriter | None":
        try:
            from torch.utils.tensorboard import SummaryWriter  # here, since it is slow to import and may be missing

            return SummaryWriter(str(self.folder / "tensorboard"), purge_step=first_step or None)
        except (OSError, ImportError) as error:
            self._warn(error)
            return None

    def _to_tensorboard(self, method: str, *args: object, **kwargs: object) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, method)(*args, **kwargs)
        except OSError as error:
            self._writer = None
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        sys.stderr.write(f"warning: no TensorBoard events in {self.folder}, only loss_log.txt goes on: {error}\n")


def loss_line(terms: Mapping[str, float], *, epoch: int, iteration: int, time_s: float, data_s: float) -> str:
    """``(epoch: 3, iters: 1200, time: 0.123, data: 0.004) G_GAN: 0.912 D: 0.25``. Arguments as for ``losses``."""
    losses = " ".join(f"{name}: {float(value):.4g}" for name, value in terms.items())
    return f"(epoch: {epoch}, iters: {iteration}, time: {time_s:.3f}, data: {data_s:.3f}) {losses}".rstrip()


def _layout(name: str, picture: Tensor | np.ndarray) -> str:
    """TensorBoard's word for the order of a picture's axes."""
    if isinstance(picture, Tensor) and picture.ndim == 3 and picture.shape[0] == 3 and picture.is_floating_point():
        return "CHW"
    if isinstance(picture, np.ndarray) and picture.shape[2:] == (3,) and picture.dtype == np.uint8:
        return "HWC"
    raise ValueError(
        f"picture {name!r} must be a float tensor (3, H, W) or a uint8 array (H, W, 3), "
        f"got {picture.dtype} {tuple(picture.shape)}"
    )
