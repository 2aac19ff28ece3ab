"""Progress with an ETA: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from contextlib import suppress

from tqdm import tqdm

PLAIN_INTERVAL_S = 10.0
CURSOR_UP = "\x1b[A"  # what tqdm writes between two bars, one inside the other


def progress_bar(total: int | None, what: str, unit: str, initial: int = 0) -> tqdm:
    """A tqdm bar over ``total`` ``unit``s; without a terminal it prints a whole line every 10 s, so logs stay readable.

    It measures with a clock that nobody sets: when the system's goes back by an hour, tqdm's own bar stands still for
    an hour.

    Args:
        total: number of units in all; None when it is not known.
        what: what is being done, in front of the bar.
        unit: name of one unit, e.g. ``"frames"``.
        initial: units done before (a resumed run).
    """
    terminal = sys.stderr.isatty()
    bar = tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        initial=initial,
        dynamic_ncols=terminal,
        ascii=not terminal,
        mininterval=0.2 if terminal else PLAIN_INTERVAL_S,
        miniters=1,  # the clock alone decides: tqdm's guess needs its watching thread, which reads the system's clock
        file=sys.stderr if terminal else PlainLines(),
    )
    bar._time = time.monotonic
    bar.start_t = bar.last_print_t = bar._time()
    return bar


class PlainLines:
    """File-like for tqdm that turns updates, which move the cursor back and up, into lines.

    Where nobody can read them any more (a closed pipe, a full disk), they are left out: work does not end for them.
    """

    def write(self, text: str) -> None:
        line = text.replace("\r", "").replace(CURSOR_UP, "").strip()
        if line:
            with suppress(OSError):
                sys.stderr.write(line + "\n")

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()
