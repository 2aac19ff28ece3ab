"""The folder of a result, which appears whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from util.errors import UserError


@contextmanager
def result_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside ``out`` that takes its place when the block ends well, and is removed when it does not.

    An earlier result stays until then. What a killed run left half-made is removed by the next one.

    Raises:
        UserError: ``out`` holds something and must not be replaced, or another process is making it.
    """
    out = Path(out).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial, lock = _beside(out, "partial"), _beside(out, "lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                _restore(out)
                _require_free(out, overwrite)
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                yield partial
                _replace(out, partial)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                lock.unlink(missing_ok=True)
    except Timeout:
        raise UserError(f"another process is making {out}; wait for it, or take another --out") from None


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{what}")


def _require_free(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give --out a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UserError(f"{out} is not empty; --overwrite replaces it, or take another --out")


def _replace(out: Path, new: Path) -> None:
    """Two renames, since no folder can take the place of one that is not empty."""
    old = _beside(out, "old")
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _restore(out: Path) -> None:
    """Put back what a run that was killed between the renames, or while it removed the old one, has left."""
    old = _beside(out, "old")
    if old.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)
