"""Making a whole folder of files so that nobody ever meets half of it."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from util.errors import UserError


class MadeMeanwhile(UserError):
    """The folder was not there at first, and has content at the end."""


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``out``; rename it to ``out`` when the block ends well, remove it when not.

    Raises:
        UserError: ``out`` is a file or a folder with content.
        MadeMeanwhile: another process has made ``out`` during the block.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder to write into")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} exists and is not empty; remove it to make it anew, or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        _take_place(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, out: Path) -> None:
    try:
        if out.is_dir():  # Windows renames no folder onto an empty one
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise MadeMeanwhile(f"{out} was made by another process meanwhile; nothing in it was changed") from None
        raise
