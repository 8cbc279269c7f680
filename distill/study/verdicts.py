"""Does an arm help? The arms of a study against its plain one, game by game and seed by seed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distill.config import DistillConfig
from distill.floors import NO_SHARE
from distill.study import comparison
from distill.study.arms import (
    BASELINE,
    ROW,
    chance_of_being_better,
    differences_of,
    iqm_share,
    shares_of,
)
from distill.study.cells import Cell, cells_with, rows_of
from distill.study.comparison import Comparison, Verdict
from distill.study.grids import AS_LONG
from distill.study.markdown import as_table
from distill.study.tables import percent, seconds_text

DEFAULT_ARM = DistillConfig.curiosity  # what --use_curiosity adds
QUESTION = "Running policy distillation using curiosity to guide the student results in"
ANSWERS: Mapping[Verdict, str] = {
    "helps": "a better student",
    "hurts": "a worse student",
    "no effect within 2 %": "an equal student, within 2 % of the teacher's range",
    "inconclusive": "no difference that so few seeds could tell",
}
COLUMNS = (  # the fields of VerdictRow
    *("runs", "training, s", "IQM of the share", "P(better than plain)"),
    *("difference at equal steps", "verdict", "difference at equal time", "verdict"),
    "equal time: plain's budget",
)


class VerdictRow(NamedTuple):
    """What a row of the table tells of an arm, as text; empty where there is nothing to tell."""

    runs: str
    seconds: str = ""
    iqm: str = ""
    chance: str = ""
    at_equal_steps: str = ""
    verdict_on_steps: str = ""
    at_equal_time: str = ""
    verdict_on_time: str = ""
    budget_as_long: str = ""


def verdict_table(cells: Sequence[Cell]) -> str:
    """Lay out, for each teacher and budget run, what each arm is worth beside the plain one.

    Interquartile means are over all runs of an arm that was played in every game, probabilities of
    improvement over the games that both arms were played in, each with a stratified bootstrap
    interval; verdicts come from differences paired by seed. At equal time an arm stands beside
    plain students that were trained as long by the clock.
    """
    lines = [[*row, *_verdict_row(cells, *row)] for row in rows_of(cells, ROW, run=True)]
    return as_table([[*ROW, *COLUMNS], *lines])


def curiosity_section(cells: Sequence[Cell]) -> str:
    """Answer the question in a sentence, if there is an answer, and lay out what it rests on."""
    return "\n\n".join(filter(None, [answer(cells), verdict_table(cells)]))


def answer(cells: Sequence[Cell]) -> str:
    """Complete the sentence on curiosity, by the default arm; empty before any pair was run.

    It ends once for each teacher and budget, at equal steps and at equal time: a list.
    """
    found = [
        f"- **{ANSWERS[difference.verdict]}** ({teacher} teacher, {budget} budget, equal {what},"
        f" {difference.n_pairs} pairs: {percent(difference.interval)})"
        for teacher, budget, arm in rows_of(cells, ROW, run=True)
        if arm == DEFAULT_ARM
        for what, difference in differences_of(cells, teacher, budget, arm).items()
        if difference is not None
    ]
    return "\n".join([QUESTION, "", *found]) if found else ""


def _verdict_row(cells: Sequence[Cell], teacher: str, budget: str, arm: str) -> VerdictRow:
    mine = shares_of(cells, teacher=teacher, budget=budget, arm=arm)
    if not mine:
        return VerdictRow(NO_SHARE)
    found = VerdictRow(
        runs=", ".join(f"{len(seeds)} {game}" for game, seeds in mine.items()),
        seconds=_seconds(cells, teacher=teacher, budget=budget, arm=arm),
        iqm=percent(iqm_share(cells, teacher, budget, arm)),
    )
    if arm == BASELINE:
        return found
    plain = shares_of(cells, teacher=teacher, budget=budget, arm=BASELINE)
    differences = differences_of(cells, teacher, budget, arm)
    at_equal_steps, verdict_on_steps = _texts(differences["steps"])
    at_equal_time, verdict_on_time = _texts(differences["time"])
    return found._replace(
        chance=percent(chance_of_being_better(mine, plain)),
        at_equal_steps=at_equal_steps,
        verdict_on_steps=verdict_on_steps,
        at_equal_time=at_equal_time,
        verdict_on_time=verdict_on_time,
        budget_as_long=_as_long(
            AS_LONG.get((budget, arm), ""), differences["time"], sum(map(len, mine.values()))
        ),
    )


def _seconds(cells: Sequence[Cell], **labels: str) -> str:
    """Write the median training time in each game, for readers to judge how equal times were."""
    return ", ".join(
        f"{seconds_text(cell)} {cell.labels['game']}"
        for cell in cells_with(cells, **labels)
        if cell.outcomes
    )


def _texts(found: Comparison | None) -> tuple[str, str]:
    return ("", "") if found is None else (percent(found.interval), comparison.describe(found))


def _as_long(budget: str, found: Comparison | None, n_runs: int) -> str:
    """Name plain students' budget at equal time; the pairs, too, if a run of the arm has none."""
    if found is None:
        return ""
    return budget if found.n_pairs == n_runs else f"{budget}, {found.n_pairs} pairs"
