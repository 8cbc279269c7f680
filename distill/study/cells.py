"""The cells of a grid, that is its runs without their seeds, and what is known of each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from distill.study.naming import sets_apart, was_float32
from distill.study.outcomes import Outcome
from distill.study.plan import Run

# What tells the rows of a table apart, where it differs at all.
ROW_AXES = (
    *("teacher", "budget", "student", "updates", "arm"),
    *("method", "initial weights", "loss", "temperature", "actor", "sampling", "setting"),
    *("encoder", "bonus"),
)


class Cell(NamedTuple):
    """The seeds of one combination of a grid's values."""

    labels: dict[str, str]  # value by axis, without the seed
    n_planned: int
    outcomes: list[Outcome]  # of the runs that are done, by seed

    @property
    def shares(self) -> list[float]:
        """Return each seed's share of the teacher's score above the floor."""
        return [o.score_share for o in self.outcomes if o.score_share is not None]

    @property
    def mean_share(self) -> float:
        """Return the mean of those; there must be one."""
        return float(np.mean(self.shares))

    @property
    def timed(self) -> list[Outcome]:
        """Return the runs whose training times are told: those of machines like most, if any.

        Else those of others with bfloat16, and only where there are none those in float32.
        """
        like_most = [o for o in self.outcomes if not sets_apart(o.machine)]
        quick = [o for o in self.outcomes if not was_float32(o.machine)]
        return like_most or quick or self.outcomes

    @property
    def median_seconds(self) -> float:
        """Return the median of those times."""
        return float(np.median([o.train_seconds for o in self.timed]))


def by_identity(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """Index outcomes by what decided them.

    Of two with the same settings, made by two versions of the program, the later row counts.
    """
    return {outcome.identity: outcome for outcome in outcomes}


def cells_of(runs: Sequence[Run], done: Mapping[str, Outcome]) -> list[Cell]:
    """Gather the runs of a study in cells, the most wanted first, with what is known of each.

    Args:
        runs: as a plan lists them.
        done: outcomes, as `by_identity` indexes them.
    """
    cells: dict[frozenset[tuple[str, str]], list[Run]] = {}
    for run in runs:
        cells.setdefault(frozenset(run.labels_without_seed.items()), []).append(run)
    return [
        Cell(
            mine[0].labels_without_seed, len(mine), [done[run.id] for run in mine if run.id in done]
        )
        for mine in cells.values()
    ]


def cells_with(cells: Sequence[Cell], /, **labels: str) -> list[Cell]:
    """Choose the cells that have these labels, whatever else they have."""
    return [cell for cell in cells if labels.items() <= cell.labels.items()]


def row_axes(cells: Sequence[Cell]) -> list[str]:
    """Return the axes that tell the rows of a grid's table apart."""
    return [axis for axis in ROW_AXES if len({cell.labels.get(axis) for cell in cells}) > 1]


def rows_of(cells: Sequence[Cell], axes: Sequence[str], *, run: bool) -> list[tuple[str, ...]]:
    """Return a grid's rows, as values of axes: those of which something was run, or the others."""
    rows: dict[tuple[str, ...], bool] = {}
    for cell in cells:
        row = tuple(cell.labels[axis] for axis in axes)
        rows[row] = rows.get(row, False) or bool(cell.outcomes)
    return [row for row, was_run in rows.items() if was_run == run]
