"""Does an arm help? The arms of a study against its plain one, game by game and seed by seed."""

from collections.abc import Mapping, Sequence

import numpy as np

from distill import statistics
from distill.config import DistillConfig
from distill.floors import NO_SHARE
from distill.statistics import Interval
from distill.study import comparison
from distill.study.cells import Cell, cells_with, rows_of
from distill.study.comparison import Comparison, Verdict
from distill.study.grids import AS_LONG, WITHOUT_TEACHER
from distill.study.markdown import as_table
from distill.study.tables import seconds_text

BASELINE = "plain"
DEFAULT_ARM = DistillConfig.curiosity  # what --use_curiosity adds
QUESTION = "Running policy distillation using curiosity to guide the student results in"
ANSWERS: Mapping[Verdict, str] = {
    "helps": "a better student",
    "hurts": "a worse student",
    "no effect within 2 %": "an equal student, within 2 % of the teacher's range",
    "inconclusive": "no difference that so few seeds could tell",
}
AXES = ("teacher", "budget", "arm")  # a row for each combination
COLUMNS = (
    *("runs", "training, s", "IQM of the share", "P(better than plain)"),
    *("difference at equal steps", "verdict", "difference at equal time", "verdict"),
    "equal time: plain's budget",
)
ScoresBySeed = Mapping[str, Mapping[int, float]]  # game -> seed -> share of the teacher's score


def scores_of(cells: Sequence[Cell], **labels: str) -> ScoresBySeed:
    """Collect what the cells with these labels scored, by game and seed."""
    found: dict[str, dict[int, float]] = {}
    for cell in cells_with(cells, **labels):
        shares = {o.seed: o.score_share for o in cell.outcomes if o.score_share is not None}
        if shares:
            found.setdefault(cell.labels["game"], {}).update(shares)
    return found


def verdict_table(cells: Sequence[Cell]) -> str:
    """Lay out, for each teacher and budget run, what each arm is worth beside the plain one.

    Interquartile means are over all runs of an arm that was played in every game, probabilities of
    improvement over the games that both arms were played in, each with a stratified bootstrap
    interval; verdicts come from differences paired by seed. At equal time an arm stands beside
    plain students that were trained as long by the clock.
    """
    lines = [[*row, *_worth(cells, *row)] for row in rows_of(cells, AXES, run=True)]
    return as_table([[*AXES, *COLUMNS], *lines])


def curiosity_section(cells: Sequence[Cell]) -> str:
    """Answer the question in a sentence, if there is an answer, and lay out what it rests on."""
    return "\n\n".join(filter(None, [answer(cells), verdict_table(cells)]))


def answer(cells: Sequence[Cell]) -> str:
    """Complete the sentence on curiosity, by the default arm; empty before any pair was run.

    It ends once for each teacher and budget, at equal steps and at equal time: a list.
    """
    found = [
        f"- **{ANSWERS[difference.verdict]}** ({teacher} teacher, {budget} budget, equal {what},"
        f" {difference.n_pairs} pairs: {percent(interval_of(difference))})"
        for teacher, budget, arm in rows_of(cells, AXES, run=True)
        if arm == DEFAULT_ARM
        for what, difference in _differences(cells, teacher, budget, arm).items()
        if difference is not None
    ]
    return "\n".join([QUESTION, "", *found]) if found else ""


def shares_by_arm(cells: Sequence[Cell]) -> dict[str, dict[str, Interval]]:
    """Return each arm's interquartile mean of the share, for each teacher and budget played."""
    found: dict[str, dict[str, Interval]] = {}
    for teacher, budget, arm in _taught_rows(cells):
        mean = _mean_share(cells, teacher, budget, arm)
        if mean is not None:
            found.setdefault(f"{teacher} teacher, {budget} budget", {})[arm] = mean
    return found


def _taught_rows(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """List the rows that have a teacher; beside one without, all others would look alike."""
    return [row for row in rows_of(cells, AXES, run=True) if row[-1] not in WITHOUT_TEACHER]


def _mean_share(cells: Sequence[Cell], teacher: str, budget: str, arm: str) -> Interval | None:
    """Estimate an arm's interquartile mean; None before it was played in every game.

    Games differ in how much of a teacher can be had, so that a mean over some of them would rank
    arms by where they were played.
    """
    of_any_arm = cells_with(cells, teacher=teacher, budget=budget)
    planned = {cell.labels["game"] for cell in of_any_arm}
    scores = scores_of(cells, teacher=teacher, budget=budget, arm=arm)
    if scores.keys() != planned:
        return None
    return statistics.bootstrap(_arrays(scores), np.random.default_rng(0))


def differences_by_arm(cells: Sequence[Cell]) -> dict[str, dict[str, Interval]]:
    """Return how far each arm is from plain students, for each teacher and budget played.

    Where a game has a single pair, nothing says how far off the difference is: it is left out.
    """
    found: dict[str, dict[str, Interval]] = {}
    for teacher, budget, arm in _taught_rows(cells):
        for what, difference in _differences(cells, teacher, budget, arm).items():
            if arm != BASELINE and difference is not None and np.isfinite(difference.low):
                mine = found.setdefault(f"{teacher} teacher, {budget} budget", {})
                mine[f"{arm}, equal {what}"] = interval_of(difference)
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


def _worth(cells: Sequence[Cell], teacher: str, budget: str, arm: str) -> list[str]:
    mine = scores_of(cells, teacher=teacher, budget=budget, arm=arm)
    if not mine:
        return [NO_SHARE, *[""] * (len(COLUMNS) - 1)]
    runs = ", ".join(f"{len(seeds)} {game}" for game, seeds in mine.items())
    mean = _mean_share(cells, teacher, budget, arm)
    seconds = _seconds(cells, teacher=teacher, budget=budget, arm=arm)
    found = [runs, seconds, "" if mean is None else percent(mean)]
    if arm == BASELINE:
        return [*found, *[""] * (len(COLUMNS) - len(found))]
    plain = scores_of(cells, teacher=teacher, budget=budget, arm=BASELINE)
    differences = _differences(cells, teacher, budget, arm)
    texts = [text for each in differences.values() for text in _texts(each)]
    longer = AS_LONG[budget, arm] if differences["time"] is not None else ""
    return [*found, _better(mine, plain), *texts, longer]


def _seconds(cells: Sequence[Cell], **labels: str) -> str:
    """Write the median training time in each game, for readers to judge how equal times were."""
    return ", ".join(
        f"{seconds_text(cell)} {cell.labels['game']}"
        for cell in cells_with(cells, **labels)
        if cell.outcomes
    )


def _differences(
    cells: Sequence[Cell], teacher: str, budget: str, arm: str
) -> dict[str, Comparison | None]:
    """Compare an arm with plain students after as many `steps`, and after as much `time`."""
    mine = scores_of(cells, teacher=teacher, budget=budget, arm=arm)
    longer = AS_LONG.get((budget, arm), "")  # no budget's name where none is planned
    return {
        what: _difference(mine, scores_of(cells, teacher=teacher, budget=b, arm=BASELINE))
        for what, b in (("steps", budget), ("time", longer))
    }


def _better(arm: ScoresBySeed, plain: ScoresBySeed) -> str:
    shared = [game for game in arm if game in plain]
    if not shared:
        return ""
    mine, theirs = (_arrays({game: x[game] for game in shared}) for x in (arm, plain))
    found = statistics.probability_of_improvement(mine, theirs, np.random.default_rng(0))
    # Where all pairs of a game go one way, so do all that a bootstrap draws: that is no certainty.
    is_certain = found.low == found.high
    return percent(found._replace(low=-np.inf, high=np.inf) if is_certain else found)


def _difference(arm: ScoresBySeed, plain: ScoresBySeed) -> Comparison | None:
    differences = comparison.paired_differences(arm, plain)
    return comparison.compare(differences) if differences else None


def _texts(found: Comparison | None) -> tuple[str, str]:
    return ("", "") if found is None else (percent(interval_of(found)), comparison.describe(found))


def interval_of(found: Comparison) -> Interval:
    """Return the mean difference with its interval."""
    return Interval(found.mean, found.low, found.high)


def _arrays(scores: ScoresBySeed) -> dict[str, np.ndarray]:
    return {game: np.array(list(seeds.values())) for game, seeds in scores.items()}


def percent(found: Interval) -> str:
    """Write an estimate and its interval in percent; no interval where it is infinite."""
    if not np.isfinite(found.low):
        return f"{100 * found.value:.1f} %"
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
