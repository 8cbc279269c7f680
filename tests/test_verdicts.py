"""What a study says of each arm beside the plain one."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from test_tables import TEACHERS, cells_of, outcome

from distill.statistics import Interval
from distill.study import arms, verdicts
from distill.study.estimates_figure import draw_estimates
from distill.study.plan import plan

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


def test_every_arm_that_was_run_has_a_row_and_no_other(rows):
    assert list(rows) == [("good", "quarter", arm) for arm in ("plain", "aux", "bonus")]


def test_an_arm_that_always_wins_by_more_than_the_margin_helps(rows):
    runs, _, iqm, better, difference, verdict, *_ = rows["good", "quarter", "aux"]
    assert runs == "5 Freeway, 5 Pong"
    assert iqm.startswith("90.0 % (")
    assert better == "100.0 %"
    assert difference == "10.0 % (10.0 to 10.0)"
    assert verdict == "helps"


def test_an_arm_within_the_margin_has_no_effect(rows):
    assert rows["good", "quarter", "bonus"][5] == "no effect within 2 %"


def test_at_equal_time_an_arm_stands_beside_plain_students_that_were_trained_as_long():
    good = [run for run in plan("curiosity", TEACHERS) if run.labels["seed"] in ("0", "1")]
    share = {
        ("quarter", "plain"): 0.5,
        ("quarter", "aux"): 0.6,
        ("quarter", "both"): 0.6,
        ("1.6 quarters", "plain"): 0.7,
        ("1.8 quarters", "plain"): 0.8,
    }
    outcomes = [
        outcome(run, share[key])
        for run in good
        if (key := (run.labels["budget"], run.labels["arm"])) in share
    ]
    table = verdicts.verdict_table(cells_of("curiosity", outcomes))
    quarter = [line for line in table.splitlines() if line.startswith("| good | quarter |")]
    aux, both = (next(x for x in quarter if f"| {arm} |" in x) for arm in ("aux", "both"))
    equal_steps = "10.0 % (10.0 to 10.0) | helps"
    assert aux.endswith(f"| {equal_steps} | -10.0 % (-10.0 to -10.0) | hurts | 1.6 quarters |")
    assert both.endswith(f"| {equal_steps} | -20.0 % (-20.0 to -20.0) | hurts | 1.8 quarters |")


def test_plain_students_trained_as_long_are_counted_where_not_every_run_has_one():
    share = {("quarter", "aux"): 0.6, ("1.6 quarters", "plain"): 0.7}
    outcomes = [
        outcome(run, share[key])
        for run in plan("curiosity", TEACHERS)
        if run.labels["teacher"] == "good"
        and (key := (run.labels["budget"], run.labels["arm"])) in share
        and (key[1] == "aux" or run.cfg.seed < 2)
    ]
    table = verdicts.verdict_table(cells_of("curiosity", outcomes))
    (aux,) = [line for line in table.splitlines() if line.startswith("| good | quarter | aux |")]
    assert "| 5 Freeway, 5 Pong |" in aux
    assert aux.endswith("| -10.0 % (-10.0 to -10.0) | hurts | 1.6 quarters, 4 pairs |")


def test_the_sentence_on_curiosity_is_completed_by_what_its_default_arm_did():
    share = {
        ("quarter", "plain"): 0.5,
        ("quarter", "aux"): 0.9,
        ("quarter", "both"): 0.6,
        ("1.8 quarters", "plain"): 0.61,
        ("whole", "plain"): 0.9,
        ("whole", "both"): 0.8,
    }
    outcomes = [
        outcome(run, share[key])
        for run in plan("curiosity", TEACHERS)
        if run.labels["teacher"] == "good" and run.labels["seed"] in ("0", "1")
        if (key := (run.labels["budget"], run.labels["arm"])) in share
    ]
    section = verdicts.curiosity_section(cells_of("curiosity", outcomes))
    sentence, endings, table = section.split("\n\n")
    assert sentence == "Running policy distillation using curiosity to guide the student results in"
    assert endings.splitlines() == [
        "- **a better student** (good teacher, quarter budget, equal steps, 4 pairs: 10.0 %"
        " (10.0 to 10.0))",
        "- **an equal student, within 2 % of the teacher's range** (good teacher, quarter budget,"
        " equal time, 4 pairs: -1.0 % (-1.0 to -1.0))",
        "- **a worse student** (good teacher, whole budget, equal steps, 4 pairs: -10.0 % (-10.0 to"
        " -10.0))",
    ]
    assert table.startswith("| teacher | budget | arm |")


def test_the_sentence_waits_for_its_first_pair():
    runs = [run for run in plan("curiosity", TEACHERS) if run.labels["arm"] == "both"]
    cells = cells_of("curiosity", [outcome(run, 0.5) for run in runs])
    assert verdicts.answer(cells) == ""


def test_the_plain_arm_is_compared_with_nothing(rows):
    runs, _, iqm, *rest = rows["good", "quarter", "plain"]
    assert (runs, rest) == ("5 Freeway, 5 Pong", [""] * 6)
    assert iqm.startswith("80.0 % (")


def test_an_arm_of_a_teacher_at_the_floor_has_no_share_to_compare():
    run = plan("curiosity", TEACHERS)[0]
    text = verdicts.verdict_table(cells_of("curiosity", [outcome(run, None)]))
    last = text.splitlines()[-1]
    assert last.startswith("| good | quarter | plain | none: the teacher is no better than")


def test_times_are_medians_of_each_game():
    seconds = {"Freeway": [10.0, 1300.0, 1200.0], "Pong": [70.4, 69.8, 1.0]}
    outcomes = [
        outcome(run, train_seconds=seconds[run.labels["game"]][run.cfg.seed])
        for run in plan("curiosity", TEACHERS)
        if (run.labels["budget"], run.labels["arm"]) == ("whole", "bonus")
    ]
    last = verdicts.verdict_table(cells_of("curiosity", outcomes)).splitlines()[-1]
    assert "| bonus | 3 Freeway, 3 Pong | 1,200 Freeway, 70 Pong |" in last


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


def test_a_mean_over_games_waits_for_every_game():
    quarter = [run for run in plan("curiosity", TEACHERS) if run.labels["budget"] == "quarter"]
    plain = [run for run in quarter if run.labels["arm"] == "plain"]
    bonus = [
        run
        for run in quarter
        if (run.labels["arm"], run.labels["game"]) == ("bonus", "Pong")  # the easier of the two
    ]
    easy = {"Freeway": 0.1, "Pong": 0.8}
    outcomes = [outcome(run, easy[run.labels["game"]]) for run in (*plain, *bonus)]
    cells = cells_of("curiosity", outcomes)
    text = verdicts.verdict_table(cells)
    (line,) = [line for line in text.splitlines() if line.startswith("| good | quarter | bonus |")]
    assert line.startswith("| good | quarter | bonus | 5 Pong | 60 Pong |  | 50.0 %")
    assert "bonus" not in arms.shares_by_arm(cells)["good teacher, quarter budget"]


def test_figures_show_what_was_run_and_its_intervals():
    runs = [run for run in plan("curiosity", TEACHERS) if run.labels["budget"] == "quarter"]
    outcomes = [
        outcome(run, SHARES[arm][run.cfg.seed], coverage=coverage + run.cfg.seed % 3)
        for run in runs
        for arm, coverage in (("plain", 100.0), ("aux", 200.0))
        if run.labels["arm"] == arm and (run.labels["game"], run.cfg.seed) != ("Pong", 4)
    ]
    cells = cells_of("curiosity", outcomes)
    shares = arms.shares_by_arm(cells)
    assert {title: list(arms) for title, arms in shares.items()} == {
        "good teacher, quarter budget": ["plain", "aux"]
    }
    aux = shares["good teacher, quarter budget"]["aux"]
    assert 0.88 <= aux.low < aux.value < aux.high <= 0.92
    coverage = arms.coverage_by_arm(cells)
    assert list(coverage) == [f"{g}, good teacher, quarter budget" for g in ("Freeway", "Pong")]
    assert {arm: e.value for arm, e in coverage["Pong, good teacher, quarter budget"].items()} == {
        "plain": 100.75,
        "aux": 200.75,
    }


def test_arms_without_a_teacher_are_in_the_table_but_in_no_figure_of_shares():
    level = {"plain": 0.99, "aux": 0.98, "both alone": -1.0}
    runs = [
        run
        for run in plan("curiosity", TEACHERS)
        if run.labels["arm"] in level and run.labels["budget"] == "whole"
    ]
    scores = [level[run.labels["arm"]] + run.cfg.seed / 1000 for run in runs]
    cells = cells_of("curiosity", list(map(outcome, runs, scores)))
    assert "| good | whole | both alone |" in verdicts.verdict_table(cells)
    title = "good teacher, whole budget"
    assert list(arms.shares_by_arm(cells)[title]) == ["plain", "aux"]
    assert list(arms.differences_by_arm(cells)[title]) == ["aux, equal steps"]


def test_differences_are_shown_at_equal_steps_and_time_once_seeds_say_how_sure_they_are():
    def score(run):
        level = {"plain": 0.5, "aux": 0.6, "bonus": 0.7}[run.labels["arm"]]
        return level + (0.1 if run.labels["budget"] == "1.6 quarters" else 0.0)

    runs = [
        run
        for run in plan("curiosity", TEACHERS)
        if run.labels["budget"] in {"quarter", "1.6 quarters"}
        and run.labels["teacher"] == "good"
        and (
            run.labels["arm"] in {"plain", "aux"}
            or (run.labels["arm"] == "bonus" and run.cfg.seed == 0)  # a single pair
        )
    ]
    found = arms.differences_by_arm(
        cells_of("curiosity", [outcome(run, score(run)) for run in runs])
    )
    assert {title: list(lines) for title, lines in found.items()} == {
        "good teacher, quarter budget": ["aux, equal steps", "aux, equal time"]
    }
    steps, time = found["good teacher, quarter budget"].values()
    assert (steps.value, time.value) == pytest.approx((0.1, 0.0))


def test_a_band_shows_which_differences_count_for_none():
    one = {"aux": Interval(0.5, 0.4, 0.6)}
    (with_band,) = draw_estimates({"title": one}, x_label="x", margin=0.02).axes
    (band,) = with_band.patches
    assert isinstance(band, Rectangle)
    assert (band.get_x(), band.get_x() + band.get_width()) == (-0.02, 0.02)
    (without,) = draw_estimates({"title": one}, x_label="x").axes
    assert not without.patches


def test_estimates_are_drawn_at_value_and_interval_and_a_single_one_without():
    one, two = Interval(0.5, -np.inf, np.inf), Interval(0.8, 0.7, 0.9)
    (axes,) = draw_estimates({"title": {"plain": one, "aux": two}}, x_label="x").axes
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_xydata()), [[0.5, 0], [0.8, 1]])
    hollow = axes.lines[1]
    np.testing.assert_allclose(np.asarray(hollow.get_xydata()), [[0.5, 0]])
    assert hollow.get_color() == "white"
    (bars,) = axes.collections
    assert isinstance(bars, LineCollection)
    np.testing.assert_allclose(
        np.asarray(bars.get_segments()), [[[0.5, 0], [0.5, 0]], [[0.7, 1], [0.9, 1]]]
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == ["plain", "aux"]


def test_shares_are_told_in_percent():
    one = {"title": {"aux": Interval(0.98, 0.97, 1.0)}}
    figures = [draw_estimates(one, x_label="x", percent=percent) for percent in (True, False)]
    for figure in figures:
        figure.draw_without_rendering()
    texts = [[t.get_text() for t in figure.axes[0].get_xticklabels()] for figure in figures]
    assert [all(text.endswith("%") for text in found) for found in texts] == [True, False]


def test_panels_of_estimates_stand_two_in_a_row():
    one = {"plain": Interval(0.5, 0.4, 0.6)}
    figure = draw_estimates({"a": one, "b": one, "c": one}, x_label="x")
    places = [axes.get_subplotspec() for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    assert [(p.rowspan.start, p.colspan.start) for p in places if p] == [(0, 0), (0, 1), (1, 0)]
