"""What a study says of each arm beside the plain one."""

import pytest
from test_tables import TEACHERS, cells_of, outcome

from distill import verdicts
from distill.grids import plan

PLAIN = (0.80, 0.82, 0.78, 0.81, 0.79)
AUX = tuple(share + 0.10 for share in PLAIN)
BONUS = tuple(share + 0.001 * (-1) ** i for i, share in enumerate(PLAIN))
SHARES = {"plain": PLAIN, "aux": AUX, "bonus": BONUS}


@pytest.fixture(scope="module")
def rows():
    runs = [
        run
        for run in plan("curiosity", TEACHERS)
        if run.labels["budget"] == "quarter" and run.labels["arm"] in SHARES
    ]
    outcomes = [outcome(run, SHARES[run.labels["arm"]][run.cfg.seed]) for run in runs]
    text = verdicts.verdict_table(cells_of("curiosity", outcomes))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {tuple(line[:3]): line[3:] for line in lines[2:]}


def test_every_arm_of_every_budget_has_a_row(rows):
    arms = ("plain", "aux", "bonus", "both")
    assert {("good", budget, arm) for budget in ("quarter", "whole") for arm in arms} <= rows.keys()


def test_an_arm_that_always_wins_by_more_than_the_margin_helps(rows):
    runs, iqm, better, difference, verdict = rows["good", "quarter", "aux"]
    assert runs == "5 Freeway, 5 Pong"
    assert iqm.startswith("90.0 % (")
    assert better == "100.0 % (100.0 to 100.0)"
    assert difference == "10.0 % (10.0 to 10.0)"
    assert verdict == "helps"


def test_an_arm_within_the_margin_has_no_effect(rows):
    assert rows["good", "quarter", "bonus"][-1] == "no effect within 2 %"


def test_the_plain_arm_is_compared_with_nothing(rows):
    runs, iqm, *rest = rows["good", "quarter", "plain"]
    assert (runs, rest) == ("5 Freeway, 5 Pong", ["", "", ""])
    assert iqm.startswith("80.0 % (")


def test_what_was_not_run_is_named_as_such(rows):
    assert rows["good", "whole", "plain"][0] == "not run"
    assert rows["good", "quarter", "both"] == ["not run", "", "", "", ""]


def test_pairs_are_of_the_same_seed_and_game():
    runs = [run for run in plan("curiosity", TEACHERS) if run.labels["budget"] == "quarter"]

    def pick(arm, game, seed):
        (run,) = [
            run
            for run in runs
            if (run.labels["arm"], run.labels["game"], run.cfg.seed) == (arm, game, seed)
        ]
        return run

    outcomes = [
        outcome(pick("plain", "Pong", 0), 0.5),
        outcome(pick("plain", "Pong", 1), 0.9),
        outcome(pick("aux", "Pong", 1), 0.8),
        outcome(pick("aux", "Freeway", 0), 0.1),  # without its plain twin
    ]
    text = verdicts.verdict_table(cells_of("curiosity", outcomes))
    (line,) = [line for line in text.splitlines() if line.startswith("| good | quarter | aux |")]
    assert "| -10.0 % | inconclusive (n unknown) |" in line
    assert "1 Freeway, 1 Pong" in line
