"""From a grid to its runs: each with its labels, its settings, and an id made of them."""

import functools
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill.config import DistillConfig
from distill.idle import only_heard
from distill.options import PLACES
from distill.settings import from_mapping, to_mapping
from distill.study.axes import AXES, DEFAULTS, GAMES
from distill.study.grids import BASE, GRIDS
from distill.study.study_config import Shard

WATCHING = ("eval_steps", "eval_greedy", "n_interim_episodes", "log_steps")  # changes nothing


class Run(NamedTuple):
    """One run of a grid."""

    grid: str
    labels: dict[str, str]  # value by axis, those of DEFAULTS included
    cfg: DistillConfig

    @property
    def labels_without_seed(self) -> dict[str, str]:
        """Return the labels without the seed."""
        return {axis: value for axis, value in self.labels.items() if axis != "seed"}

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that depend on the settings that decide its result."""
        return identity(self.cfg)


def decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of plain settings what decides the result; of a teacher, its name."""
    kept = {k: v for k, v in settings.items() if k not in PLACES and k not in WATCHING}
    if kept.get("teacher_chkpt"):
        kept["teacher_chkpt"] = Path(kept["teacher_chkpt"]).name
    return kept


@functools.cache  # a manifest names all its runs whenever one of them changes
def identity(cfg: DistillConfig) -> str:
    """Hash what decides a run's result: settings that anything listens to, the teacher by name."""
    text = json.dumps(decisive(to_mapping(only_heard(cfg))), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def plan(grid: str, teachers: Mapping[tuple[str, str], Path]) -> list[Run]:
    """List the runs of a grid, the most wanted first, each once.

    Args:
        grid: its name in GRIDS.
        teachers: zips by game and grade; runs of others are left out.
    """
    runs: dict[str, Run] = {}
    for block in GRIDS[grid].blocks:
        axes = {axis: (value,) for axis, value in DEFAULTS.items()} | dict(block)
        # Seeds turn slowest: what is first done of a block is each of its cells once.
        names = sorted(axes, key="seed".__ne__)
        for values in itertools.product(*(axes[name] for name in names)):
            labels = dict(zip(names, values, strict=True))
            path = teachers.get((GAMES[labels["game"]], labels["teacher"]))
            if path is not None:
                run = Run(grid, labels, make_config(grid, labels, path))
                runs.setdefault(run.id, run)
    return list(runs.values())


def make_config(grid: str, labels: Mapping[str, str], teacher: Path) -> DistillConfig:
    """Return the settings that a run's labels stand for in a grid."""
    settings = {"env": GAMES[labels["game"]], "teacher_chkpt": teacher, **BASE}
    settings |= {"n_eval_episodes": GRIDS[grid].n_games, **GRIDS[grid].settings}
    for axis, value in labels.items():
        settings |= AXES[axis][value] if axis in AXES else {}
    return only_heard(from_mapping(DistillConfig, settings, origin="grid"))


def shard_of(runs: Sequence[Run], shard: Shard) -> list[Run]:
    """Return one machine's part of the runs.

    Runs of one game and seed, which are held against each other, stay together, as machines round
    and hurry otherwise; and each machine has some of every game.
    """
    groups = dict.fromkeys((run.labels["game"], run.labels["seed"]) for run in runs)
    seeds_of: dict[str, list[str]] = {}
    for game, seed in groups:
        seeds_of.setdefault(game, []).append(seed)
    place = {
        (game, seed): (i + j) % shard.n
        for i, (game, seeds) in enumerate(seeds_of.items())
        for j, seed in enumerate(seeds)
    }
    return [run for run in runs if place[run.labels["game"], run.labels["seed"]] == shard.part - 1]
