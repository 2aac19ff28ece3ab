"""One way to tell users of their mistakes: a sentence and an exit code, never a bare traceback."""

import sys
from collections.abc import Callable
from contextlib import suppress

USER_ERROR_CODE = 2
SAVED_STOP_CODE = 75  # EX_TEMPFAIL of sysexits.h: "try again later", on which queue systems can requeue a job
INTERRUPTED_CODE = 130  # 128 + SIGINT, as shells have it


class UserError(ValueError):
    """Something the user gave cannot be used. The message says what was wrong, in which file, and what to do."""


class StoppedAfterSaving(Exception):
    """A run ended early because it was asked to, with everything saved. The message says where and how to go on."""


def run_cli(main: Callable[[], int | None]) -> None:
    """Run a command-line ``main`` and exit with its code (None counts as 0).

    A ``UserError``, a missing file and an error of the file system end in one line on stderr and code 2, a run that
    was asked to stop and has saved in code 75, Ctrl-C without saving in code 130. Anything else is a fault of the
    program and keeps its traceback.
    """
    try:
        sys.exit(main() or 0)
    except StoppedAfterSaving as stop:
        _tell(f"stopped: {stop}\n")
        sys.exit(SAVED_STOP_CODE)
    except KeyboardInterrupt as interrupt:
        _tell(f"\ninterrupted{': ' + str(interrupt) if str(interrupt) else ''}\n")
        sys.exit(INTERRUPTED_CODE)
    except (UserError, OSError) as error:
        _tell(f"error: {' '.join(str(error).splitlines())}\n")
        sys.exit(USER_ERROR_CODE)


def _tell(text: str) -> None:
    with suppress(OSError):  # nobody reads it any more; the code still says how it ended
        sys.stderr.write(text)
