"""From outcomes to tables: cells of grids, what their rows say, where pages take them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer

from distill.config import DistillConfig
from distill.settings import to_mapping
from distill.statistics import Interval
from distill.study import markdown, tables
from distill.study.axes import GAMES
from distill.study.cell_figures import SHIFT, draw_shares, gather, spread
from distill.study.cells import Cell, by_identity
from distill.study.cells import cells_of as lay_out
from distill.study.outcomes import Outcome
from distill.study.plan import Run, decisive, plan

TEACHERS = {(env_id, "good"): Path(f"teachers/{name}.zip") for name, env_id in GAMES.items()}
SHARES = {"0": 0.9, "1": 1.0, "2": 0.95}


def outcome(run: Run, share: float | None = 0.5, **more: object) -> Outcome:
    cfg = run.cfg
    found = Outcome(
        run=run.id, env_id=str(cfg.env), teacher="t.zip", student=str(cfg.student), kind="plain",
        seed=cfg.seed, parameters=1000, floor=0.0, teacher_mean=2.0, student_mean=1.0,
        student_low=0.5, student_high=1.5, games=100, greedy_mean=None, score_share=share, kl=0.01,
        agreement=0.9, steps=10, updates=5, train_seconds=60.0, commit="c", machine="m", command="",
        settings=json.dumps(decisive(to_mapping(cfg))),
    )  # fmt: skip
    return found._replace(**more)


def runs_of(grid: str, **labels: str) -> list[Run]:
    return [run for run in plan(grid, TEACHERS) if labels.items() <= run.labels.items()]


def cells_of(grid: str, outcomes: list[Outcome]) -> list[Cell]:
    return lay_out(plan(grid, TEACHERS), by_identity(outcomes))


def cell_of(cells: list[Cell], **labels: str) -> Cell:
    (cell,) = [cell for cell in cells if labels.items() <= cell.labels.items()]
    return cell


def test_a_cell_has_its_seeds_and_no_others():
    done = [outcome(run) for run in runs_of("sampling", sampling="best 4 of", game="Pong")]
    cells = cells_of("sampling", [*done, outcome(runs_of("students")[0])])
    cell = cell_of(cells, sampling="best 4 of", game="Pong")
    assert [o.run for o in cell.outcomes] == [o.run for o in done]
    assert [o.seed for o in cell.outcomes] == [0, 1, 2]
    others = [c for c in cells if c is not cell]
    assert len(others) == 9
    assert not any(c.outcomes for c in others)
    assert {c.n_planned for c in cells} == {3}


def test_a_cells_time_leaves_out_machines_unlike_most_where_there_are_others():
    seconds = {0: 120.0, 1: 500.0, 2: 130.0}
    slow, quick = "AMD EPYC (float32), 2 cores", "AMD EPYC (bfloat16), 2 cores"
    large = "Intel Xeon (bfloat16), 16 cores, torch 2.11.0+cu130"
    gpu = "Intel Xeon, 16 cores, NVIDIA H200 (bfloat16), torch 2.11.0+cu130"

    def text(machines):
        done = [
            outcome(run, train_seconds=seconds[run.cfg.seed], machine=machines[run.cfg.seed])
            for run in runs_of("sampling", sampling="best 4 of", game="Pong")
        ]
        cells = cells_of("sampling", done)
        return tables.seconds_text(cell_of(cells, sampling="best 4 of", game="Pong"))

    assert text([quick, slow, quick]) == "125"
    assert text([quick, slow, "AMD EPYC, 2 cores"]) == "125"  # an earlier record
    assert text([slow, slow, slow]) == "130 (float32)"
    assert text([quick, large, gpu]) == "120"
    assert text([large, slow, large]) == "125 (16 cores)"
    assert text([slow, slow, gpu]) == "130 (GPU)"
    assert text([large, gpu, slow]) == "310 (16 cores, GPU)"


def test_an_outcome_older_than_a_setting_counts_as_run_at_its_default():
    run = runs_of("sampling")[0]
    settings = json.loads(outcome(run).settings)
    del settings["w_entropy"]
    old = outcome(run, settings=json.dumps(settings))
    assert by_identity([old]) == {run.id: old}


def test_of_two_outcomes_of_the_same_settings_the_later_row_counts():
    run = runs_of("sampling")[0]
    earlier, later = outcome(run, share=0.4), outcome(run, share=0.6)
    assert by_identity([earlier, later]) == {run.id: later}


def test_an_outcome_of_other_settings_is_no_part_of_a_grid():
    run = runs_of("sampling")[0]
    other = outcome(run._replace(cfg=replace(run.cfg, learning_rate="0.1")))
    cells = cells_of("sampling", [other])
    assert not any(cell.outcomes for cell in cells)


def test_shares_say_how_many_seeds_they_are_of_and_how_many_are_missing():
    labels, runs = {"game": "Pong"}, runs_of("sampling", sampling="uniform", game="Pong")
    found = [outcome(run, SHARES[run.labels["seed"]]) for run in runs]
    text = tables.share_text(Cell(labels, 3, found))
    assert text == "95.0 % (82.6 to 107.4), n = 3"
    assert tables.share_text(Cell(labels, 3, found[:1])) == "90.0 %, n = 1, 2 not run"
    assert tables.share_text(Cell(labels, 3, [])) == "not run"
    pointless = tables.share_text(Cell(labels, 3, [outcome(runs[0], None)]))
    assert pointless == "none: the teacher is no better than the floor"


def test_what_rounds_to_nothing_has_no_sign():
    assert tables.percent(Interval(-0.0004, -0.0202, 0.0191)) == "0.0 % (-2.0 to 1.9)"
    assert tables.percent(Interval(-0.0004, -np.inf, np.inf)) == "0.0 %"


def test_a_grids_table_has_a_row_a_combination_and_columns_a_game():
    runs = runs_of("sampling", sampling="uniform")
    found = [
        outcome(run, SHARES[run.labels["seed"]]) for run in runs if run.labels["game"] == "Pong"
    ]
    lines = tables.grid_table(cells_of("sampling", found))
    head, _, uniform = lines.splitlines()  # and none of which nothing was run
    columns = "share of the teacher's | KL, nats: training / new states | training, s |"
    assert head == f"| sampling | Freeway: {columns} Pong: {columns}"
    assert uniform == ("| uniform | not run |  |  | 95.0 % (82.6 to 107.4), n = 3 | 0.0100 | 60 |")


def test_divergences_are_medians_and_those_on_new_states_of_the_runs_that_measured_them():
    kls, fresh = {0: 0.03, 1: 0.01, 2: 0.02}, {0: 0.07, 1: None, 2: 0.04}
    runs = runs_of("sampling", sampling="uniform", game="Pong")
    found = [outcome(run, kl=kls[run.cfg.seed], fresh_kl=fresh[run.cfg.seed]) for run in runs]
    assert tables.kl_text(Cell({}, 3, found)) == "0.0200 / 0.0550"
    assert tables.kl_text(Cell({}, 3, found[1:2])) == "0.0100"


def test_students_are_told_with_their_size():
    found = [outcome(run) for run in runs_of("students", student="1pct", budget="whole")]
    head, _, row = tables.grid_table(cells_of("students", found)).splitlines()
    assert head.startswith("| budget | student | parameters (3 actions) | Freeway: share")
    assert row.startswith("| whole | 1pct | 16,347 | 50.0 %")


def test_a_section_says_how_much_of_the_grid_is_done_and_names_the_rest():
    runs = runs_of("sampling")
    cells = cells_of("sampling", [])
    assert tables.grid_section("sampling", cells, tables.grid_table) == (
        "Not run yet: `python scripts/compare.py --grid sampling`."
    )
    uniform = runs_of("sampling", sampling="uniform")
    cells = cells_of("sampling", [outcome(run) for run in uniform[:4]])
    last = tables.grid_section("sampling", cells, tables.grid_table).splitlines()[-1]
    assert last == (
        "4 of 30 runs of `python scripts/compare.py --grid sampling` are done,"
        " scored over 100 games each. Not run: best 2 of; best 4 of; best 4 of,"
        " importance weights; best 4 of, by action gap."
    )
    cells = cells_of("sampling", [outcome(run) for run in runs])
    assert tables.grid_section("sampling", cells, tables.grid_table).endswith("100 games each.")


def test_a_section_replaces_what_is_between_its_marks_and_nothing_else():
    page = "a\n<!-- x -->\nold\n\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    new = markdown.with_section(page, "x", r"new \1")
    assert new == "a\n<!-- x -->\nnew \\1\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    assert markdown.with_section(new, "x", r"new \1") == new
    with pytest.raises(ValueError, match=r"must hold <!-- z --> and <!-- /z --> once each"):
        markdown.with_section(page, "z", "")


def test_a_page_takes_those_sections_that_it_has_a_place_for():
    page = "<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\nkept\n<!-- /y -->\n"
    new = markdown.with_sections(page, {"x": "new", "z": "of another page"})
    assert new == page.replace("old", "new")


def test_points_are_drawn_at_mean_and_interval_of_each_cell():
    runs = runs_of("sampling", sampling="uniform", game="Pong")
    cells = [
        Cell(
            {"game": "Pong", "student": "net3"},
            3,
            [outcome(run, SHARES[run.labels["seed"]]) for run in runs],
        ),
        Cell({"game": "Pong", "student": "net1"}, 3, []),
        Cell({"game": "Pong", "student": "net2"}, 3, [outcome(runs[0], 0.5)]),
    ]
    figure = draw_shares(cells, lambda _: 250.0, x_label="x", name_axis="student")
    (axes,) = figure.axes
    drawn = [[250.0, 0.95], [250.0, 0.5]]
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_xydata()), drawn, rtol=1e-9)
    (hollow,) = [line for line in axes.lines if line.get_color() == "white"]
    np.testing.assert_allclose(np.asarray(hollow.get_xydata()), drawn[1:], rtol=1e-9)
    assert hollow.get_zorder() > axes.lines[0].get_zorder()
    (bars,) = axes.collections
    assert isinstance(bars, LineCollection)
    low, high = np.asarray(bars.get_segments())[0]
    assert (low[1], high[1]) == pytest.approx((0.825793, 1.074207), rel=1e-4)
    assert [text.get_text() for text in axes.texts] == ["net3", "net2"]
    (crosses,) = [line for line in axes.lines if line.get_marker() == "x"]
    np.testing.assert_array_equal(crosses.get_ydata(), [*SHARES.values(), 0.5])


def test_points_of_one_student_are_joined_from_left_to_right():
    run = runs_of("sampling", sampling="uniform", game="Pong")[0]
    shares = {("net3", "4"): 0.9, ("net3", "16"): 0.5, ("net1", "16"): 0.6, ("net1", "4"): 1.0}
    cells = [
        Cell({"game": "Pong", "student": s, "updates": n}, 3, [outcome(run, share)])
        for (s, n), share in shares.items()
    ]
    figure = draw_shares(
        cells, lambda cell: 64 / int(cell.labels["updates"]), x_label="x", name_axis="student"
    )
    (axes,) = figure.axes
    bars = [found for found in axes.containers if isinstance(found, ErrorbarContainer)]
    named = {found.get_label(): found.lines[0] for found in bars}
    drawn = {name: np.asarray(line.get_xydata()).tolist() for name, line in named.items()}
    assert drawn == {
        "net1 student": [[4, 0.6], [16, 1.0]],
        "net3 student": [[4, 0.5], [16, 0.9]],
    }
    assert {line.get_linestyle() for line in named.values()} == {"-"}
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert {line.get_color(): np.asarray(line.get_xydata()).tolist() for line in crosses} == {
        named[name].get_color(): points for name, points in drawn.items()
    }
    assert len(crosses) == 2
    figure.draw_without_rendering()
    at_4 = [line.get_transform().transform((4, 0.5))[0] for line in crosses]
    assert np.diff(at_4) == pytest.approx([SHIFT / 72 * figure.dpi])  # side by side
    left, right = axes.get_xlim()
    assert (left, right) == pytest.approx((4 / 4**0.14, 16 * 4**0.14))
    assert [round(tick) for tick in axes.get_xticks()] == [4, 16]  # each once
    assert not axes.texts


def test_what_is_shown_reaches_as_far_as_the_students_not_as_their_interval():
    runs = runs_of("sampling", sampling="uniform", game="Pong")
    found = [outcome(run, share) for run, share in zip(runs, (0.8, -1.2, -1.0), strict=True)]
    cell = Cell({"game": "Pong", "student": "0.1pct"}, 3, found)
    (axes,) = draw_shares([cell], lambda _: 250.0, x_label="x", name_axis="student").axes
    room = 0.12 * spread(-1.2)  # of what is shown, up to the teacher, where shares are drawn at 0
    assert spread(axes.get_ylim()) == pytest.approx([spread(-1.2) + room, -room])


def test_shares_near_the_teacher_are_drawn_apart_and_losses_ten_times_as_large_evenly():
    assert spread([0.98, 1.0, 1.02]) == pytest.approx([-np.log(2), 0, np.log(2)])
    lost = np.array([1, 10, 100])  # of the teacher's range: each ten times the one before
    assert np.diff(spread(1 - lost)) == pytest.approx([-np.log(10)] * 2, rel=0.01)
    shares = np.array([-4.0, 0.0, 0.9, 1.0, 1.3])
    assert gather(spread(shares)) == pytest.approx(shares)
    assert np.all(np.diff(spread(shares)) > 0)


def test_settings_that_decide_a_result_name_no_place():
    cfg = DistillConfig(teacher_chkpt=Path("/somewhere/t.zip"), run_dir=Path("/x"), n_threads=3)
    kept = decisive(to_mapping(cfg))
    assert kept["teacher_chkpt"] == "t.zip"
    assert "/" not in json.dumps({k: v for k, v in kept.items() if k != "env"})
