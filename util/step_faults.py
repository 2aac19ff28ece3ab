"""What ends a training from within a step, told with the files, the checkpoints and the flags that matter then."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from util.checkpoint import LATEST, saved_epochs
from util.engine import Engine
from util.errors import UserError
from util.loss_record import TrainingDiverged
from util.memory_advice import is_out_of_memory, memory_facts, out_of_memory_advice

NUM_NAMED = 4  # files of a stream that a message lists

FilesOf = Callable[[Mapping[str, int]], Mapping[str, list[Path]]]


class StepFaults:
    """Remembers which batches the last iterations saw, and turns what goes wrong in them into one line.

    Args:
        engine: whose steps are watched.
        folder: of the run.
        options: plain options of the run.
        files_of: the files of a batch by stream, given its number in each stream.
        memory: iterations that are remembered; losses are looked at no less often.
    """

    def __init__(
        self, engine: Engine, folder: Path, options: Mapping[str, Any], files_of: FilesOf, memory: int
    ) -> None:
        self.engine, self.folder, self.options, self.files_of = engine, folder, options, files_of
        self._batches: deque[tuple[int, dict[str, int]]] = deque(maxlen=memory)

    def remember(self, iteration: int, numbers: Mapping[str, int]) -> None:
        """Number of the batch of each stream that takes part in an iteration."""
        self._batches.append((iteration, dict(numbers)))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Around a step and what reads its losses.

        Raises:
            TrainingDiverged: with the files of the batch and the checkpoints that there are.
            UserError: memory is full; with the flags that would help here.
        """
        try:
            yield
        except TrainingDiverged as fault:
            message = f"{fault}{self._batch(fault.iteration)}; {self._way_out()}"
            raise TrainingDiverged(message, fault.iteration, fault.terms) from fault
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault):
                raise
            engine = self.engine
            networks, optimizers = engine.method.networks().values(), engine.optimizers.values()
            facts = memory_facts(engine.precision, networks, optimizers, engine.processes.size)
            raise UserError(f"{out_of_memory_advice(self.options, facts)}; {self._saved()}") from fault

    def _batch(self, iteration: int | None) -> str:
        numbers = dict(self._batches).get(iteration)
        if numbers is None:
            return ""
        with suppress(UserError, OSError):  # with --on_bad_sample skip the files are read once more to know them
            streams = [f"{stream}: {_listed(files)}" for stream, files in self.files_of(numbers).items()]
            return f"; its batch was {'; '.join(streams)}"
        return ""

    def _saved(self) -> str:
        held = saved_epochs(self.folder)
        if not held:
            return "nothing was saved yet"
        newest = LATEST if any(name.startswith(LATEST) for name in held) else held[-1]
        flag = "--continue_train" if newest == LATEST else f"--continue_train --which_epoch {newest}"
        return f"{self.folder}/ holds {', '.join(held)}, as they were; {flag} goes on from {newest}"

    def _way_out(self) -> str:
        skip = "" if self.options.get("skip_nonfinite") else ", or --skip_nonfinite 10 if a few batches are to blame"
        return f"{self._saved()}, with a lower --lr or --clip_norm 1{skip}"


def _listed(files: list[Path]) -> str:
    more = len(files) - NUM_NAMED
    return ", ".join(map(str, files[:NUM_NAMED])) + (f" and {more} more" if more > 0 else "")
