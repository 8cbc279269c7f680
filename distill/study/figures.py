"""Figures of learning curves: from records to matplotlib figures, nothing read, nothing written."""

import itertools
import math
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.origins import PPO_KIND, small_network_of
from distill.study.axes import DEFAULTS, GAMES
from distill.study.cells import Cell
from distill.study.curves import TEACHER_CURVE, Point
from distill.study.naming import name_of_small
from distill.study.rungs import Rung

STUDENTS = ("plain", "curious")
SHOWN_GRADES = ("good", "medium")  # of teachers that PPO at a student's size is held against
LINES = {  # label, tag and style, by the kind of a run
    "teacher": ("teachers while they learn by PPO, last 100 games", TEACHER_CURVE, "C0-"),
    "plain": ("student", "eval/mean_reward", "C1.-"),
    "curious": ("curious student", "eval/mean_reward", "C2.-"),
}


def curve(points: Iterable[Point], run: str, tag: str) -> tuple[list[int], list[float]]:
    """Return steps and values of one curve."""
    found = [(p.step, p.value) for p in points if p.run == run and p.tag == tag]
    return [step for step, _ in found], [value for _, value in found]


def draw_game(axes: Axes, points: Sequence[Point], env_id: str) -> None:
    """Draw score against steps for one game: learning curves, and what students are held against.

    A line for each teacher that a student had, and for each floor.
    """
    mine = [p for p in points if p.env_id == env_id]
    for kind, (name, tag, style) in LINES.items():
        for i, run in enumerate(dict.fromkeys(p.run for p in mine if p.kind == kind)):
            label = "" if i else name
            axes.plot(*curve(mine, run, tag), style, linewidth=1, label=label)
    for tag, style in (("eval/teacher", "--"), ("eval/floor", ":")):
        last = {p.run: p.value for p in mine if p.tag == tag}
        for i, value in enumerate(sorted(set(last.values()))):
            label = "" if i else tag.removeprefix("eval/")
            axes.axhline(value, linestyle=style, color="gray", label=label)
    finish(axes, env_id)


def draw_by_name(
    axes: Axes, points: Sequence[Point], names: Mapping[str, str], colors: Mapping[str, str]
) -> None:
    """Draw how runs of PPO learn; names of several seeds count them.

    Args:
        axes: where to draw.
        points: of these runs.
        names: what each run is called.
        colors: by name, from `colors_of`.
    """
    runs: dict[str, list[str]] = {}
    for run, name in names.items():
        runs.setdefault(name, []).append(run)
    for name, called_so in runs.items():
        n_seeds = len({point.seed for point in points if point.run in called_so})
        full_name = name + (f", {n_seeds} seeds" if n_seeds > 1 else "")
        for i, run in enumerate(called_so):
            label = "" if i else full_name
            axes.plot(*curve(points, run, TEACHER_CURVE), colors[name], label=label)


def colors_of(names: Iterable[str]) -> dict[str, str]:
    """Give each name a color, the same in all panels of a figure."""
    return {name: f"C{i}" for i, name in enumerate(dict.fromkeys(names))}


def finish(axes: Axes, env_id: str) -> None:
    """Name what is shown; the legend hangs beneath, where it hides no curve."""
    axes.set(xscale="log", xlabel="agent steps", ylabel="score of whole games", title=env_id)
    # Below the label of the axis, whatever its height: the pad is in letters, not in axes.
    # Its samples are long enough for the longest dashes.
    place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderaxespad": 6}
    axes.legend(fontsize="x-small", handlelength=4.5, **place)


def panels(
    titles: Sequence[str], *, height: float = 5.6, n_columns: int = 3
) -> tuple[Figure, list[tuple[Axes, str]]]:
    """Make a figure with a panel for each title, so many in a row."""
    n_columns = min(n_columns, len(titles))
    n_rows = math.ceil(len(titles) / n_columns)
    figure = Figure(figsize=(5.5 * n_columns, height * n_rows), layout="constrained")
    places = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for empty in places[len(titles) :]:
        empty.remove()
    return figure, list(zip(places, titles, strict=False))


def draw_curves(points: Sequence[Point]) -> Figure:
    """Draw a panel for each game that a student has played, all teachers' curves in it."""
    figure, games = panels(sorted({p.env_id for p in points if p.kind in STUDENTS}))
    for axes, env_id in games:
        draw_game(axes, points, env_id)
    return figure


def draw_small(points: Sequence[Point], levels: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw how PPO learns in networks of a student's size, a panel a game, a color a setting.

    Args:
        points: of all runs; others than these are left out.
        levels: by game, what they are held against: scores by name, drawn as lines.
    """
    small = [p for p in points if small_network_of(p.kind)]
    names = {p.run: name_of_small(p) for p in small}
    colors = colors_of(names.values())
    figure, games = panels(sorted({p.env_id for p in small}))
    for axes, env_id in games:
        mine = [p for p in small if p.env_id == env_id]
        draw_by_name(axes, mine, {p.run: names[p.run] for p in mine}, colors)
        styles = itertools.cycle(
            ("--", ":", "-.", (0, (4, 8)), (0, (9, 3)), (0, (3, 3, 1, 3, 1, 3)))
        )
        for (name, score), style in zip(levels.get(env_id, {}).items(), styles, strict=False):
            network = name.split(",")[0]  # a student has the color of PPO at its size
            color = colors.get(f"{PPO_KIND}{network}", "gray")
            axes.axhline(score, linestyle=style, color=color, label=name)
        axes.margins(y=0.1)  # the best of them would lie on the frame
        finish(axes, env_id)
    return figure


def levels_of(
    rungs: Iterable[Rung], cells: Iterable[Cell], networks: Container[str]
) -> dict[str, dict[str, float]]:
    """Return what PPO at a student's size is held against, by game: teachers, students, the floor.

    Args:
        rungs: of the teachers that ship.
        cells: of the grid of students.
        networks: names of the students that count, at the usual budget.
    """
    levels: dict[str, dict[str, float]] = {}
    for rung in rungs:
        mine = levels.setdefault(rung.env_id, {})
        mine["floor"] = rung.floor
        if rung.grade in SHOWN_GRADES:
            mine[f"{rung.grade} teacher"] = rung.mean
    for cell in cells:
        student, game = cell.labels["student"], GAMES[cell.labels["game"]]
        usual = cell.labels["budget"] == DEFAULTS["budget"]
        if cell.outcomes and usual and student in networks:
            mean = float(np.mean([outcome.student_mean for outcome in cell.outcomes]))
            levels.setdefault(game, {})[f"{student}, distilled from the good teacher"] = mean
    return levels


def draw_zoo(
    axes: Axes,
    points: Sequence[tuple[int, float]],
    reach: int,
    *,
    label: str = "rl-zoo, published",
    linestyle: str = "-",
) -> None:
    """Draw a curve of stock SB3's PPO as far as ours reach, if they reach its first point."""
    if shown := [point for point in points if point[0] <= reach]:
        steps, scores = zip(*shown, strict=True)
        axes.plot(steps, scores, color="black", linewidth=1, linestyle=linestyle, label=label)
