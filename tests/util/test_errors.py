"""How programs end: one line and a code for what users can mend, a traceback for what they cannot."""

import pytest

from util.errors import StoppedAfterSaving, UserError, run_cli


def ending(error, capsys):
    def main():
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as end:
        run_cli(main)
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, 0, ""),
        (UserError("b.png is\ntruncated"), 2, "error: b.png is truncated\n"),
        (FileNotFoundError("no run 'x'"), 2, "error: no run 'x'\n"),
        (OSError(28, "No space left on device", "a.pth"), 2, "error: [Errno 28] No space left on device: 'a.pth'\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (KeyboardInterrupt("at once"), 130, "\ninterrupted: at once\n"),
        (StoppedAfterSaving("saved at iteration 7"), 75, "stopped: saved at iteration 7\n"),
    ],
)
def test_users_faults_end_in_one_line_and_a_code(error, code, message, capsys):
    assert ending(error, capsys) == (code, message)


def test_the_code_is_kept_when_nobody_reads_the_line(monkeypatch, capsys):
    class Closed:
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sys.stderr", Closed())
    assert ending(StoppedAfterSaving("saved"), capsys)[0] == 75


def test_our_own_faults_keep_their_traceback():
    def main():
        raise KeyError("ours")

    with pytest.raises(KeyError):
        run_cli(main)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_what_main_returns_is_the_exit_code(returned, code, capsys):
    with pytest.raises(SystemExit) as end:
        run_cli(lambda: returned)
    assert (end.value.code, capsys.readouterr().err) == (code, "")


def test_the_code_of_a_parser_error_is_kept(capsys):
    assert ending(SystemExit(2), capsys) == (2, "")
