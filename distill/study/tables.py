"""What pages show of studies and teachers: tables, and what of a grid was not run."""

import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.floors import NO_SHARE, share_of
from distill.networks import ActorCritic, n_actor_parameters
from distill.origins import PPO_KIND
from distill.provenance import commit_of
from distill.statistics import Interval, mean_interval
from distill.study.axes import GAMES
from distill.study.cells import Cell, cells_with, row_axes, rows_of
from distill.study.markdown import as_table, interval_text
from distill.study.naming import (
    begun,
    is_float32,
    lengthened_in,
    name_of_small,
    sets_apart,
    settings_in,
)
from distill.study.probe import Probe
from distill.study.rungs import Rung, shipped_teachers
from distill.study.small_ppo import SmallScore
from distill.teacher_files import steps_in_name
from distill.types import WIDTHS

Labels = Mapping[str, str]
KL = "KL, nats: training / new states"
N_ACTIONS = 3  # Freeway's, for which the sizes of networks are told


def share_text(cell: Cell) -> str:
    """Write a cell's mean share, its interval and its number of seeds."""
    if not cell.shares:
        return NO_SHARE if cell.outcomes else "not run"
    left = cell.n_planned - len(cell.outcomes)
    return mean_text(cell.shares) + (f", {left} not run" if left else "")


def mean_text(shares: Sequence[float]) -> str:
    """Write the mean of some seeds' shares, its interval and their number."""
    return f"{percent(mean_interval(shares))}, n = {len(shares)}"


def percent(found: Interval | None) -> str:
    """Write an estimate in percent, with its interval if that is finite; nothing for None."""
    if found is None:
        return ""
    if not np.isfinite(found.low):
        return f"{100 * found.value:z.1f} %"
    return f"{100 * found.value:z.1f} % ({100 * found.low:z.1f} to {100 * found.high:z.1f})"


def seconds_text(cell: Cell) -> str:
    """Write a cell's median training time, and what its machine had that others had not."""
    marks = sorted({sets_apart(o.machine) for o in cell.timed} - {""})
    mark = f" ({', '.join(marks)})" if marks else ""
    return f"{cell.median_seconds:,.0f}{mark}"


def kl_text(cell: Cell) -> str:
    """Write a cell's median KLs, on states of training and, where measured, of the final games."""
    fresh = [o.fresh_kl for o in cell.outcomes if o.fresh_kl is not None]
    measured = filter(None, ([o.kl for o in cell.outcomes], fresh))
    return " / ".join(f"{np.median(values):.4f}" for values in measured)


def grid_table(cells: Sequence[Cell]) -> str:
    """Lay cells out, a row for each combination of what differs among them, columns for each game.

    Rows of which nothing was run are left out. Medians of KL and of seconds are over seeds, too.
    """
    axes = row_axes(cells)
    games = [game for game in GAMES if any(cell.labels["game"] == game for cell in cells)]
    columns: dict[str, Callable[[Labels], str]] = {}
    for axis in axes:
        columns[axis] = operator.itemgetter(axis)
        if axis == "student":
            columns[f"parameters ({N_ACTIONS} actions)"] = parameters_text
    lines = [[*columns]]
    for game in games:
        lines[0] += [f"{game}: share of the teacher's", KL, "training, s"]
    for row in rows_of(cells, axes, run=True):
        labels = dict(zip(axes, row, strict=True))
        lines.append([text_of(labels) for text_of in columns.values()])
        for game in games:
            lines[-1] += _game_columns(cells, labels | {"game": game})
    return as_table(lines)


def parameters_text(labels: Labels) -> str:
    """Write how many parameters a cell's student has if it chooses among N_ACTIONS actions."""
    return f"{n_actor_parameters(ActorCritic(WIDTHS[labels['student']], N_ACTIONS)):,}"


def _game_columns(cells: Sequence[Cell], labels: Labels) -> list[str]:
    found = cells_with(cells, **labels)
    if not found:
        return ["", "", ""]
    (cell,) = found
    if not cell.outcomes:
        return [share_text(cell), "", ""]
    return [share_text(cell), kl_text(cell), seconds_text(cell)]


def grid_section(grid: str, cells: Sequence[Cell], lay_out: Callable[[Sequence[Cell]], str]) -> str:
    """Write what a page says of a grid: its table and what of it was not run, or how to run it."""
    done = [outcome for cell in cells for outcome in cell.outcomes]
    n_planned = sum(cell.n_planned for cell in cells)
    command = f"`python scripts/compare.py --grid {grid}`"
    if not done:
        return f"Not run yet: {command}."
    (n_games,) = {outcome.games for outcome in done}
    state = f"{len(done)} of {n_planned} runs of {command} are done"
    left = "; ".join(" ".join(row) for row in rows_of(cells, row_axes(cells), run=False))
    missing = f" Not run: {left}." if left else ""
    return f"{lay_out(cells)}\n\n{state}, scored over {n_games} games each.{missing}"


def probe_section(rows: Sequence[Probe]) -> str:
    """Write what a page says of uncertainty and mistakes: a row a signal, a column a game."""
    command = "`python scripts/probe_uncertainty.py`"
    if not rows:
        return f"Not run yet: {command}."
    games = {
        game: env_id for game, env_id in GAMES.items() if any(r.env_id == env_id for r in rows)
    }
    lines = [["signal", *(f"{game}: {x}" for game in games for x in ("correlation", "mean"))]]
    for signal in dict.fromkeys(row.signal for row in rows):
        line = [signal]
        for env_id in games.values():
            (row,) = [r for r in rows if (r.env_id, r.signal) == (env_id, signal)]
            line += [interval_text(row.correlation, row.low, row.high), f"{row.mean:.4f}"]
        lines.append(line)
    n = f"{rows[0].n_games} games, {rows[0].n_states} states each"
    return f"{as_table(lines)}\n\n{n}; {command}."


def small_ppo_table(rows: Sequence[SmallScore], rungs: Sequence[Rung]) -> str:
    """Lay out the scores of PPO at a student's size: a row a setting, its seeds together.

    Args:
        rows: the scores; of two runs that differ in nothing the later counts.
        rungs: of the teachers that ship, among them each game's good one.
    """
    good = {rung.env_id: rung for rung in rungs if rung.grade == "good"}
    columns = ("share of the good teacher's", "score of each seed", "training, min")
    lines = [["game", "PPO", "steps", *columns]]
    alike: dict[tuple[Any, ...], dict[int, SmallScore]] = {}
    for row in rows:
        settings = settings_in(begun(row.command), but=("seed", "precision"))
        settings += lengthened_in(row.command)
        key = row.env_id, row.kind, row.steps, is_float32(row), *sorted(settings)
        alike.setdefault(key, {})[row.seed] = row
    for seeds in alike.values():
        mine = [seeds[seed] for seed in sorted(seeds)]
        first = mine[0]
        share = share_of_good(mine, good.get(first.env_id))
        scores = "; ".join(interval_text(row.mean, row.low, row.high) for row in mine)
        minutes = f"{np.median([row.wall_seconds for row in mine]) / 60:,.0f}"
        name = name_of_small(first).removeprefix(PPO_KIND)
        lines.append([first.env_id, name, f"{first.steps:,}", share, scores, minutes])
    return as_table(lines)


def share_of_good(rows: Sequence[SmallScore], good: Rung | None) -> str:
    """Write the mean share that some seeds have of their game's good teacher, if it has one."""
    if good is None:
        return "no good teacher"
    shares = [share_of(row.mean, teacher=good.mean, floor=good.floor) for row in rows]
    known = [share for share in shares if share is not None]
    return mean_text(known) if known else NO_SHARE


def score_text(score: dict[str, Any]) -> str:
    """Write a score as mean, 95 % interval and number of distinct returns, two cells."""
    return f"{interval_text(score['mean'], *score['ci95'])} | {score['n_unique']}"


def teachers_table(folder: Path) -> str:
    """Lay out the records of a folder's teachers that ship: scores, and how each was made."""
    columns = ["teacher", "grade", "steps", "sampled: mean (95 %)", "unique"]
    columns += ["greedy: mean (95 %)", "unique", "wall-clock", "commit"]
    lines = [columns]
    by_game = sorted(shipped_teachers(folder).items(), key=lambda item: item[1]["env_id"])
    for name, record in by_game:
        evaluation = record["evaluation"]
        cells = [name, record.get("grade", ""), f"{record['steps']:,}"]
        cells += [score_text(evaluation[mode]) for mode in ("sampled", "greedy")]
        cells += [duration_text(record), commit_of(record, n_letters=7)]
        lines.append(cells)
    return as_table(lines)


def duration_text(record: dict[str, Any]) -> str:
    """Write how long a teacher was trained for, and what it went on from, if anything."""
    first = record.get("settings", {}).get("init_from")
    steps = steps_in_name(Path(first).name) if first else None
    return f"{record['wall_seconds'] / 60:,.0f} min" + (f" after n_iters{steps}" if steps else "")
