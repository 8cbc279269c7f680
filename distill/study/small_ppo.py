"""What PPO scores at a student's size: from runs and their teachers' records to one CSV file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill.floors import highest_in
from distill.origins import read_origin, small_network_of
from distill.protocol import is_of_student_games
from distill.rows import put_rows
from distill.run_folder import read_run
from distill.study.naming import is_same_run
from distill.study.rungs import teacher_records


class SmallScore(NamedTuple):
    """What the last policy of one run of PPO scored: sampled actions, whole games."""

    run: str
    kind: str  # as `kind_of` calls it
    env_id: str
    seed: int
    steps: int
    floor: float  # the higher of the random and the best constant policy's mean score
    mean: float
    low: float  # 95 % interval over games
    high: float
    games: int
    wall_seconds: float
    commit: str
    machine: str
    command: str


def read_small_score(run_dir: Path) -> SmallScore | None:
    """Return what a run scored; None if it is not PPO at a student's size, or has no score yet.

    A single game, which has no interval, is no score, nor are other games than students'.

    Raises:
        ValueError: if a record beside its teachers is damaged.
    """
    origin = read_origin(run_dir)
    if small_network_of(origin["kind"]) is None:
        return None
    folder = Path(read_run(run_dir)["settings"]["teachers_dir"])
    last = _last_record(folder, {name: origin[name] for name in ("run", "env_id", "seed")})
    evaluation = last.get("evaluation", {})
    if not is_of_student_games(evaluation) or evaluation["sampled"]["ci95"] is None:
        return None
    sampled = evaluation["sampled"]
    low, high = sampled["ci95"]
    return SmallScore(
        **origin,
        steps=last["steps"],
        floor=highest_in(evaluation["floors"]),
        mean=sampled["mean"],
        low=low,
        high=high,
        games=sampled["n_games"],
        wall_seconds=last["wall_seconds"],
    )


def _last_record(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a run's teacher of most steps; an empty one if it has none.

    Args:
        folder: where the teachers are, others' too.
        run: its name, game and seed, as records have them.
    """
    mine = [record for record in teacher_records(folder).values() if run.items() <= record.items()]
    return max(mine, key=lambda record: record["steps"], default={})


def collect_small_scores(run_dirs: Sequence[Path], path: Path) -> int:
    """Add the scores of runs to a CSV file, a row each; a run that is in it is replaced.

    Returns:
        How many of the runs had one.

    Raises:
        ValueError: if another run of the same name is in it.
    """
    found = [row for run_dir in run_dirs if (row := read_small_score(run_dir)) is not None]
    put_rows(path, SmallScore, found, is_same=is_same_run)
    return len(found)
