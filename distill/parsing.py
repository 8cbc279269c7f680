"""From the text of a setting to its value: each parser raises ValueError with what is allowed."""

import math
from collections.abc import Callable
from typing import Any

Parse = Callable[[str], Any]
MAX_STEPS = 10**12  # and of anything else that is counted: more has no place in any memory
MAX_GAMES = 10**5  # played at once; the emulator counts them in 32 bits
LARGEST = 1e38  # of settings; 1 / LARGEST is the smallest above 0: float32 holds both


def within_float32(value: float) -> float:
    """Return a number that is 0 or neither too large nor too small to compute with."""
    if value and not 1 / LARGEST <= abs(value) <= LARGEST:
        raise ValueError(f"from {1 / LARGEST:.0e} to {LARGEST:.0e}, or 0")
    return value


def number(kind: type[int] | type[float], allowed: str, test: Callable[[float], bool]) -> Parse:
    """Make a parser for a finite number that passes `test`; `allowed` describes it in errors."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(allowed) from None
        if (kind is float and not math.isfinite(value)) or not test(value):
            raise ValueError(allowed)
        return value if kind is int else within_float32(value)

    return parse


threads = number(int, "a whole number from 1 to 1024", lambda x: 1 <= x <= 1024)
seed = number(int, "a whole number from 0 to 2^63 - 1", lambda x: 0 <= x < 2**63)
positive = number(float, "a number above 0", lambda x: x > 0)
nonnegative = number(float, "a number of at least 0", lambda x: x >= 0)
fraction = number(float, "a number from 0 to 1", lambda x: 0 <= x <= 1)
share = number(float, "a number of at least 0 and below 1", lambda x: 0 <= x < 1)


def count(least: int, most: int = MAX_STEPS) -> Parse:
    """Make a parser for a number of games, samples, states."""
    parse = number(int, f"a whole number of at least {least}", lambda x: x >= least)

    def parse_count(text: str) -> int:
        value = parse(text)
        if value > most:
            raise ValueError(f"at most {most:.0e}")
        return value

    return parse_count


positive_int, nonnegative_int = count(1), count(0)
parallel_games = count(1, most=MAX_GAMES)


def steps(text: str) -> int:
    """Read a number of steps, as `10000000` or `1e7`."""
    allowed = f"a whole number of steps from 1 to {MAX_STEPS:.0e}, such as 200000 or 2e5"
    try:
        value = float(text)
    except ValueError:
        raise ValueError(allowed) from None
    if not 1 <= value <= MAX_STEPS or value != int(value):
        raise ValueError(allowed)
    return int(value)


def flag(text: str) -> bool:
    """Read a truth value as Python and YAML write it."""
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def one_of(*names: str) -> Parse:
    """Make a parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError("one of " + ", ".join(names))
        return text

    return parse
