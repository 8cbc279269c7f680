"""Interruption: what stops a command, and work that may first come to its next safe place."""

import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self


def stopping_signals() -> list[signal.Signals]:
    """Return the signals that stop a command as Ctrl-C does; one that nohup ignores is none."""
    numbers = signal.SIGTERM, signal.SIGHUP
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


class Interruption:
    """Turns the first Ctrl-C into a request that the work stop at its next safe place.

    So do SIGTERM and, unless it is ignored (nohup), SIGHUP, which comes when a terminal is closed.
    The second Ctrl-C interrupts at once, as ever; not SIGHUP's, which a shell and the kernel may
    both send when one terminal is closed.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        signals = signal.SIGINT, *stopping_signals()
        self._previous = {number: signal.signal(number, self._request) for number in signals}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGHUP:
            return
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        with suppress(OSError):  # who reads it, `2>&1 | tee`, may have been stopped, too
            sys.stderr.write("\nstopping at the next safe place; once more to stop at once\n")
