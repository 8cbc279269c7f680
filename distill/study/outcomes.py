"""Outcomes: what became of finished distillations, from run folders to one CSV file."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill.config import DistillConfig
from distill.errors import of_setting
from distill.floors import highest_in, share_of
from distill.origins import read_origin
from distill.provenance import commit_of
from distill.rows import put_rows
from distill.run_folder import RESULT, read_result
from distill.settings import from_mapping
from distill.study.curves import values_of
from distill.study.plan import decisive, identity
from distill.study.rungs import Rung


class Outcome(NamedTuple):
    """What became of one finished distillation."""

    run: str
    env_id: str
    teacher: str
    student: str
    kind: str  # as `kind_of` calls it
    seed: int
    parameters: int  # of the student's actor
    floor: float  # the higher of the random and the best constant policy's mean score
    teacher_mean: float  # this and all scores below: sampled actions, but for greedy_mean
    student_mean: float
    student_low: float | None  # 95 % interval; none of a single game
    student_high: float | None
    games: int
    greedy_mean: float | None
    score_share: float | None  # (student - floor) / (teacher - floor)
    kl: float
    agreement: float
    steps: int
    updates: int
    train_seconds: float
    commit: str
    machine: str
    command: str
    settings: str  # all of them, JSON
    coverage: float | None = None  # the most that explore/coverage came to
    fresh_kl: float | None = None  # on states of its final games; `kl` is on those of its training

    @property
    def identity(self) -> str:
        """What decided it, as a hash; what it is too old to have counts as at its default.

        Raises:
            ValueError: if they are damaged, or this version has no such settings.
        """
        try:
            settings = {**json.loads(self.settings)}
        except (TypeError, ValueError) as error:
            raise ValueError(f"the settings of run {self.run} are damaged: {error}") from None
        return identity(from_mapping(DistillConfig, settings, origin=self.run))


def beside_teachers(outcomes: Sequence[Outcome], rungs: Sequence[Rung]) -> list[Outcome]:
    """Take shares of what is now on record for the teachers, where they ship, over the same games.

    The records of earlier runs were of other games than their students', or of more. Of students
    that played more games than are on record their own teacher's scores stay.
    """
    rung_of = {rung.zip_name: rung for rung in rungs}
    return [_beside(outcome, rung_of.get(outcome.teacher)) for outcome in outcomes]


def _beside(outcome: Outcome, teacher: Rung | None) -> Outcome:
    if teacher is None or outcome.games > teacher.sampled.n_games:
        return outcome
    teacher = teacher.first(outcome.games)
    share = share_of(outcome.student_mean, teacher=teacher.mean, floor=teacher.floor)
    return outcome._replace(floor=teacher.floor, teacher_mean=teacher.mean, score_share=share)


def read_outcome(run_dir: Path) -> Outcome | None:
    """Return a finished distillation as one row; None for any other run.

    Raises:
        ValueError: if its result.json is damaged, or has settings that this version does not know.
    """
    found, path = read_result(run_dir), run_dir / RESULT
    if found is None:
        return None
    try:
        row = _row(run_dir, found)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None
    with of_setting(str(path)):
        _ = row.identity  # a file of outcomes is spoiled by one that has none
    if not math.isfinite(row.student_mean):
        raise ValueError(f"{path} is damaged: a score of {row.student_mean}")
    return row


def _row(run_dir: Path, found: dict[str, Any]) -> Outcome:
    origin = read_origin(run_dir)
    scores = found["student_score"]
    low, high = scores["sampled"]["ci95"] or (None, None)
    return Outcome(
        run=origin["run"],
        env_id=found["env_id"],
        teacher=found["teacher_chkpt"],
        student=found["student"],
        kind=origin["kind"],
        seed=origin["seed"],
        parameters=found["student_parameters"],
        floor=round(highest_in(found["floors"]), 3),
        teacher_mean=round(found["teacher_score"]["sampled"]["mean"], 3),
        student_mean=round(scores["sampled"]["mean"], 3),
        student_low=_rounded(low),
        student_high=_rounded(high),
        games=scores["sampled"]["n_games"],
        greedy_mean=_rounded(scores["greedy"]["mean"]) if "greedy" in scores else None,
        score_share=None if found["score_share"] is None else round(found["score_share"], 4),
        kl=round(found["kl"], 5),
        agreement=round(found["agreement"], 4),
        steps=found["steps"],
        updates=found["updates"],
        train_seconds=round(found["train_seconds"], 1),
        commit=commit_of(found),
        machine=found["machine"],
        command=origin["command"],
        settings=json.dumps(decisive(found["settings"])),
        coverage=max(values_of(run_dir, "explore/coverage"), default=None),
        fresh_kl=round(found["fresh_kl"], 5) if "fresh_kl" in found else None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def collect_outcomes(run_dirs: Sequence[Path], path: Path) -> int:
    """Add the outcomes of runs to a CSV file, a row each; a run that is in it is replaced.

    Returns:
        How many of them were finished distillations; the others have no row.

    Raises:
        ValueError: if another run of the same name is in it, or one has settings that this version
            does not know.
    """
    found = [row for run_dir in run_dirs if (row := read_outcome(run_dir)) is not None]
    put_rows(path, Outcome, found, is_same=lambda one, other: one.identity == other.identity)
    return len(found)
