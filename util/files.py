"""Writing files so that nobody ever meets half of one."""

import errno
import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # what file systems say that cannot sync a folder


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` when the block ends well, remove it when not.

    The temporary name keeps the suffix, since writers (OpenCV, NumPy) choose the format by it. Parent folders are
    made. The content is synced before the rename and the folder after it, so a power cut leaves the old file or the
    new one, and the new one once the block has ended.

    Raises:
        OSError: the folder cannot be written or is full, and names the file; the one that was there is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # writing to an open file does not say which one
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or the list of names in a folder, is on the disk.

    Raises:
        OSError: it cannot be read, or not be written out.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in NO_FOLDER_SYNC):
            raise
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path, min_age_s: float = 0.0) -> None:
    """Remove what killed processes left half-written under ``folder``.

    Args:
        folder: that is searched, with all folders in it.
        min_age_s: files that were written to since so many seconds stay, in case that somebody is writing there.
    """
    newest = time.time() - min_age_s
    for path in list(folder.rglob(".*.[0-9]*.partial*")):
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime <= newest:
                path.unlink()


def remove_partial_files_of(path: Path) -> None:
    """Remove what killed processes left half-written of one file, for who knows that nobody is writing it."""
    for partial in list(path.parent.glob(f".{glob.escape(path.stem)}.[0-9]*.partial{glob.escape(path.suffix)}")):
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
