"""What a study says in a terminal: a line a cell, and differences from the first value."""

import pytest
from test_grids import ALL_TEACHERS
from test_tables import outcome

from distill.config import DistillConfig
from distill.study.cells import Cell, cells_of
from distill.study.grids import GRIDS
from distill.study.plan import Run, plan
from distill.study.summary import LEGEND, contrasts, differing_axes, summary

ARMS = {"plain": (0.90, 0.94), "aux": (0.95, 0.99), "bonus": (0.905, 0.945)}


def cell(*shares: float | None, n_planned: int = 2, **labels: str) -> Cell:
    """Make a cell of which the first seeds are done, with these shares."""
    runs = [Run("mine", {}, DistillConfig(env="G", seed=seed)) for seed in range(len(shares))]
    return Cell(labels, n_planned, list(map(outcome, runs, shares)))


def test_a_study_ends_with_a_line_a_cell_and_what_its_last_axis_is_worth():
    cells = [
        cell(*(ARMS[arm] if student == "net3" else ()), game="Pong", student=student, arm=arm)
        for student in ("net1", "net3")
        for arm in ARMS
    ]
    assert summary(cells) == (
        "student  arm          score  share of the teacher's  n  KL, nats   s\n"
        "net3     plain  1.00 / 2.00  92.0 % (66.6 to 117.4)  2    0.0100  60\n"
        "net3     aux    1.00 / 2.00  97.0 % (71.6 to 122.4)  2    0.0100  60\n"
        "net3     bonus  1.00 / 2.00  92.5 % (67.1 to 117.9)  2    0.0100  60\n"
        f"{LEGEND}\n"
        "net3, arm aux instead of plain: 5.0 % (5.0 to 5.0) in 2 pairs, helps\n"
        "net3, arm bonus instead of plain: 0.5 % (0.5 to 0.5) in 2 pairs, no effect within 2 %"
    )


def test_scores_are_means_over_seeds_and_so_are_their_teachers():
    """A teacher may have been scored anew between two seeds."""
    one = cell(0.1, 0.2, 0.9, n_planned=3, game="Pong", arm="plain")
    scores = [(1.0, 2.0), (2.0, 2.0), (6.0, 5.0)]
    done = [
        o._replace(student_mean=student, teacher_mean=teacher)
        for o, (student, teacher) in zip(one.outcomes, scores, strict=True)
    ]
    line = summary([one._replace(outcomes=done)]).splitlines()[1]
    assert line.split()[:3] == ["3.00", "/", "3.00"]


def test_nothing_is_said_before_a_run_is_done():
    assert summary([cell(game="Pong", arm="plain"), cell(game="Pong", arm="aux")]) == ""


def test_a_cell_says_how_many_of_its_seeds_are_done():
    first = cell(0.9, n_planned=5, game="Pong", arm="plain")
    no_range = cell(None, None, game="Pong", arm="aux")  # a teacher no better than the floor
    _, one, other, *_ = summary([first, no_range]).splitlines()
    assert "  90.0 %  1 of 5  " in one
    assert "  no share  0 of 2  " in other


def test_differences_are_of_pairs_over_games():
    """Two games, whose means count alike, though one has a pair more."""
    cells = [
        cell(0.5, 0.6, 0.7, game="Pong", arm="plain"),
        cell(0.6, 0.7, 0.8, game="Pong", arm="new"),
        cell(0.5, 0.5, 0.4, game="Freeway", arm="plain"),
        cell(0.2, 0.2, game="Freeway", arm="new"),
    ]
    (line,) = contrasts(cells, differing_axes(cells))
    assert line == "arm new instead of plain: -10.0 % (-10.0 to -10.0) in 5 pairs, hurts"


def test_an_axis_may_have_any_name():
    cells = [cell(0.5, 0.5, game="Pong", cells="a"), cell(0.6, 0.6, game="Pong", cells="b")]
    assert contrasts(cells, ["cells"]) == [
        "cells b instead of a: 10.0 % (10.0 to 10.0) in 2 pairs, helps"
    ]


def test_without_a_pair_there_is_no_difference():
    cells = [cell(0.5, game="Pong", arm="plain"), cell(game="Pong", arm="new")]
    assert contrasts(cells, differing_axes(cells)) == []
    assert contrasts(cells[:1], differing_axes(cells[:1])) == []


def test_a_single_pair_decides_nothing():
    cells = [cell(0.5, game="Pong", arm="plain"), cell(0.9, game="Pong", arm="new")]
    assert contrasts(cells, differing_axes(cells)) == [
        "arm new instead of plain: 40.0 % in 1 pair, inconclusive (n unknown)"
    ]


def test_what_differs_between_games_alone_is_told_by_the_game():
    one = cell(game="Pong", env="PongNoFrameskip-v4", arm="plain")
    other = cell(game="Boxing", env="ALE/Boxing-v5", arm="plain")
    new = cell(game="Pong", env="PongNoFrameskip-v4", arm="new")
    assert differing_axes([one, other]) == ["game"]
    assert contrasts([one, other], ["game"]) == []
    assert differing_axes([one, new, other]) == ["game", "arm"]
    sticky = cell(game="Pong", env="PongNoFrameskip-v0", arm="plain")
    assert differing_axes([one, sticky]) == ["env"]


@pytest.mark.parametrize("grid", GRIDS)
def test_studies_that_have_a_name_have_all_axes_in_all_cells(grid):
    cells = cells_of(plan(grid, ALL_TEACHERS), {})
    assert {frozenset(cell.labels) for cell in cells} == {frozenset(cells[0].labels)}
    told = [tuple(cell.labels[axis] for axis in differing_axes(cells)) for cell in cells]
    assert len(set(told)) == len(cells)
