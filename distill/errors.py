"""Errors: training that diverged, and how a command tells of what went wrong."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


class DivergedError(Exception):
    """Training produced a number that is not finite."""


def run_command(main: Callable[[], None]) -> NoReturn:
    """Run a command; turn the errors a user can cause into one line on standard error.

    Exit status: 0 done, 1 training or writing failed, 2 bad input, 130 interrupted.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        _fail(error, 2)
    except (OSError, DivergedError) as error:
        _fail(error, 1)
    sys.exit(0)


def _fail(error: BaseException, status: int) -> NoReturn:
    message = " ".join(str(error).split())
    sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {message}\n")
    sys.exit(status)
