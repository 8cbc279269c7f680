"""Values that change over a run, and things that are due every so often."""

from typing import NamedTuple

from distill.parsing import within_float32


class LinearSchedule(NamedTuple):
    """A straight line from `start` to `end` over the first `fraction` of a run, then constant."""

    start: float
    end: float
    fraction: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "LinearSchedule":
        """Read `START`, `START:END` or `START:END:FRACTION`.

        Raises:
            ValueError: if the text has another form, a value is negative or beyond what can be
                computed with, or the fraction is outside (0, 1].
        """
        try:
            parts = [float(part) for part in text.split(":")]
        except ValueError:
            parts = []
        if not 1 <= len(parts) <= 3 or not all(0 <= part < float("inf") for part in parts):
            raise ValueError("START[:END[:FRACTION]] of non-negative numbers")
        start, *more = parts
        end = more[0] if more else start
        fraction = more[1] if len(more) > 1 else 1.0
        if not 0 < fraction <= 1:
            raise ValueError("START[:END[:FRACTION]] with FRACTION in (0, 1]")
        return cls(within_float32(start), within_float32(end), fraction)

    @classmethod
    def parse_probability(cls, text: str) -> "LinearSchedule":
        """Read a schedule of probabilities.

        Raises:
            ValueError: as `parse` does, and if it leaves [0, 1].
        """
        found = cls.parse(text)
        if max(found.start, found.end) > 1:
            raise ValueError("START[:END[:FRACTION]] of probabilities, from 0 to 1")
        return found

    @classmethod
    def parse_rate(cls, text: str) -> "LinearSchedule":
        """Read a schedule of step sizes, or of how far a step may go.

        Raises:
            ValueError: as `parse` does, and if it is 0 throughout, so that nothing is learned.
        """
        found = cls.parse(text)
        if found.is_zero:
            raise ValueError("above 0 at some time")
        return found

    @property
    def is_zero(self) -> bool:
        """Whether the value is 0 throughout, so that what it weighs need not be computed."""
        return self.start == 0 and self.end == 0

    def lasts(self, progress: float) -> bool:
        """Whether the value is above 0 at `progress` or will be later."""
        return max(self(progress), self.end) > 0

    def __call__(self, progress: float) -> float:
        """Return the value when `progress` (0 to 1) of the run is done."""
        return self.start + (self.end - self.start) * min(1.0, progress / self.fraction)

    def __str__(self) -> str:
        if self.start == self.end:
            return _text(self.start)
        n_needed = 2 if self.fraction == 1 else 3
        return ":".join(map(_text, self[:n_needed]))


def _text(number: float) -> str:
    """Write a number so that it reads back exactly, as short as a user would."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def refuse_over(
    name: str, schedule: LinearSchedule, *, step: int, total_steps: int, when: str
) -> None:
    """Refuse a schedule that is over before it would first count.

    Args:
        name: of the setting.
        schedule: its value.
        step: from which on it would count.
        total_steps: of the run.
        when: that step in words.

    Raises:
        ValueError: if it is 0 from there on.
    """
    if not schedule.lasts(step / total_steps):
        raise ValueError(
            f"--{name} must be above 0 at some time {when}, got {schedule}, which is over by then:"
            f" it is of all {total_steps:,} steps"
        )


class Every:
    """Tells when a multiple of `period_steps` was reached or crossed since it was last asked.

    Testing `step % period == 0` would miss whenever the stride does not divide the period.
    """

    def __init__(self, period_steps: int, step: int = 0) -> None:
        self.period_steps = period_steps
        self._n_periods = step // period_steps

    def __call__(self, step: int) -> bool:
        """Say whether it is due at `step`; later calls take steps that are no smaller."""
        n_periods = step // self.period_steps
        crossed = n_periods > self._n_periods
        self._n_periods = n_periods
        return crossed
