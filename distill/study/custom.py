"""A custom study: the runs that answer a question of one's own."""

import functools
import itertools
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.config import DistillConfig
from distill.errors import of_setting
from distill.game_names import title_of
from distill.idle import only_heard, refuse_idle
from distill.settings import from_mapping, non_defaults, read_yaml
from distill.study.custom_file import CustomStudy, parse_study
from distill.study.grids import BASE
from distill.study.plan import Run, identity
from distill.task import check_ring, make_games, prepare

Combination = tuple[str, ...]  # a value of each axis


def plan_custom(path: Path) -> list[Run]:
    """List the runs of a study, seeds turning slowest, as `plan.plan` does.

    Raises:
        FileNotFoundError: if there is no such file, or no teacher of a game.
        ValueError: if it says anything that is no study, a setting would change nothing, or two
            combinations were one run.
    """
    with of_setting("--grid"):
        found = read_yaml(path)
    with of_setting(f"--grid {path}"):
        return _runs(path.stem, parse_study(found))


def _runs(name: str, study: CustomStudy) -> list[Run]:
    combinations = list(itertools.product(*study.axes.values()))
    asked = {values: _config(study, values) for values in combinations}
    heard = {values: only_heard(cfg) for values, cfg in asked.items()}
    changed = {values: non_defaults(cfg).keys() for values, cfg in asked.items()}
    _refuse_unheard(study, {x: changed[x] - non_defaults(cfg).keys() for x, cfg in heard.items()})
    _refuse_twins(heard)
    runs = []
    for seed, values in itertools.product(range(study.n_seeds), combinations):
        cfg = replace(heard[values], seed=seed)
        labels = dict(zip(study.axes, values, strict=True))
        labels = {"seed": str(seed), "game": title_of(str(cfg.env))} | labels
        runs.append(Run(name, labels, cfg))
    return runs


def _config(study: CustomStudy, values: Combination) -> DistillConfig:
    """Return the settings of a combination, with teacher and game found, as runs record them."""
    settings, labels = {**BASE, **study.settings}, dict(zip(study.axes, values, strict=True))
    for axis, value in labels.items():
        settings |= study.axes[axis][value]
    where = ", ".join(f"{axis} {value}" for axis, value in labels.items())
    with of_setting(where) if where else nullcontext():
        cfg = from_mapping(DistillConfig, settings, origin="the file")
        found, n_stack = _find(cfg.teacher_chkpt, cfg.env)
        cfg = replace(cfg, **found)
        check_ring(cfg, n_stack)
        refuse_idle(cfg)
    return cfg


@functools.cache  # networks are read, and to find the best teacher all of a game's are
def _find(teacher_chkpt: Path | None, env: str | None) -> tuple[dict[str, Any], int]:
    """Return which teacher and game settings stand for, and how many frames the teacher sees.

    Raises:
        FileNotFoundError, ValueError: if they are not there, or do not fit each other.
    """
    task = prepare(DistillConfig(teacher_chkpt=teacher_chkpt, env=env))
    make_games(task, 1, seed=0, training=False).close()
    return {"teacher_chkpt": task.teacher_path, "env": task.env_id}, task.teacher.n_stack


def _refuse_unheard(study: CustomStudy, unheard: Mapping[Combination, AbstractSet[str]]) -> None:
    """Refuse what is set in vain wherever it is set; `unheard`: what is in each combination."""
    given: dict[str, tuple[Mapping[str, Any], list[AbstractSet[str]]]] = {
        "settings": (study.settings, list(unheard.values()))
    }
    for i, (axis, values) in enumerate(study.axes.items()):
        for value, changes in values.items():
            mine = [found for combination, found in unheard.items() if combination[i] == value]
            given[f"axis {axis}, {value}"] = changes, mine
    for where, (changes, found) in given.items():
        if idle := sorted(set(changes).intersection(*found)):
            raise ValueError(f"{where}: {', '.join(idle)} would change nothing")


def _refuse_twins(heard: Mapping[Combination, DistillConfig]) -> None:
    """Refuse two combinations that, for all that counts, are one run."""
    first: dict[str, Combination] = {}
    for values, cfg in heard.items():
        other = first.setdefault(identity(cfg), values)
        if (theirs := heard[other].teacher_chkpt) != cfg.teacher_chkpt:
            raise ValueError(
                f"{theirs} and {cfg.teacher_chkpt} have one name, by which runs are known: rename"
                " one of these teachers"
            )
        if other != values:
            raise ValueError(
                f"{', '.join(other)} and {', '.join(values)} would be one run, as they set the"
                " same, or differ in what nothing listens to"
            )
