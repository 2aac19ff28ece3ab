"""Users' mistakes end in one line and a code; faults of the program keep their traceback."""

import pytest

from util.errors import UserError, run_cli


def run(action):
    with pytest.raises(SystemExit) as caught:
        run_cli(action)
    return caught.value.code


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_what_main_returns_is_the_exit_code(returned, code, capsys):
    assert run(lambda: returned) == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "error", [UserError("a.png is truncated"), FileNotFoundError("a.png is truncated"), OSError("a.png is truncated")]
)
def test_a_users_mistake_is_one_line_and_code_2(error, capsys):
    assert run(failing(error)) == 2
    assert capsys.readouterr().err == "error: a.png is truncated\n"


def test_a_message_of_several_lines_becomes_one(capsys):
    assert run(failing(UserError("first\nsecond"))) == 2
    assert capsys.readouterr().err == "error: first second\n"


def test_a_missing_file_is_named(tmp_path, capsys):
    assert run(lambda: (tmp_path / "gone.png").read_bytes()) == 2
    assert "gone.png" in capsys.readouterr().err


@pytest.mark.parametrize(("message", "line"), [("", "interrupted\n"), ("saved at 7", "interrupted: saved at 7\n")])
def test_ctrl_c_ends_with_130(message, line, capsys):
    assert run(failing(KeyboardInterrupt(message) if message else KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == f"\n{line}"


@pytest.mark.parametrize("error", [ValueError("shape"), ZeroDivisionError(), KeyError("x")])
def test_a_fault_of_the_program_is_not_hidden(error):
    with pytest.raises(type(error)):
        run_cli(failing(error))


def test_the_code_of_a_parser_error_is_kept():
    assert run(failing(SystemExit(2))) == 2


def test_a_user_error_is_a_value_error():
    assert issubclass(UserError, ValueError)
