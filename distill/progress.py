"""Progress of long work, a bar on a terminal and a line now and then elsewhere; interruption."""

import signal
import sys
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

from tqdm import tqdm

from distill.errors import stopping_signals

LINE_SECONDS = 30.0
MIN_WHOLE_RATE = 10  # units a second; lower ones are told to two digits


class Progress:
    """Shows how far `total` units of work have come, on standard error."""

    def __init__(self, total: int, *, done: int = 0, unit: str = "step", title: str = "") -> None:
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=unit,
            desc=title or None,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            smoothing=0,  # a mean over all: at times nothing moves for minutes
        )
        self._total, self._done, self._unit, self._title = total, done, unit, title
        self._started = self._last_line = time.monotonic()
        self._done_at_start = done

    def update(self, n: int, note: str = "") -> None:
        """Count `n` more units; `note` says in a few words how it goes."""
        self._done += n
        if not self._bar.disable:
            self._bar.total = max(self._total, self._done)  # a last rollout ends where it ends
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(self._line(note))

    def reach(self, done: int, note: str = "") -> None:
        """Count up to `done` units in all."""
        self.update(done - self._done, note)

    def say(self, text: str) -> None:
        """Print a line without breaking the bar; work goes on if nobody can read it any more."""
        with suppress(OSError):
            self._bar.write(text, file=sys.stderr)

    def _line(self, note: str) -> str:
        rate = (self._done - self._done_at_start) / (time.monotonic() - self._started)
        left_seconds = max(0, self._total - self._done) / rate if rate else float("inf")
        rate_text = f"{rate:,.0f}" if rate >= MIN_WHOLE_RATE else f"{rate:.2g}"
        title = f"{self._title}: " if self._title else ""
        counts = f"{self._done:,} of {self._total:,} {self._unit}s, {rate_text}/s"
        return f"{title}{counts}, {left_seconds / 60:,.0f} min left {note}".rstrip()

    def close(self) -> None:
        """Finish the bar."""
        self._bar.close()


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
