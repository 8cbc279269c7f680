"""Learning curves: from run folders to one CSV file, and those that others published."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from distill.origins import read_origin
from distill.rows import put_rows
from distill.study.naming import is_same_run
from distill.tracking import read_metrics

TEACHER_CURVE = "rollout/ep_rew_mean"
KEPT_TAGS = (TEACHER_CURVE, "eval/mean_reward", "eval/teacher", "eval/floor", "distill/kl")


class Point(NamedTuple):
    """One value of one run's curve, with where it came from."""

    run: str
    kind: str  # as `kind_of` calls it
    env_id: str
    seed: int
    commit: str
    machine: str
    command: str
    step: int
    tag: str
    value: float


def read_curve(run_dir: Path) -> list[Point]:
    """Read the curves of a run folder.

    Raises:
        FileNotFoundError: if it is not a run.
    """
    origin = read_origin(run_dir)
    return [
        Point(**origin, step=row.step, tag=row.tag, value=row.value)
        for row in read_metrics(run_dir)
        if row.tag in KEPT_TAGS
    ]


def values_of(run_dir: Path, tag: str) -> list[float]:
    """Return all that a run logged under a tag."""
    return [row.value for row in read_metrics(run_dir) if row.tag == tag]


def collect(run_dirs: Sequence[Path], path: Path) -> None:
    """Add the curves of runs to a CSV file; those of a run that is in it already are replaced.

    Raises:
        ValueError: if another run's, of the same name, are in it.
    """
    points = [point for run_dir in run_dirs for point in read_curve(run_dir)]
    put_rows(path, Point, points, is_same=is_same_run)


def read_zoo(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the published curves: (steps, mean score) by game."""
    found: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            point = int(row["steps"]), float(row["score_mean"])
            found.setdefault(row["env_id"], []).append(point)
    return found
