"""Tables inside a page that people write: what stands between two marks is replaced, all else stays.

<!-- table: cpu-train -->
... the table ...
<!-- end -->
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from util.errors import UserError
from util.files import write_text

START = r"^<!-- table: (?P<name>[\w-]+) -->\n"  # at the beginning of a line: a page may also speak of it
TABLE = re.compile(rf"(?P<start>{START}).*?(?P<end>^<!-- end -->)", re.DOTALL | re.MULTILINE)


def require_places(page: Path, names: Iterable[str]) -> None:
    """
    Raises:
        UserError: the page has no place for one of these tables.
        OSError: it cannot be read.
    """
    text = page.read_text(encoding="utf-8")
    if len(re.findall(START, text, re.MULTILINE)) != len(TABLE.findall(text)):
        raise UserError(f"{page}: a '<!-- table: NAME -->' has no '<!-- end -->' after it")
    places = {found["name"] for found in TABLE.finditer(text)}
    missing = [name for name in names if name not in places]
    if missing:
        raise UserError(
            f"{page} has no place for {', '.join(missing)}; write a line '<!-- table: {missing[0]} -->' into it "
            "and a line '<!-- end -->' under it"
        )


def fill_page(page: Path, tables: Mapping[str, str]) -> None:
    """Put these tables, by name, into their places; other places stay as they are."""
    text = page.read_text(encoding="utf-8")
    write_text(page, TABLE.sub(lambda found: _filled(found, tables), text))


def _filled(found: re.Match[str], tables: Mapping[str, str]) -> str:
    table = tables.get(found["name"])
    return found[0] if table is None else f"{found['start']}{table}\n{found['end']}"
