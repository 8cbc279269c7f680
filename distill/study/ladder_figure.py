"""The figure of the ladder: the teachers that were kept, and how they and others learned."""

import itertools
import textwrap
from collections.abc import Container, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.study.curves import TEACHER_CURVE, Point
from distill.study.figures import curve, draw_zoo, finish, panels
from distill.study.naming import begun, lengthened_in, settings_in
from distill.study.rungs import Rung

LEGEND_LETTERS = 64  # in a line: as wide as a panel
KEPT_COLORS = ("C0", "C1", "C2", "C4", "C5", "C6", "C8", "C9")  # neither gray nor the marks' red


def draw_ladder(
    points: Sequence[Point], rungs: Sequence[Rung], zoo: dict[str, list[tuple[int, float]]]
) -> Figure:
    """Draw a panel for each game that has teachers: learning curves, teachers, floors.

    Published curves end where ours do: what Breakout comes to later would flatten what is compared.
    """
    figure, games = panels(sorted({rung.env_id for rung in rungs}))
    for axes, env_id in games:
        mine = [p for p in points if p.env_id == env_id and p.kind == "teacher"]
        kept = [rung for rung in rungs if rung.env_id == env_id]
        draw_teachers(axes, mine, {rung.run for rung in kept})
        reach = max([p.step for p in mine] + [rung.steps for rung in kept])
        draw_zoo(axes, zoo.get(env_id, []), reach)
        draw_rungs(axes, kept)
        axes.set_xlim(left=1e4)
        finish(axes, env_id)
    return figure


def draw_teachers(axes: Axes, points: Sequence[Point], kept: Container[str | None]) -> None:
    """Draw the score of one game's teachers while they learn.

    The runs that a teacher was kept of, `kept`, have colors of their own and are named after their
    settings; all others are gray.
    """
    commands = {p.run: p.command for p in points}
    label = "other runs, while they learn"
    for run in commands:
        if run not in kept:
            axes.plot(*curve(points, run, TEACHER_CURVE), "0.75", linewidth=0.8, label=label)
            label = ""
    colors = itertools.cycle(KEPT_COLORS)
    for run, command in commands.items():
        if run in kept:
            label = textwrap.fill(settings_of(command), LEGEND_LETTERS, break_on_hyphens=False)
            axes.plot(*curve(points, run, TEACHER_CURVE), next(colors), label=label)


def draw_rungs(axes: Axes, rungs: Sequence[Rung]) -> None:
    """Draw one game's teachers with their intervals, and the floors."""
    bounds = np.array([rung.sampled.ci95 or (rung.mean, rung.mean) for rung in rungs])  # (R, 2)
    means = np.array([rung.mean for rung in rungs])
    axes.errorbar(
        [rung.steps for rung in rungs],
        means,
        yerr=np.abs(bounds.T - means),
        fmt="o",
        capsize=3,
        color="C3",
        label="teacher kept, 100 games, 95 %",
    )
    floors = rungs[-1].floors
    for style, name, floor in ((":", "random", floors.random), ("--", "constant", floors.constant)):
        axes.axhline(floor.mean, linestyle=style, color="black", linewidth=1, label=f"{name} floor")


def settings_of(command: str) -> str:
    """Return a teacher's settings without its game and how long it trains, unless lengthened."""
    kept = settings_in(begun(command), but=("env",))
    return ", ".join([*(kept or ["defaults"]), *lengthened_in(command)])
