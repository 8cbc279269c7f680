"""What the arms of a study are worth: their shares, differences from plain ones, and coverage."""

from collections.abc import Mapping, Sequence

import numpy as np

from distill import statistics
from distill.statistics import Interval
from distill.study import comparison
from distill.study.cells import Cell, cells_with, rows_of
from distill.study.comparison import Comparison
from distill.study.grids import AS_LONG, WITHOUT_TEACHER

BASELINE = "plain"
ROW = ("teacher", "budget", "arm")  # a row for each combination
SharesBySeed = Mapping[str, Mapping[int, float]]  # game -> seed -> share of the teacher's score


def shares_of(cells: Sequence[Cell], /, **labels: str) -> SharesBySeed:
    """Collect the shares of the cells with these labels, by game and seed."""
    found: dict[str, dict[int, float]] = {}
    for cell in cells_with(cells, **labels):
        shares = {o.seed: o.score_share for o in cell.outcomes if o.score_share is not None}
        if shares:
            found.setdefault(cell.labels["game"], {}).update(shares)
    return found


def shares_by_arm(cells: Sequence[Cell]) -> dict[str, dict[str, Interval]]:
    """Return each arm's interquartile mean of the share, for each teacher and budget played."""
    found: dict[str, dict[str, Interval]] = {}
    for teacher, budget, arm in _taught_rows(cells):
        mean = iqm_share(cells, teacher, budget, arm)
        if mean is not None:
            found.setdefault(f"{teacher} teacher, {budget} budget", {})[arm] = mean
    return found


def differences_by_arm(cells: Sequence[Cell]) -> dict[str, dict[str, Interval]]:
    """Return how far each arm is from plain students, for each teacher and budget played.

    Where a game has a single pair, nothing says how far off the difference is: it is left out.
    """
    found: dict[str, dict[str, Interval]] = {}
    for teacher, budget, arm in _taught_rows(cells):
        for what, difference in differences_of(cells, teacher, budget, arm).items():
            if arm != BASELINE and difference is not None and np.isfinite(difference.low):
                mine = found.setdefault(f"{teacher} teacher, {budget} budget", {})
                mine[f"{arm}, equal {what}"] = difference.interval
    return found


def coverage_by_arm(cells: Sequence[Cell]) -> dict[str, dict[str, Interval]]:
    """Return each arm's mean coverage over seeds, for each game, teacher and budget played."""
    found: dict[str, dict[str, Interval]] = {}
    for cell in cells:
        seen = [o.coverage for o in cell.outcomes if o.coverage is not None]
        if seen:
            labels = cell.labels
            title = f"{labels['game']}, {labels['teacher']} teacher, {labels['budget']} budget"
            found.setdefault(title, {})[labels["arm"]] = statistics.mean_interval(seen)
    return found


def _taught_rows(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """List the rows that have a teacher; beside one without, all others would look alike."""
    return [row for row in rows_of(cells, ROW, run=True) if row[-1] not in WITHOUT_TEACHER]


def iqm_share(cells: Sequence[Cell], teacher: str, budget: str, arm: str) -> Interval | None:
    """Estimate an arm's interquartile mean; None before it was played in every game.

    Games differ in how much of a teacher can be had, so that a mean over some of them would rank
    arms by where they were played.
    """
    of_any_arm = cells_with(cells, teacher=teacher, budget=budget)
    planned = {cell.labels["game"] for cell in of_any_arm}
    scores = shares_of(cells, teacher=teacher, budget=budget, arm=arm)
    if scores.keys() != planned:
        return None
    return statistics.bootstrap(_arrays(scores), np.random.default_rng(0))


def differences_of(
    cells: Sequence[Cell], teacher: str, budget: str, arm: str
) -> dict[str, Comparison | None]:
    """Compare an arm with plain students after as many `steps`, and after as much `time`."""
    mine = shares_of(cells, teacher=teacher, budget=budget, arm=arm)
    longer = AS_LONG.get((budget, arm), "")  # no budget's name where none is planned
    return {
        what: difference_between(mine, shares_of(cells, teacher=teacher, budget=b, arm=BASELINE))
        for what, b in (("steps", budget), ("time", longer))
    }


def difference_between(arm: SharesBySeed, plain: SharesBySeed) -> Comparison | None:
    """Compare an arm with plain students, seed by seed; None where there is no pair."""
    differences = comparison.paired_differences(arm, plain)
    return comparison.compare(differences) if differences else None


def chance_of_being_better(arm: SharesBySeed, plain: SharesBySeed) -> Interval | None:
    """Estimate how likely a run of an arm beats a plain one; None where no game has both."""
    shared = [game for game in arm if game in plain]
    if not shared:
        return None
    mine, theirs = (_arrays({game: x[game] for game in shared}) for x in (arm, plain))
    found = statistics.probability_of_improvement(mine, theirs, np.random.default_rng(0))
    # Where all pairs of a game go one way, so do all that a bootstrap draws: that is no certainty.
    is_certain = found.low == found.high
    return found._replace(low=-np.inf, high=np.inf) if is_certain else found


def _arrays(scores: SharesBySeed) -> dict[str, np.ndarray]:
    return {game: np.array(list(seeds.values())) for game, seeds in scores.items()}
