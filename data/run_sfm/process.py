"""A call in a process of its own: what foreign code writes and how it dies stays there."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from util.child_process import end_with_parent
from util.errors import UserError

LAST_WORDS = 8  # lines of its log that an error repeats

T = TypeVar("T")


def call_apart(function: Callable[..., T], *args: Any, log: Path) -> T:
    """``function(*args)`` in a new process, which is killed when this call ends early.

    Args:
        function: of a module, as it is pickled; as are ``args`` and the result.
        log: gets what C++ writes to stderr. Python's own stderr (progress) stays the terminal.

    Raises:
        UserError: the function does, or its process is killed, as the system does when memory runs out.
        RuntimeError: any other error of the function, with the end of the log.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, log, function, args), daemon=True)
    process.start()
    sender.close()
    try:
        result = receiver.recv()
        process.join()
    except EOFError:
        process.join()
        raise UserError(f"{_how_it_died(process.exitcode)}{_last_words(log)}") from None
    finally:
        process.kill()  # where this was interrupted: COLMAP does not listen
        process.join()
    if isinstance(result, UserError):
        raise result
    if isinstance(result, Exception):
        raise RuntimeError(f"{type(result).__name__}: {result}{_last_words(log)}") from result
    return result


def _work(sender: Connection, log: Path, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller as well, who kills this process
    tqdm.set_lock(threading.RLock())  # its own, shared between processes, is left behind by one that is killed
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
    try:
        sender.send(function(*args))
    except Exception as error:  # whatever it is, the caller is told
        sender.send(error)


def _how_it_died(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process that ran COLMAP was ended by {signal.Signals(-code).name}; is there enough memory?"
    return f"the process that ran COLMAP ended with code {code}"


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return "".join(f"\n  {line}" for line in ("The end of its log:", *lines[-LAST_WORDS:])) if lines else ""
