"""Our learning curves beside those that rl-zoo published: at its settings, and at our defaults."""

import shlex
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from distill.cli import parse_record
from distill.study.curves import Point
from distill.study.figures import colors_of, draw_by_name, draw_zoo, finish, panels
from distill.study.naming import begun, is_float32, lengthened_in
from distill.teacher_config import TeacherConfig, preset_of

PRESET, DEFAULTS = "rl-zoo's preset, this program", "this program's defaults"
STOCK = "rl-zoo's preset, stock SB3, float32"


def settings_name(command: str) -> str | None:
    """Name the settings of a command that may stand beside a published curve; None for others.

    Game, seed, precision and length are free, but for a run that was lengthened: its schedules were
    not one. A command of another version, whose flags are gone, has no name either.
    """
    try:
        cfg = parse_record(TeacherConfig, shlex.split(begun(command)))
    except ValueError:
        return None
    cfg = replace(cfg, precision=TeacherConfig.precision)  # which the figure tells
    defaults = TeacherConfig(total_steps=cfg.total_steps, env=cfg.env, seed=cfg.seed)
    names = {preset_of(defaults): PRESET, defaults: DEFAULTS}
    return None if lengthened_in(command) else names.get(cfg)


def comparable(points: Sequence[Point], env_ids: Container[str]) -> dict[str, str]:
    """Return the name of its settings, by run, for teachers' runs on these games that have one."""
    teachers = {p.run: p for p in points if p.kind == "teacher" and p.env_id in env_ids}
    names = {run: settings_name(p.command) for run, p in teachers.items()}
    return {run: name for run, name in names.items() if name}


def draw_published(
    points: Sequence[Point],
    names: Mapping[str, str],
    zoo: Mapping[str, Sequence[tuple[int, float]]],
    stock: Mapping[str, Sequence[tuple[int, float]]],
) -> Figure:
    """Draw a panel for each game: the published curve as far as ours reach, and ours.

    Args:
        points: of all runs.
        names: of the settings, by run, of those that are shown.
        zoo: (steps, mean score) by game, published.
        stock: the same of stock SB3 at the same settings, run for comparison.
    """
    shown = [p for p in points if p.run in names]
    precise = {p.run: "float32" if is_float32(p) else "bfloat16" for p in shown}
    labels = {run: f"{names[run]}, {precision}" for run, precision in precise.items()}
    colors = colors_of(sorted(labels.values()))
    figure, games = panels(sorted({p.env_id for p in shown}))
    for axes, env_id in games:
        mine = [p for p in shown if p.env_id == env_id]
        reach = max(p.step for p in mine)
        draw_zoo(axes, zoo[env_id], reach)
        draw_zoo(axes, stock.get(env_id, []), reach, label=STOCK, linestyle="--")
        draw_by_name(axes, mine, {p.run: labels[p.run] for p in mine}, colors)
        finish(axes, env_id)
        axes.set_xscale("linear")
    return figure
