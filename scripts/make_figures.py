"""Draw the figures of the README from scripts/results and the records of teachers.

    python scripts/make_figures.py                          # -> scripts/figures/*.png
    python scripts/make_figures.py --collect runs/A runs/B  # first add these runs' curves

What is drawn depends alone on the CSV files and on the .json files beside the teachers.
`zoo_ppo_curves.csv` has the learning curves of the agents that rl-baselines3-zoo published (MIT),
from their monitor files: score of the games that ended within 50,000 steps before `steps`.
"""

import argparse
import csv
import functools
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import _bootstrap  # noqa: F401 (puts the root on sys.path)

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill import cli
from distill.files import write_atomically, write_text
from distill.tracking import CSV_COLUMNS, read_run

HERE = Path(__file__).resolve().parent
CURVES, RESULTS = HERE / "results" / "curves.csv", HERE / "results" / "distillation.csv"
ZOO = HERE / "results" / "zoo_ppo_curves.csv"
TEACHERS = HERE.parent / "teachers"
FIGURES = HERE / "figures"
TAGS = ("rollout/ep_rew_mean", "eval/mean_reward", "eval/teacher", "eval/floor", "distill/kl")
LABELS = {"teacher": "PPO teacher learning", "plain": "student", "curious": "curious student"}


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
    command = " ".join(_without_places(list(map(str, record["argv"]))))
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


def _without_places(argv: list[str]) -> list[str]:
    """Drop where things lay on one machine from a command line."""
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
    kept = [point for point in load(path) if point.run not in names] if path.exists() else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    writer.writerows([*kept, *(point for run_dir in run_dirs for point in read_curve(run_dir))])
    write_text(path, text.getvalue())


def load(path: Path) -> list[Point]:
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


def curve(points: Iterable[Point], run: str, tag: str) -> tuple[list[int], list[float]]:
    """Return steps and values of one curve."""
    found = [(p.step, p.value) for p in points if p.run == run and p.tag == tag]
    return [step for step, _ in found], [value for _, value in found]


def draw_game(axes: Axes, points: Sequence[Point], env_id: str) -> None:
    """Draw score against steps for one game: teacher, students, and the floor beneath them."""
    mine = [p for p in points if p.env_id == env_id]
    for run, kind in dict.fromkeys((p.run, p.kind) for p in mine):
        tag = "rollout/ep_rew_mean" if kind == "teacher" else "eval/mean_reward"
        axes.plot(
            *curve(mine, run, tag), label=LABELS[kind], marker="" if kind == "teacher" else "."
        )
    for tag, style in (("eval/teacher", "--"), ("eval/floor", ":")):
        values = [p.value for p in mine if p.tag == tag]
        if values:
            axes.axhline(values[-1], linestyle=style, color="gray", label=tag.removeprefix("eval/"))
    axes.set(xscale="log", xlabel="agent steps", ylabel="score of whole games", title=env_id)
    axes.legend(fontsize="small")


def panels(games: Sequence[str]) -> tuple[Figure, list[tuple[Axes, str]]]:
    """Make a figure with a panel a game."""
    figure = Figure(figsize=(5.5 * len(games), 3.6), layout="constrained")
    axes = figure.subplots(1, len(games), squeeze=False)[0]
    return figure, list(zip(axes, games, strict=True))


def draw_curves(points: Sequence[Point]) -> Figure:
    """Draw a panel for each game that a student has played."""
    figure, games = panels(list(dict.fromkeys(p.env_id for p in points if p.kind != "teacher")))
    for axes, env_id in games:
        draw_game(axes, points, env_id)
    return figure


class Rung(NamedTuple):
    """A teacher of the ladder and its sampled score, beside the floors."""

    env_id: str
    steps: int
    mean: float
    low: float
    high: float
    random: float
    constant: float


def read_rungs(folder: Path) -> list[Rung]:
    """Read the records of all scored teachers in a folder, by steps."""
    rungs = []
    for path in folder.glob("env*.json"):
        record = json.loads(path.read_text())
        if "evaluation" in record:
            sampled, floors = (record["evaluation"][key] for key in ("sampled", "floors"))
            means = [floors[name]["mean"] for name in ("random", "constant")]
            score = sampled["mean"], *sampled["ci95"]
            rungs.append(Rung(record["env_id"], record["steps"], *score, *means))
    return sorted(rungs, key=lambda rung: rung.steps)


def read_zoo(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the published curves: (steps, mean score) by game."""
    found: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            point = int(row["steps"]), float(row["score_mean"])
            found.setdefault(row["env_id"], []).append(point)
    return found


def draw_rungs(axes: Axes, rungs: Sequence[Rung]) -> None:
    """Draw one game's teachers with their intervals, and the floors."""
    axes.errorbar(
        [rung.steps for rung in rungs],
        [rung.mean for rung in rungs],
        yerr=np.array([[r.mean - r.low, r.high - r.mean] for r in rungs]).T,
        fmt="o",
        capsize=3,
        color="C3",
        label="teacher kept, 100 games, 95 %",
    )
    for style, name in ((":", "random"), ("--", "constant")):
        value = getattr(rungs[-1], name)
        axes.axhline(value, linestyle=style, color="black", linewidth=1, label=f"{name} floor")


def draw_ladder(
    points: Sequence[Point], rungs: Sequence[Rung], zoo: dict[str, list[tuple[int, float]]]
) -> Figure:
    """Draw a panel for each game that has teachers: learning curves, teachers, floors."""
    figure, games = panels(list(dict.fromkeys(sorted(rung.env_id for rung in rungs))))
    for axes, env_id in games:
        mine = [p for p in points if p.env_id == env_id and p.kind == "teacher"]
        for run, seed in dict.fromkeys((p.run, p.seed) for p in mine):
            axes.plot(*curve(mine, run, TAGS[0]), label=f"while training, seed {seed}")
        if env_id in zoo:
            steps, scores = zip(*zoo[env_id], strict=True)
            axes.plot(steps, scores, color="gray", linewidth=1, label="rl-zoo, published")
        draw_rungs(axes, [rung for rung in rungs if rung.env_id == env_id])
        axes.set(xscale="log", xlabel="agent steps", ylabel="score of whole games", title=env_id)
        axes.set_xlim(left=1e4)
        axes.legend(fontsize="x-small")
    return figure


def main() -> None:
    """Collect what was asked for, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--collect", nargs="*", type=Path, default=[], metavar="RUN")
    run_dirs: list[Path] = parser.parse_args().collect
    if run_dirs:
        collect(run_dirs, CURVES)
        collect_results(run_dirs, RESULTS)
    mpl.use("agg")
    points = load(CURVES)
    ladder = draw_ladder(points, read_rungs(TEACHERS), read_zoo(ZOO))
    for name, figure in (("curves.png", draw_curves(points)), ("ladder.png", ladder)):
        write_atomically(FIGURES / name, functools.partial(figure.savefig, dpi=110))
        print(f"wrote {FIGURES / name}")


if __name__ == "__main__":
    cli.run_command(main)
