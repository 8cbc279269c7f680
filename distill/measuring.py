"""How fast parts of a program work: measured in turn, round by round, and told with their ranges.

What else a shared machine does falls on all parts alike, and ratios are taken within each round.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distill.progress import Progress

WARM_UP_SECONDS = 0.5


class Part(NamedTuple):
    """Something whose speed is measured."""

    unit: str
    measure: Callable[[float], float]  # works at least so many seconds; returns units a second
    peak_mib: Callable[[], float] | None = None  # memory of the process, if it has its own


def repeated(work: Callable[[], int]) -> Callable[[float], float]:
    """Make a measurement of a function that returns how many units of work it did."""

    def measure(seconds: float) -> float:
        n, elapsed, started = 0, 0.0, time.perf_counter()
        while n == 0 or elapsed < seconds:
            n += work()
            elapsed = time.perf_counter() - started
        return n / elapsed

    return measure


def measure_in_turn(
    parts: Mapping[str, Part], repeats: int, seconds: float, *, progress: Progress
) -> dict[str, list[float]]:
    """Warm all parts up, then measure each once a round; returns a rate a round for each."""
    for name, part in parts.items():
        part.measure(min(WARM_UP_SECONDS, seconds))
        progress.update(1, f"({name} is warm)")
    rates: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            rates[name].append(part.measure(seconds))
            progress.update(1, f"({name}: {rates[name][-1]:,.0f} {part.unit})")
    return rates


def summarize(numbers: Sequence[float]) -> dict[str, Any]:
    """Return median and range, and what they are of."""
    return {
        "median": statistics.median(numbers),
        "min": min(numbers),
        "max": max(numbers),
        "rounds": list(numbers),
    }


def describe_part(part: Part, rates: Sequence[float]) -> dict[str, Any]:
    """Return a part's unit and rates, and its peak of memory if it has a process of its own."""
    peak = {} if part.peak_mib is None else {"peak_mib": part.peak_mib()}
    return {"unit": part.unit, **summarize(rates), **peak}


def ratios_of(
    rates: Mapping[str, Sequence[float]], pairs: Iterable[tuple[str, str]]
) -> dict[str, list[float]]:
    """Divide the one part by the other, round by round, for each pair that was measured."""
    return {
        f"{above} / {below}": [a / b for a, b in zip(rates[above], rates[below], strict=True)]
        for above, below in pairs
        if above in rates and below in rates
    }


def table(record: Mapping[str, Any]) -> str:
    """Lay the medians and ranges out, a line each."""
    first = max(map(len, ("part", *record["parts"], *record["ratios"]))) + 2
    lines = [f"{'part':<{first}}{'unit':<11}{'median':>9}   lowest to highest"]
    for name, row in record["parts"].items():
        numbers = f"{row['median']:>9,.0f}   {row['min']:,.0f} to {row['max']:,.0f}"
        peak = f"   (peak {row['peak_mib']:,.0f} MiB)" if "peak_mib" in row else ""
        lines.append(f"{name:<{first}}{row['unit']:<11}{numbers}{peak}")
    for name, row in record["ratios"].items():
        numbers = f"{row['median']:>9.2f}   {row['min']:.2f} to {row['max']:.2f}"
        lines.append(f"{name:<{first}}{'':<11}{numbers}")
    return "\n".join(lines)
