"""Results: from run folders and teachers' records to CSV files, and back to plain records."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill.files import write_text
from distill.tracking import CSV_COLUMNS, read_run

TEACHER_CURVE = "rollout/ep_rew_mean"
TAGS = (TEACHER_CURVE, "eval/mean_reward", "eval/teacher", "eval/floor", "distill/kl")


class Point(NamedTuple):
    """One value of one run's curve, with where it came from."""

    run: str
    kind: str  # teacher, plain or curious
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
    record = read_run(run_dir)
    settings = record["settings"]
    kind = "teacher" if "student" not in settings else "plain"
    if settings.get("use_curiosity"):
        kind = "curious"
    origin = (run_dir.name, kind, settings["env"], int(settings["seed"]), str(record["commit"]))
    command = " ".join(without_places(list(map(str, record["argv"]))))
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = csv.DictReader(file, CSV_COLUMNS)
        return [
            Point(
                *origin,
                record["machine"],
                command,
                int(row["step"]),
                row["tag"],
                float(row["value"]),
            )
            for row in rows
            if row["tag"] in TAGS
        ]


def without_places(argv: list[str]) -> list[str]:
    """Drop from a command line where things lay on one machine, and how many threads it had."""
    places = ("--run_dir", "--teachers_dir", "--n_threads")
    kept = [
        word
        for before, word in zip(["", *argv], argv, strict=False)
        if word not in places and before not in places
    ]
    return [Path(word).name if Path(word).is_absolute() else word for word in kept]


def collect(run_dirs: Sequence[Path], path: Path) -> None:
    """Add the curves of runs to a CSV file; those of a run that is in it already are replaced."""
    names = {run_dir.name for run_dir in run_dirs}
    kept = [point for point in read_points(path) if point.run not in names] if path.exists() else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    writer.writerows([*kept, *(point for run_dir in run_dirs for point in read_curve(run_dir))])
    write_text(path, text.getvalue())


def read_points(path: Path) -> list[Point]:
    """Read what `collect` wrote."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return [
            Point(
                **{
                    **row,
                    "seed": int(row["seed"]),
                    "step": int(row["step"]),
                    "value": float(row["value"]),
                }
            )
            for row in rows
        ]


def read_result(run_dir: Path) -> dict[str, object] | None:
    """Return a finished distillation as one row; None for any other run."""
    path = run_dir / "result.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    low, high = found["student_score"]["sampled"]["ci95"]
    origin = read_curve(run_dir)[0]
    return {
        "run": run_dir.name,
        "env_id": found["env_id"],
        "student": found["student"],
        "kind": origin.kind,
        "seed": origin.seed,
        "teacher_mean": round(found["teacher_score"]["sampled"]["mean"], 3),
        "student_mean": round(found["student_score"]["sampled"]["mean"], 3),
        "student_low": round(low, 3),
        "student_high": round(high, 3),
        "games": found["student_score"]["sampled"]["n_games"],
        "greedy_mean": round(found["student_score"]["greedy"]["mean"], 3),
        "score_share": round(found["score_share"], 4),
        "kl": round(found["kl"], 5),
        "agreement": round(found["agreement"], 4),
        "steps": found["steps"],
        "updates": found["updates"],
        "train_seconds": round(found["train_seconds"], 1),
        "commit": found["commit"],
        "machine": found["machine"],
        "command": origin.command,
    }


def collect_results(run_dirs: Sequence[Path], path: Path) -> None:
    """Add the results of runs to a CSV file, a row each; a run that is in it is replaced."""
    rows = {}
    if path.exists():
        with path.open(newline="") as file:
            rows = {row["run"]: row for row in csv.DictReader(file)}
    found = [row for run_dir in run_dirs if (row := read_result(run_dir)) is not None]
    rows |= {str(row["run"]): row for row in found}
    if not rows:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(next(iter(rows.values()))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    write_text(path, text.getvalue())


class Rung(NamedTuple):
    """A teacher of the ladder and its sampled score, beside the floors."""

    env_id: str
    steps: int
    mean: float
    low: float
    high: float
    random: float
    constant: float


def scored_teachers(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the records of a folder's scored teachers: by name, fewest steps first."""
    records = {path.stem: json.loads(path.read_text()) for path in folder.glob("env*.json")}
    scored = {name: record for name, record in records.items() if "evaluation" in record}
    return dict(sorted(scored.items(), key=lambda item: item[1]["steps"]))


def read_rungs(folder: Path) -> list[Rung]:
    """Read the scores of all scored teachers in a folder, by steps."""
    rungs = []
    for record in scored_teachers(folder).values():
        sampled, floors = (record["evaluation"][key] for key in ("sampled", "floors"))
        means = [floors[name]["mean"] for name in ("random", "constant")]
        score = sampled["mean"], *sampled["ci95"]
        rungs.append(Rung(record["env_id"], record["steps"], *score, *means))
    return rungs


def read_zoo(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the published curves: (steps, mean score) by game."""
    found: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            point = int(row["steps"]), float(row["score_mean"])
            found.setdefault(row["env_id"], []).append(point)
    return found
