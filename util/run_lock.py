"""One training at a time in a run's folder."""

import json
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from util.errors import UserError
from util.files import remove_partial_files_of, write_text

DYING_S = 10.0  # loader processes, which older versions of filelock let share the lock, outlive a killed run by 5 s


class RunLock:
    """While open, nobody else can open the lock of the same run; the end of the process, even by a kill, opens it.

    The lock is ``<checkpoints_dir>/.<name>.lock``, beside the folder, so that ``--overwrite`` does not remove it;
    ``.<name>.lock.json`` says who holds it. Both are gone when it is closed.

    Args:
        folder: ``<checkpoints_dir>/<name>``, which need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder.parent / f".{folder.name}.lock"
        self._holder = folder.parent / f".{folder.name}.lock.json"
        self._lock = FileLock(self._path)
        self._made_parent = False

    def __enter__(self) -> "RunLock":
        """Take the lock, without waiting.

        Raises:
            UserError: another process trains this run, or the folder of runs cannot be written.
        """
        self._made_parent = not self.folder.parent.exists()
        try:
            self._take()
        except Timeout:
            raise UserError(
                f"run {self.folder.name!r} in {self.folder.parent}/ is being trained by {self._who()}; wait for it, "
                "stop it, or choose another --name"
            ) from None
        except OSError as error:
            self._let_go()
            raise UserError(
                f"{self.folder.parent}/ cannot be written ({error.strerror or error}), so no run can be kept there; "
                "choose another --checkpoints_dir"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()

    def _take(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            if not self._holder_died():
                raise
            self._lock.acquire(timeout=DYING_S)
        remove_partial_files_of(self._holder)  # it lies beside the run's folder, where nobody else would
        write_text(self._holder, json.dumps(_this_process()))

    def _let_go(self) -> None:
        if self._lock.is_locked:
            with suppress(OSError):  # a file that is left over locks nothing
                self._holder.unlink(missing_ok=True)
                self._path.unlink(missing_ok=True)
            self._lock.release()
        if self._made_parent:
            with suppress(OSError):  # a run is there now
                self.folder.parent.rmdir()

    def _who(self) -> str:
        holder = self._read_holder()
        return "process {pid} on {host} since {since}".format(**holder) if holder else "another process"

    def _holder_died(self) -> bool:
        """Whether the process that took the lock is no more; only known on its own machine."""
        holder = self._read_holder()
        if holder.get("host") != socket.gethostname():
            return False
        try:
            os.kill(holder["pid"], 0)
        except ProcessLookupError:
            return True
        except OSError:  # it is another user's
            return False
        return False

    def _read_holder(self) -> dict[str, Any]:
        """Its ``pid``, ``host`` and ``since``; empty when it has only just begun."""
        try:
            holder = json.loads(self._holder.read_text(encoding="utf-8"))
            return {"pid": int(holder["pid"]), "host": str(holder["host"]), "since": str(holder["since"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _this_process() -> dict[str, int | str]:
    since = datetime.now().isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
