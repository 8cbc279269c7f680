"""Progress of long work, a bar on a terminal and a line now and then elsewhere."""

import sys
import time
from contextlib import suppress

from tqdm import tqdm

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
