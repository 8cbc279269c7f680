"""The studies: which runs of `run_distillation.py` answer which question.

A grid is a list of blocks, the most wanted first; a block is every combination of some values of
some axes. A value is a name for the settings that it changes from the defaults.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill import cli
from distill.cli import MAX_STEPS
from distill.config import DistillConfig, decisive
from distill.results import teacher_records
from distill.types import WIDTHS

Values = Mapping[str, Mapping[str, Any]]
Block = Mapping[str, Sequence[str]]  # names of values, by axis

BUDGET = DistillConfig.total_steps
# A study scores its students once, at the end, by the policy that is compared: sampled actions.
BASE: Mapping[str, Any] = {"eval_steps": MAX_STEPS, "eval_greedy": False}
GRADES = ("good", "medium", "bad")
GAMES = {"Freeway": "FreewayNoFrameskip-v0", "Pong": "PongNoFrameskip-v4"}


def _curious(curiosity: str, **more: Any) -> dict[str, Any]:
    return {"use_curiosity": True, "curiosity": curiosity, **more}


AXES: Mapping[str, Values] = {
    "student": {name: {"student": widths} for name, widths in WIDTHS.items()},
    "budget": {
        "eighth": {"total_steps": BUDGET // 8},
        "quarter": {"total_steps": BUDGET // 4},
        "half": {"total_steps": BUDGET // 2},
        "whole": {"total_steps": BUDGET},
        "double": {"total_steps": 2 * BUDGET},
        "fourfold": {"total_steps": 4 * BUDGET},
    },
    "arm": {
        "plain": {},
        "aux": _curious("aux"),
        "bonus": _curious("bonus"),
        "both": _curious("both"),
        "rnd": _curious("bonus", curiosity_source="rnd"),
        "both + uncertainty": _curious("both", use_uncertainty=True, uncertainty_target="both"),
        "uncertainty": {"use_uncertainty": True},
    },
    "loss": {
        "kl": {},
        **{name: {"loss": name} for name in ("reverse_kl", "js", "nll", "mse")},
        **{f"kl, teacher / {tau:g}": {"temperature": tau} for tau in (0.01, 0.1, 3.0)},
        **{
            f"kl, both / {tau:g}": {"temperature": tau, "match_temperature": True}
            for tau in (0.01, 0.1, 3.0)
        },
    },
    "initial weights": {"standardized": {}, "random": {"data_init": False}},
    "actor": {
        "student": {},
        "mixture": {"teacher_mix": "0.5"},
        "teacher": {"teacher_mix": "1"},
    },
    "sampling": {
        "uniform": {"n_candidates": 1},
        "best 2 of": {"n_candidates": 2},
        "best 4 of": {"n_candidates": 4},
    },
    "setting": {  # each trains on as many samples a step, so that it takes about as long
        "defaults": {},
        "batch 64, twice as often": {"batch_size": 64, "steps_per_update": 8},
        "batch 256, half as often": {"batch_size": 256, "steps_per_update": 32},
        "half the learning rate": {"learning_rate": "5e-4:0"},
        "twice the learning rate": {"learning_rate": "2e-3:0"},
        "constant learning rate": {"learning_rate": "1e-3"},
        "a quarter of the ring": {"ring_size": DistillConfig.ring_size // 4},
        "no random actions": {"epsilon": "0"},
    },
    "seed": {str(seed): {"seed": seed} for seed in range(10)},
}

BOTH_GAMES = tuple(GAMES)
FIVE, THREE = ("0", "1", "2", "3", "4"), ("0", "1", "2")
FIRST_ARMS = ("plain", "aux", "bonus", "both")
LATER_ARMS = ("rnd", "both + uncertainty", "uncertainty")
SMALL = ("net3", "1pct")

BLOCKS: Mapping[str, Sequence[Block]] = {
    "students": (
        {"student": ("net3", "net2", "net1"), "game": BOTH_GAMES, "seed": FIVE},
        {"student": ("1pct", "0.3pct", "0.1pct"), "game": BOTH_GAMES, "seed": THREE},
        {"student": ("nature",), "game": BOTH_GAMES, "seed": ("0",)},
        {"student": ("1pct",), "game": BOTH_GAMES, "seed": THREE, "budget": ("fourfold",)},
    ),
    "budgets": (
        {
            "budget": ("eighth", "quarter", "half", "whole", "double"),
            "game": BOTH_GAMES,
            "seed": THREE,
        },
    ),
    "initialization": (
        {
            "initial weights": tuple(AXES["initial weights"]),
            "game": BOTH_GAMES,
            "seed": THREE,
            "budget": ("quarter",),
        },
    ),
    "losses": (
        {"loss": tuple(AXES["loss"]), "game": ("Freeway",), "seed": THREE, "budget": ("half",)},
        {"loss": tuple(AXES["loss"]), "game": ("Pong",), "seed": THREE, "budget": ("half",)},
    ),
    "actors": (
        {
            "student": SMALL,
            "actor": tuple(AXES["actor"]),
            "game": BOTH_GAMES,
            "seed": THREE,
            "budget": ("half",),
        },
    ),
    "sampling": (
        {
            "sampling": tuple(AXES["sampling"]),
            "game": BOTH_GAMES,
            "seed": THREE,
            "budget": ("quarter",),
        },
    ),
    "settings": (
        {
            "setting": tuple(AXES["setting"]),
            "game": BOTH_GAMES,
            "seed": THREE,
            "budget": ("quarter",),
        },
    ),
    "curiosity": (
        {"arm": FIRST_ARMS, "game": BOTH_GAMES, "seed": FIVE, "budget": ("quarter",)},
        {"arm": FIRST_ARMS, "game": BOTH_GAMES, "seed": THREE, "budget": ("whole",)},
        {"arm": LATER_ARMS, "game": BOTH_GAMES, "seed": FIVE, "budget": ("quarter",)},
        {
            "arm": FIRST_ARMS,
            "game": BOTH_GAMES,
            "seed": FIVE,
            "budget": ("quarter",),
            "teacher": ("medium", "bad"),
        },
    ),
}


class Run(NamedTuple):
    """One run of a grid."""

    grid: str
    labels: dict[str, str]  # value by axis, those of DEFAULTS included
    cfg: DistillConfig

    @property
    def cell(self) -> dict[str, str]:
        """Return the labels without the seed, the axes in alphabetical order."""
        return {axis: self.labels[axis] for axis in sorted(self.labels) if axis != "seed"}

    @property
    def id(self) -> str:
        """Ten letters that depend on all settings but those of place and machine."""
        return identity(self.cfg)


DEFAULTS = {"student": "net3", "game": "Freeway", "teacher": "good", "budget": "whole"}


def identity(cfg: DistillConfig) -> str:
    """Hash what decides a run's result: its settings, the teacher by name."""
    text = json.dumps(decisive(cli.to_yaml(cfg)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def teachers_by_grade(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the zips whose .json names a grade, by game and grade.

    Raises:
        ValueError: if two of a game have the same grade.
    """
    found: dict[tuple[str, str], Path] = {}
    for name, record in teacher_records(folder).items():
        if "grade" not in record:
            continue
        key, path = (record["env_id"], record["grade"]), folder / f"{name}.json"
        if key in found:
            raise ValueError(f"{path} and {found[key]} are both the {key[1]} teacher of {key[0]}")
        found[key] = path.with_suffix(".zip")
    return found


def plan(grid: str, teachers: Mapping[tuple[str, str], Path]) -> list[Run]:
    """List the runs of a grid, the most wanted first, each once.

    Args:
        grid: its name in BLOCKS.
        teachers: zips by game and grade; runs of others are left out.
    """
    runs: dict[str, Run] = {}
    for block in BLOCKS[grid]:
        axes = {axis: (value,) for axis, value in DEFAULTS.items()} | dict(block)
        # Seeds turn slowest: what is first done of a block is each of its cells once.
        names = sorted(axes, key="seed".__ne__)
        for values in itertools.product(*(axes[name] for name in names)):
            labels = dict(zip(names, values, strict=True))
            path = teachers.get((GAMES[labels["game"]], labels["teacher"]))
            if path is not None:
                run = Run(grid, labels, make_config(labels, path))
                runs.setdefault(run.id, run)
    return list(runs.values())


def make_config(labels: Mapping[str, str], teacher: Path) -> DistillConfig:
    """Return the settings that a run's labels stand for."""
    settings = {"env": GAMES[labels["game"]], "teacher_chkpt": teacher, **BASE}
    for axis, value in labels.items():
        settings |= AXES.get(axis, {}).get(value, {})
    return cli.from_mapping(DistillConfig, settings, origin="grid")
