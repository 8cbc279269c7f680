"""The file of a custom study: a question of one's own, in YAML.

    settings: {env: BreakoutNoFrameskip-v4, total_steps: 25000}  # of all runs
    seeds: 5                                                     # 0 to 4
    axes:                                                        # all combinations are run
      student: [net3, 1pct]                                      # values of the setting so called
      arm: {plain: {}, curious: {use_curiosity: true}}           # or names for any settings

The last axis is the one in question: its values are held against its first.
"""

import itertools
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from distill.config import DistillConfig
from distill.options import PLACES
from distill.parsing import number
from distill.study.axes import Values

KEYS = ("settings", "seeds", "axes")
DEFAULT_SEEDS, MAX_RUNS = 3, 10_000
MAX_NAME = 40  # letters
TAKEN = {"seed": "`seeds`", "game": "env"}  # axes that every study has, and what tells them
SETTINGS = {f.name for f in fields(DistillConfig)}
SHORT = reprlib.Repr()
SHORT.maxlevel = 2  # by aliases, a kilobyte of YAML may stand for gigabytes
# Settings that are the command's, or the number of seeds'; how often to save may be told.
NOT_OF_STUDIES = {"seed", *PLACES} - {"checkpoint_steps"}

parse_seeds = number(int, "a whole number from 1 to 1000", lambda x: 1 <= x <= 1000)


class CustomStudy(NamedTuple):
    """What such a file says."""

    settings: dict[str, Any]
    n_seeds: int
    axes: dict[str, Values]


def parse_study(found: Mapping[str, Any]) -> CustomStudy:
    """Check what a file says.

    Raises:
        ValueError: if it is no study.
    """
    if unknown := [str(key) for key in found if key not in KEYS]:
        raise ValueError(f"a study has {', '.join(KEYS)}, got {', '.join(unknown)}")
    settings = _mapping("settings", found.get("settings"))
    seeds = found.get("seeds")
    text = str(DEFAULT_SEEDS if seeds is None else seeds)
    try:
        n_seeds = parse_seeds(text)
    except ValueError as error:
        raise ValueError(f"seeds must be {error}, got {text!r}") from None
    named = _mapping("axes", found.get("axes"))
    axes = {axis: _values(axis, values) for axis, values in named.items()}
    _check_names(settings, axes)
    n_runs = n_seeds * math.prod(map(len, axes.values()))
    if n_runs > MAX_RUNS:
        raise ValueError(f"a study has at most {MAX_RUNS:,} runs, got {n_runs:,}")
    return CustomStudy(settings, n_seeds, axes)


def _check_names(settings: Mapping[str, Any], axes: Mapping[str, Values]) -> None:
    for one, other in itertools.combinations(axes, 2):
        if both := sorted({*_set_by(axes[one])} & {*_set_by(axes[other])}):
            raise ValueError(f"axes {one} and {other} both set {', '.join(both)}")
    for setting in (*settings, *(name for values in axes.values() for name in _set_by(values))):
        if setting in NOT_OF_STUDIES:
            raise ValueError(f"{setting} is no setting of a study's: see `seeds`, and --help")
        if setting not in SETTINGS:
            raise ValueError(f"{setting} is no setting of run_distillation.py's")


def _mapping(what: str, found: object) -> dict[str, Any]:
    """Return a mapping with names for keys; an empty one for nothing."""
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{what} must be `name: value` lines, got {SHORT.repr(found)}")
    for name in found:
        if isinstance(name, bool):
            raise ValueError(f"{what}: YAML reads {name} from on, off, yes or no without quotes")
        if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_NAME:
            raise ValueError(f"{what}: a name must have 1 to {MAX_NAME} letters, got {name!r}")
    return found


def _values(axis: str, found: object) -> Values:
    if axis in TAKEN:
        raise ValueError(f"axes: {axis} is told by {TAKEN[axis]}, and no name for another")
    if isinstance(found, list) and found:
        return _listed(axis, found)
    if not isinstance(found, dict) or not found:
        raise ValueError(
            f"axis {axis} must have values: [VALUE, ...] of the setting of that name, or"
            " {NAME: {SETTING: VALUE}, ...}"
        )
    named = _mapping(f"axis {axis}", found)
    return {name: _mapping(f"axis {axis}, {name}", value) for name, value in named.items()}


def _listed(axis: str, found: Sequence[object]) -> Values:
    """Return the values of a setting by their names: themselves, of a file its name alone."""
    if axis not in SETTINGS:
        raise ValueError(
            f"axis {axis} is no setting, of which there could be a list: give"
            " {NAME: {SETTING: VALUE}, ...}"
        )
    values: dict[str, dict[str, Any]] = {}
    for value in found:
        if not isinstance(value, str | bool):
            raise ValueError(
                f"axis {axis} must list single values, got {value}; what has commas needs quotes"
            )
        text = value if isinstance(value, str) else str(value).lower()
        name = Path(text).stem if axis == "teacher_chkpt" else text
        if name in values:
            raise ValueError(f"axis {axis} has {name} twice")
        values[name] = {axis: value}
    return values


def _set_by(values: Values) -> list[str]:
    return [name for changes in values.values() for name in changes]
