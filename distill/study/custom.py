"""A custom study: the YAML file of a question of one's own, and the runs that answer it.

    settings: {env: BreakoutNoFrameskip-v4, total_steps: 25000}  # of all runs
    seeds: 5                                                     # 0 to 4
    axes:                                                        # all combinations are run
      student: [net3, 1pct]                                      # values of the setting so called
      arm: {plain: {}, curious: {use_curiosity: true}}           # or names for any settings

The last axis is the one in question: its values are held against its first.
"""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from distill.config import PLACES, DistillConfig
from distill.errors import of_setting
from distill.idle import only_heard, refuse_idle
from distill.parsing import count
from distill.player import find_game
from distill.settings import from_mapping, non_defaults, read_yaml
from distill.study.axes import Values
from distill.study.grids import BASE
from distill.study.plan import Run
from distill.task import find_teacher
from distill.teacher_files import check_exists, env_id_of, title_of

KEYS = ("settings", "seeds", "axes")
DEFAULT_SEEDS, MAX_SEEDS = "3", 1000
TAKEN = ("seed", "game")  # axes that every study has
# Settings that are the command's, or the number of seeds'; how often to save may be told.
NOT_OF_STUDIES = {"seed", *PLACES} - {"checkpoint_steps"}
FORMS = "[VALUE, ...] of the setting so called, or {NAME: {SETTING: VALUE}, ...}"


class Study(NamedTuple):
    """What such a file says."""

    settings: dict[str, Any]
    n_seeds: int
    axes: dict[str, Values]


def plan_custom(path: Path) -> list[Run]:
    """List the runs of a study, seeds turning slowest, as `plan.plan` does.

    Raises:
        FileNotFoundError: if there is no such file, or no teacher of a game.
        ValueError: if it says anything that is no study, a setting would change nothing, or two
            combinations were one run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--grid must be a study or a .yaml file, got {path}: no such file")
    with of_setting("--grid"):
        found = read_yaml(path)
    with of_setting(f"--grid {path}"):
        return _runs(path.stem, _parse(found))


def _parse(found: Mapping[str, Any]) -> Study:
    if unknown := [str(key) for key in found if key not in KEYS]:
        raise ValueError(f"a study has {', '.join(KEYS)}, got {', '.join(unknown)}")
    settings = _mapping("settings", found.get("settings"))
    text = str(found.get("seeds", DEFAULT_SEEDS))
    try:
        n_seeds = count(1, most=MAX_SEEDS)(text)
    except ValueError as error:
        raise ValueError(f"seeds must be {error}, got {text!r}") from None
    named = _mapping("axes", found.get("axes"))
    axes = {axis: _values(axis, values) for axis, values in named.items()}
    names = [*settings, *(name for axis in axes.values() for name in _set_by(axis))]
    if theirs := [name for name in names if name in NOT_OF_STUDIES]:
        raise ValueError(f"{theirs[0]} is no setting of a study's: see `seeds`, and --help")
    for one, other in itertools.combinations(axes, 2):
        if both := _set_by(axes[one]) & _set_by(axes[other]):
            raise ValueError(f"axes {one} and {other} both set {', '.join(sorted(both))}")
    return Study(settings, n_seeds, axes)


def _mapping(what: str, found: object) -> dict[str, Any]:
    """Return a mapping with names for keys; an empty one for nothing."""
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{what} must be `name: value` lines, got {found!r}")
    for name in found:
        if isinstance(name, bool):
            raise ValueError(f"{what}: YAML reads {name} from on, off, yes or no without quotes")
        if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= 40:
            raise ValueError(f"{what}: a name must be text of 1 to 40 letters, got {name!r}")
    return found


def _values(axis: str, found: object) -> Values:
    if axis in TAKEN:
        raise ValueError(f"axes: {axis} is told by `seeds` and by env, and no name for another")
    if isinstance(found, list):
        single = [value for value in found if isinstance(value, str | bool)]
        values = {v if isinstance(v, str) else str(v).lower(): {axis: v} for v in single}
        if len(values) != len(found):
            raise ValueError(f"axis {axis} must have single values, each once, got {found}")
        found = values
    if not isinstance(found, dict) or not found:
        raise ValueError(f"axis {axis} must have values, {FORMS}")
    of_axis = f"axis {axis}"
    return {name: _mapping(of_axis, value) for name, value in _mapping(of_axis, found).items()}


def _set_by(values: Values) -> set[str]:
    return {name for changes in values.values() for name in changes}


def _runs(name: str, study: Study) -> list[Run]:
    runs: dict[str, Run] = {}
    unheard: list[set[str]] = []
    for seed in map(str, range(study.n_seeds)):
        for values in itertools.product(*study.axes.values()):
            labels = dict(zip(study.axes, values, strict=True))
            asked = _config(study, labels, seed)
            heard = only_heard(asked)
            unheard.append(non_defaults(asked).keys() - non_defaults(heard).keys())
            assert heard.env is not None
            run = Run(name, {"seed": seed, "game": title_of(heard.env)} | labels, heard)
            if (other := runs.setdefault(run.id, run)) is not run:
                one, two = (", ".join([*r.labels.values()][2:]) for r in (other, run))
                raise ValueError(f"{one} and {two} would be one run: they set the same")
    if idle := set.intersection(*unheard):
        raise ValueError(f"{', '.join(sorted(idle))} would change nothing in any of the runs")
    return list(runs.values())


def _config(study: Study, labels: Mapping[str, str], seed: str) -> DistillConfig:
    """Return a run's settings, with its teacher and game, which decide it, found."""
    settings = {**BASE, **study.settings, "seed": seed}
    for axis, value in labels.items():
        settings |= study.axes[axis][value]
    cfg = from_mapping(DistillConfig, settings, origin="the file")
    teacher, env_id = _find(cfg.teacher_chkpt, cfg.env)
    cfg = replace(cfg, teacher_chkpt=teacher, env=env_id)
    refuse_idle(cfg)
    return cfg


@functools.cache  # to find the best one all of a game's are read
def _find(teacher_chkpt: Path | None, env: str | None) -> tuple[Path, str]:
    path = find_teacher(DistillConfig(teacher_chkpt=teacher_chkpt, env=env))
    check_exists(path)
    return path, find_game(env, {str(path): env_id_of(path)})
