"""How commands end."""

import errno
from typing import Any

import pytest

from distill.errors import DivergedError, run_command


def status_of(error: BaseException | None) -> Any:
    def main() -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    return exit_.value.code


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (ValueError("bad"), 2),
        (FileNotFoundError("bad"), 2),
        (FileExistsError("bad"), 2),
        (OSError("bad"), 1),
        (OSError(errno.ENOSPC, "bad"), 1),
        (DivergedError("bad"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=repr,
)
def test_the_exit_status_tells_how_a_command_ended(error, status):
    assert status_of(error) == status


def test_an_error_is_one_line_on_standard_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py", "--seed", "x"])
    status_of(ValueError("two\nlines"))
    assert capsys.readouterr() == ("", "train.py: error: two lines\n")


def test_a_mistake_in_the_program_shows_where_it_is():
    with pytest.raises(TypeError):
        status_of(TypeError("a bug"))
