"""Text files of SfM results: their lines and numbers, with errors that say which line."""

from pathlib import Path

from util.errors import UserError


def read_lines(file: Path) -> list[str]:
    """The lines of a text file.

    Raises:
        UserError: it is no text.
    """
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text (byte {error.start} is of no character); copy it again") from None


def read_column(file: Path, kind: type[float]) -> list[tuple[int, float]]:
    """(line, number) of a file with a number a line; ``kind`` is int or float.

    Raises:
        UserError: a line is no number; empty ones do not count.
    """
    lines = enumerate(read_lines(file), start=1)
    return [(at, to_number(line, kind, f"{file}, line {at}")) for at, line in lines if line.strip()]


def to_number(text: str, kind: type[float], where: str) -> float:
    """A number of a text file: ``kind`` is int or float, ``where`` its file and line for the message.

    Raises:
        UserError: it is none.
    """
    try:
        return kind(text)
    except ValueError:
        expected = "an integer" if kind is int else "a number"
        raise UserError(f"{where}: expected {expected}, got {text[:40]!r}") from None
