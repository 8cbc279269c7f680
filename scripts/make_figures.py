"""Draw the figures of the README from scripts/results and the records of teachers.

    python scripts/make_figures.py                          # -> scripts/figures/*.png
    python scripts/make_figures.py --collect runs/A runs/B  # first add these runs' curves

What is drawn depends alone on the CSV files and on the .json files beside the teachers, and so does
the table of teachers/README.md, which is written too. `zoo_ppo_curves.csv` has the learning curves
of the agents that rl-baselines3-zoo published (MIT), from their monitor files: score of the games
that ended within 50,000 steps before `steps`.
"""

import argparse
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import _bootstrap  # noqa: F401 (puts the root on sys.path)

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill import cli
from distill.files import write_atomically, write_text
from distill.results import (
    TEACHER_CURVE,
    Point,
    Rung,
    collect,
    collect_results,
    read_points,
    read_rungs,
    read_zoo,
    scored_teachers,
)

HERE = Path(__file__).resolve().parent
CURVES, RESULTS = HERE / "results" / "curves.csv", HERE / "results" / "distillation.csv"
ZOO = HERE / "results" / "zoo_ppo_curves.csv"
TEACHERS = HERE.parent / "teachers"
FIGURES = HERE / "figures"
LABELS = {"teacher": "PPO teacher learning", "plain": "student", "curious": "curious student"}


def curve(points: Iterable[Point], run: str, tag: str) -> tuple[list[int], list[float]]:
    """Return steps and values of one curve."""
    found = [(p.step, p.value) for p in points if p.run == run and p.tag == tag]
    return [step for step, _ in found], [value for _, value in found]


def draw_game(axes: Axes, points: Sequence[Point], env_id: str) -> None:
    """Draw score against steps for one game: teacher, students, and the floor beneath them."""
    mine = [p for p in points if p.env_id == env_id]
    for run, kind in dict.fromkeys((p.run, p.kind) for p in mine):
        tag = TEACHER_CURVE if kind == "teacher" else "eval/mean_reward"
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
            axes.plot(*curve(mine, run, TEACHER_CURVE), label=f"while training, seed {seed}")
        if env_id in zoo:
            steps, scores = zip(*zoo[env_id], strict=True)
            axes.plot(steps, scores, color="gray", linewidth=1, label="rl-zoo, published")
        draw_rungs(axes, [rung for rung in rungs if rung.env_id == env_id])
        axes.set(xscale="log", xlabel="agent steps", ylabel="score of whole games", title=env_id)
        axes.set_xlim(left=1e4)
        axes.legend(fontsize="x-small")
    return figure


def score_text(score: dict[str, Any]) -> str:
    """Write a score as mean, 95 % interval and number of distinct returns, two cells."""
    low, high = score["ci95"]
    return f"{score['mean']:.2f} ({low:.2f} to {high:.2f}) | {score['n_unique']}"


def teachers_table(folder: Path) -> str:
    """Lay out the records of all scored teachers: scores, and how each was made."""
    columns = ["teacher", "grade", "steps", "sampled: mean (95 %)", "unique"]
    columns += ["greedy: mean (95 %)", "unique", "wall-clock", "commit"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, record in sorted(scored_teachers(folder).items(), key=lambda item: item[0][:8]):
        evaluation = record["evaluation"]
        cells = [name, record.get("grade", ""), f"{record['steps']:,}"]
        cells += [score_text(evaluation[mode]) for mode in ("sampled", "greedy")]
        cells += [f"{record['wall_seconds'] / 60:,.0f} min", record["commit"][:7]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """Put a table in the place of the one that a page has, or of its placeholder."""
    lines = text.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line.startswith("| teacher |")]
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return "\n".join([*lines[:start], table, *lines[end:]]) + "\n"


def main() -> None:
    """Collect what was asked for, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--collect", nargs="*", type=Path, default=[], metavar="RUN")
    run_dirs: list[Path] = parser.parse_args().collect
    if run_dirs:
        collect(run_dirs, CURVES)
        collect_results(run_dirs, RESULTS)
    mpl.use("agg")
    points = read_points(CURVES)
    ladder = draw_ladder(points, read_rungs(TEACHERS), read_zoo(ZOO))
    for name, figure in (("curves.png", draw_curves(points)), ("ladder.png", ladder)):
        write_atomically(FIGURES / name, functools.partial(figure.savefig, dpi=110))
        print(f"wrote {FIGURES / name}")
    page = TEACHERS / "README.md"
    write_text(page, with_table(page.read_text(), teachers_table(TEACHERS)))
    print(f"wrote {page}")


if __name__ == "__main__":
    cli.run_command(main)
