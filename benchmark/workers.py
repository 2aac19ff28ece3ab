"""Where cases run: in processes of their own on the CPU, in this one on a GPU.

Whether freed memory is kept is a property of a process, and it cannot be taken back: a heap that once grew stays
usable. So on the CPU one process keeps what it frees and another one does as the system does by default, each started
fresh, and both live as long as the benchmark. Only one of them works at a time.
"""

import gc
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol

import torch

from benchmark.cases import Case
from benchmark.runner import CaseRunner, Setup
from util.allocator import keep_freed_memory
from util.errors import UserError
from util.memory_advice import is_out_of_memory

ADVICE = "use smaller --sizes, a smaller --batch or a smaller --ngf"
END_S = 5.0  # how long a process may take to end when it is told to [s]
DYING_S = 5.0  # a dying process closes its connection a little before the system calls it dead [s]


class Worker(Protocol):
    """Calls methods of a ``CaseRunner``."""

    kept: bool  # whether freed memory is kept

    def call(self, name: str, *args: Any) -> Any: ...
    def close(self) -> None: ...


class LocalWorker:
    """In this process, with the allocator that it has."""

    kept = False

    def __init__(self, setup: Setup) -> None:
        self.runner: CaseRunner | None = CaseRunner(setup)

    def call(self, name: str, *args: Any) -> Any:
        """
        Raises:
            UserError: the memory is full.
            RuntimeError: something else went wrong; the message is the traceback.
        """
        return _value(_answer(self.runner, name, args))

    def close(self) -> None:
        self.runner = None
        gc.collect()  # modules and the closures on them are circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class ProcessWorker:
    """In a fresh process, whose allocator keeps freed memory or does as the system does by default."""

    def __init__(self, setup: Setup, keep_memory: bool) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, setup, keep_memory), daemon=True)
        with default_allocator():
            self.process.start()
        theirs.close()  # so that its death is the end of the connection
        self.kept: bool = self._receive(())

    def call(self, name: str, *args: Any) -> Any:
        """
        Raises:
            UserError: the memory is full, or the process died.
            RuntimeError: something else went wrong there; the message is the traceback.
        """
        try:
            self.connection.send((name, args))
        except OSError:
            raise self._died(args) from None
        return self._receive(args)

    def close(self) -> None:
        self.connection.close()  # which tells it to end
        self.process.join(END_S)
        if self.process.is_alive():  # in the middle of a step, of which nothing is needed any more
            self.process.kill()
            self.process.join()

    def _receive(self, args: tuple[Any, ...]) -> Any:
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            raise self._died(args) from None
        return _value(answer)

    def _died(self, args: tuple[Any, ...]) -> UserError:
        self.process.join(DYING_S)
        code = self.process.exitcode
        how = f"killed by signal: {signal.strsignal(-code)}" if code and code < 0 else f"code {code}"
        return UserError(f"the process of the benchmark died{_where(args)} ({how}); often memory is full: {ADVICE}")


class Kind(Enum):
    """Of an answer: a value, or the text of what went wrong."""

    VALUE = 1
    USER_ERROR = 2
    FAULT = 3


Answer = tuple[Kind, Any]


def serve(connection: Connection, setup: Setup, keep_memory: bool) -> None:
    """What a worker's process does: answer calls until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the main process, which ends this one
    runner = CaseRunner(setup)
    with suppress(EOFError, OSError):
        connection.send((Kind.VALUE, keep_memory and keep_freed_memory()))
        while True:
            name, args = connection.recv()
            connection.send(_answer(runner, name, args))


def _answer(runner: CaseRunner | None, name: str, args: tuple[Any, ...]) -> Answer:
    try:
        return Kind.VALUE, getattr(runner, name)(*args)
    except UserError as error:
        return Kind.USER_ERROR, str(error)
    except Exception as error:
        if is_out_of_memory(error):
            return Kind.USER_ERROR, f"out of memory{_where(args)}; {ADVICE}"
        return Kind.FAULT, traceback.format_exc()


@contextmanager
def default_allocator() -> Iterator[None]:
    """What the user has set about the allocator is not seen by processes that are started within."""
    ours = [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]
    removed = {name: os.environ.pop(name) for name in ours}
    try:
        yield
    finally:
        os.environ.update(removed)


class WorkerPool:
    """Workers by name, each started when it is first asked for; all are closed at the end of the block.

    Args:
        start: makes a worker, given whether it is to keep freed memory.
    """

    def __init__(self, start: Callable[[bool], Worker]) -> None:
        self.start = start
        self._workers: dict[str, Worker] = {}

    def of(self, case: Case) -> Worker:
        """The worker that a case runs in."""
        return self.get(case.worker, keep_memory=case.keep_memory)

    def get(self, name: str, *, keep_memory: bool) -> Worker:
        if name not in self._workers:
            self._workers[name] = self.start(keep_memory)
        return self._workers[name]

    def close(self, name: str) -> None:
        """End this worker, if there is one."""
        if name in self._workers:
            self._workers.pop(name).close()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._workers):
            self.close(name)


def _value(answer: Answer) -> Any:
    kind, value = answer
    if kind is Kind.VALUE:
        return value
    raise UserError(value) if kind is Kind.USER_ERROR else RuntimeError(value)


def _where(args: tuple[Any, ...]) -> str:
    """``" in <case>"``, if a case is among the arguments."""
    case = next((arg for arg in args if isinstance(arg, Case)), None)
    return f" in {case.load.what} of {case.load.title}: {case.title}" if case else ""
