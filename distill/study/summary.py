"""What a study says in a terminal: a line a cell, and what its last axis is worth."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from distill.statistics import mean_interval
from distill.study import comparison
from distill.study.arms import difference_between, shares_of
from distill.study.cells import Cell, cells_with, rows_of
from distill.study.tables import kl_text, percent

HEAD = ("score", "share of the teacher's", "n", "KL, nats", "s")
LEGEND = """\
score: the student's and the teacher's mean; share: above the floor, its 95 %
interval over n seeds; KL: from teacher to student, on states of training / of
the final games; s: of training, median. Differences: of shares, between equal
seeds of a game, averaged over games; n: seeds a game."""


def summary(cells: Sequence[Cell]) -> str:
    """Lay out what is known of a study, and compare; empty before any of its runs is done.

    The last of the axes that differ is the one in question: its values are held against its first,
    in pairs of one game and seed, other things being equal.
    """
    done = [cell for cell in cells if cell.outcomes]
    if not done:
        return ""
    axes = differing_axes(cells)
    lines = [[*axes, *HEAD], *([cell.labels[axis] for axis in axes] + _row(cell) for cell in done)]
    text = f"{aligned(lines, n_left=len(axes))}\n{LEGEND}"
    return "\n".join([text, *contrasts(cells, axes)])


def differing_axes(cells: Sequence[Cell]) -> list[str]:
    """Return the axes that tell cells apart: games, and what has several values in one of them."""
    games = {cell.labels["game"] for cell in cells}
    within = [
        axis
        for axis in cells[0].labels
        if any(len({c.labels[axis] for c in cells_with(cells, game=game)}) > 1 for game in games)
    ]
    return ["game", *within] if len(games) > 1 else within


def _row(cell: Cell) -> list[str]:
    n = len(cell.shares)
    both = np.mean([(o.student_mean, o.teacher_mean) for o in cell.outcomes], 0)
    score = " / ".join(f"{mean:.2f}" for mean in both)
    share = percent(mean_interval(cell.shares)) if cell.shares else "no share"
    of_how_many = f"{n} of {cell.n_planned}" if n < cell.n_planned else str(n)
    return [score, share, of_how_many, kl_text(cell), f"{cell.median_seconds:,.0f}"]


def aligned(lines: Sequence[Sequence[str]], *, n_left: int) -> str:
    """Set lines of cells in columns, the first `n_left` of them at the left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(_padded(line, widths, n_left)).rstrip() for line in lines)


def _padded(line: Sequence[str], widths: Sequence[int], n_left: int) -> Iterable[str]:
    for i, (text, width) in enumerate(zip(line, widths, strict=True)):
        yield text.ljust(width) if i < n_left else text.rjust(width)


def contrasts(cells: Sequence[Cell], axes: Sequence[str]) -> list[str]:
    """Hold each value of the last axis against its first; a line for each that has a pair."""
    if not axes or axes[-1] == "game":
        return []
    *others, asked = (axis for axis in axes if axis != "game")
    baseline, *values = dict.fromkeys(cell.labels[asked] for cell in cells)
    lines = []
    for row, value in product(rows_of(cells, others, run=True), values):
        labels = dict(zip(others, row, strict=True))
        mine, theirs = (shares_of(cells, **labels, **{asked: x}) for x in (value, baseline))
        if found := difference_between(mine, theirs):
            change = f"{asked} {value} instead of {baseline}"
            pairs = "1 pair" if found.n_pairs == 1 else f"{found.n_pairs} pairs"
            said = f"{percent(found.interval)} in {pairs}, {comparison.describe(found)}"
            lines.append(f"{', '.join([*row, change])}: {said}")
    return lines
