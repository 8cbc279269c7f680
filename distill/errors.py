"""Errors: training that diverged, and how a command tells of what went wrong."""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from distill.interruption import stopping_signals

NO_MEMORY = ("can't allocate memory", "out of memory")  # how torch says so


class DivergedError(Exception):
    """Training produced a number that is not finite."""


def diverged(what: str, step: int, *, lower: str = "--learning_rate") -> DivergedError:
    """Make the error of what is not finite at a step, with what may help."""
    return DivergedError(
        f"{what} not finite at step {step}; lower {lower} in a new run; the last checkpoint is"
        " intact"
    )


def is_out_of_memory(error: Exception) -> bool:
    """Tell Python's and torch's lack of memory from other errors."""
    from_torch = isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)
    return from_torch or isinstance(error, MemoryError)


@contextmanager
def of_setting(flag: str) -> Iterator[None]:
    """Put the name of a setting before what is wrong with the file that it names."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{flag}: {error}") from None
    except ValueError as error:  # be it a subclass, whose arguments may be others
        raise ValueError(f"{flag}: {error}") from None


def open_missing_streams() -> None:
    """Let nobody read what is written to a stream that was closed before we began, as by `>&-`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (open until the end)


def show_lines_at_once() -> None:
    """Write each line when it is printed, also to files and pipes: long work tells how it began."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def run_command(main: Callable[[], None]) -> NoReturn:
    """Run a command; turn the errors a user can cause into one line on standard error.

    Exit status: 0 done, 1 training or writing failed, 2 bad input, 130 interrupted, 141 nobody
    reads on. SIGTERM interrupts as Ctrl-C does, and so does the end of the terminal.
    """
    for number in stopping_signals():
        signal.signal(number, signal.default_int_handler)
    open_missing_streams()
    show_lines_at_once()
    try:
        main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head` has seen enough; what is left must not be tried at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        _fail(error, 2)
    except (OSError, DivergedError) as error:
        _fail(error, 1)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _fail(f"out of memory: {error}", 1)
    sys.exit(0)


def _fail(error: object, status: int) -> NoReturn:
    message = " ".join(str(error).split())
    sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {message}\n")
    sys.exit(status)
