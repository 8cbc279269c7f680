"""The figures' script: what is drawn, from CSV files and records alone, and the teachers' table."""

import json

import make_figures
import numpy as np
import pytest
from in_process import run_main
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from run_folders import make_run
from scripted import score_of

from distill.floors import Floors
from distill.protocol import PROTOCOL
from distill.rows import read_rows
from distill.study import figures, ladder_figure, markdown, tables
from distill.study.curves import Point, collect, read_zoo
from distill.study.rungs import read_rungs

DISTILLED = "net3, distilled from the good teacher"


def test_a_panel_a_game_shows_each_runs_scores_and_each_kinds_name_once(tmp_path):
    path = tmp_path / "curves.csv"
    runs = [
        make_run(tmp_path, "c", "curious", {10: 2.0}),  # in whatever order they were collected
        make_run(tmp_path, "t", "teacher", {10: 5.0}),
        make_run(tmp_path, "u", "teacher", {10: 6.0}),
        make_run(tmp_path, "a", "plain", {10: 1.0, 20: 4.0}),
        make_run(tmp_path, "b", "plain", {10: 3.0}),
    ]
    collect(runs, path)
    points = [p._replace(env_id="G") for p in read_rows(path, Point)]
    teacher = next(p for p in points if p.kind == "teacher")
    elsewhere = teacher._replace(env_id="H", run="v")  # a game that no student played
    figure = figures.draw_curves([*points, elsewhere])
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
    assert drawn == [[[10, 5.0]], [[10, 6.0]], [[10, 1.0], [20, 4.0]], [[10, 3.0]], [[10, 2.0]]]
    legend = axes.get_legend()
    assert legend is not None
    named = [text.get_text() for text in legend.get_texts()]
    assert named[0].startswith("teachers while they learn")
    assert named[1:] == ["student", "curious student"]


def test_each_teacher_that_students_had_is_a_line_and_named_once(tmp_path):
    names = ("a", "b", "c")
    collect([make_run(tmp_path, n, "plain", {10: 1.0}) for n in names], tmp_path / "curves.csv")
    points = read_rows(tmp_path / "curves.csv", Point)
    scores = {"a": 30.0, "b": 32.0, "c": 30.0}
    levels = [
        p._replace(tag=tag, value=value)
        for p in points
        for tag, value in (("eval/teacher", scores[p.run]), ("eval/floor", 21.0))
    ]
    (axes,) = figures.draw_curves([*points, *levels]).axes
    flat = [line for line in axes.lines if line.get_linestyle() in ("--", ":")]
    assert [set(np.asarray(line.get_ydata())) for line in flat] == [{30.0}, {32.0}, {21.0}]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["student", "teacher", "floor"]


def test_the_ladders_legend_breaks_no_flag_in_two():
    points = read_rows(make_figures.CURVES, Point)
    for axes in ladder_figure.draw_ladder(points, read_rungs(make_figures.TEACHERS), {}).axes:
        legend = axes.get_legend()
        assert legend is not None
        lines = "\n".join(text.get_text() for text in legend.get_texts()).splitlines()
        assert not [line for line in lines if line.endswith("-")]


def test_small_networks_are_shown_beside_what_they_are_held_against(tmp_path):
    runs = [make_run(tmp_path, name, "teacher", {10: 5.0, 20: 7.0}) for name in "ab"]
    collect([*runs, make_run(tmp_path, "c", "plain", {10: 1.0})], tmp_path / "curves.csv")
    kinds = {"a": "PPO net3", "b": "teacher", "c": "plain"}
    points = [
        p._replace(kind=kinds[p.run], machine="m", seed=0, command="2e6")
        for p in read_rows(tmp_path / "curves.csv", Point)
    ]
    game = points[0].env_id
    levels = {game: {"floor": 2.0, "net3, distilled": 6.0}, "other": {"floor": 3.0}}
    (axes,) = figures.draw_small(points, levels).axes
    learned, floor, distilled = axes.lines
    colors = [to_hex(line.get_color()) for line in (learned, distilled, floor)]
    assert colors[0] == colors[1] != colors[2]
    assert (learned.get_label(), floor.get_label()) == ("PPO net3", "floor")
    assert np.asarray(learned.get_xydata()).tolist() == [[10, 5.0], [20, 7.0]]
    assert set(np.asarray(floor.get_ydata())) == {2.0}


def test_small_networks_have_a_color_a_precision_and_their_seeds_are_counted(tmp_path):
    runs = [make_run(tmp_path, name, "teacher", {10: 5.0}) for name in "abcd"]
    collect(runs, tmp_path / "curves.csv")
    bfloat16, float32 = "AMD EPYC (bfloat16), 2 cores", "AMD EPYC (float32), 2 cores"
    asked = "2e6 --network net3 --precision float32"
    made = {
        "a": (bfloat16, 0, ""),
        "b": (float32, 0, ""),
        "c": (float32, 1, ""),
        "d": (bfloat16, 2, asked),
    }
    points = [
        p._replace(kind="PPO net3", machine=machine, seed=seed, command=command)
        for p in read_rows(tmp_path / "curves.csv", Point)
        for machine, seed, command in [made[p.run]]
    ]
    (axes,) = figures.draw_small(points, {}).axes
    legend = axes.get_legend()
    assert legend is not None
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["PPO net3", "PPO net3, in float32, 3 seeds"]
    colors = [to_hex(line.get_color()) for line in axes.lines]
    assert len(colors) == 4
    assert colors[0] != colors[1] == colors[2] == colors[3]


def test_small_networks_of_other_settings_are_no_further_seeds(tmp_path):
    runs = [make_run(tmp_path, name, "teacher", {10: 5.0}) for name in "abc"]
    collect(runs, tmp_path / "curves.csv")
    begun = "2e6 --network net3 --seed 0"
    commands = {"a": begun, "b": f"{begun} --learning_rate 1e-2:0", "c": begun}
    points = [
        p._replace(kind="PPO net3", machine="m", seed=0, command=commands[p.run])
        for p in read_rows(tmp_path / "curves.csv", Point)
    ]
    (axes,) = figures.draw_small(points, {}).axes
    legend = axes.get_legend()
    assert legend is not None
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["PPO net3", "PPO net3, learning_rate 1e-2:0"]  # one seed, run twice


def test_what_small_networks_are_held_against_is_read_from_records_and_outcomes():
    cells, rungs = make_figures.read_grids()["students"], read_rungs(make_figures.TEACHERS)
    levels = figures.levels_of(rungs, cells, {"net3"})
    for cell in cells:
        if cell.outcomes and cell.labels["student"] == "net3":
            mine = levels[cell.outcomes[0].env_id]
            mean = np.mean([outcome.student_mean for outcome in cell.outcomes])
            assert mine[DISTILLED] == pytest.approx(mean)
            assert mine["floor"] == pytest.approx(cell.outcomes[0].floor, abs=1e-3)
            assert mine["good teacher"] == pytest.approx(cell.outcomes[0].teacher_mean, abs=1e-3)
            assert mine["floor"] < mine["medium teacher"] < mine["good teacher"]
    assert any(DISTILLED in mine for mine in levels.values())
    assert all(DISTILLED not in mine for mine in figures.levels_of(rungs, cells, ()).values())


def scored_record(env_id, steps, scores, **games):
    """A teacher's record, scored as students are; random play scores -2 and the constant 1.5."""
    floors = Floors(score_of(-2.0), score_of(1.5), best_action=1, n_envs=20, seed=10_000)
    evaluation = {"sampled": score_of(*scores).to_json(), "floors": floors.to_json()}
    games = {"protocol": PROTOCOL, "n_envs": 20, "seed": 10_000} | games
    return {"ships": True, "env_id": env_id, "steps": steps, "evaluation": evaluation | games}


@pytest.mark.parametrize(
    "games", [{"protocol": "another"}, {"n_envs": 4}, {"seed": 7}, {"n_envs": None}]
)
def test_a_teacher_scored_over_other_games_than_students_is_named(tmp_path, games):
    record = scored_record("G", 7, [1.0, 2.0], **games)
    (tmp_path / "envG_n_iters7.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"envG_n_iters7\.json: .*--write_score.*n_iters7\.zip"):
        read_rungs(tmp_path)


def test_a_teacher_that_was_scored_but_not_trained_here_is_no_rung(tmp_path):
    record = scored_record("G", 7, [1.0, 2.0])
    (tmp_path / "envG_a.json").write_text(json.dumps(record))
    del record["steps"]
    (tmp_path / "envG_b.json").write_text(json.dumps(record))
    assert [rung.zip_name for rung in read_rungs(tmp_path)] == ["envG_a.zip"]


def test_pages_and_figures_leave_out_teachers_that_their_owner_trained(tmp_path):
    """`ppo_teacher.py` and `eval_teacher.py --write_score` write into the same folder."""
    shipped = scored_record("G", 7, [1.0, 2.0]) | {"wall_seconds": 60, "commit": "a"}
    shipped["evaluation"]["greedy"] = shipped["evaluation"]["sampled"]
    own = scored_record("G", 9, [5.0], n_envs=1)  # in a trial of one game
    del own["ships"]
    unscored = {"env_id": "G", "steps": 8}
    for name, record in (("a", shipped), ("b", own), ("c", unscored)):
        (tmp_path / f"envG_{name}.json").write_text(json.dumps(record))
    assert [rung.zip_name for rung in read_rungs(tmp_path)] == ["envG_a.zip"]
    assert len(tables.teachers_table(tmp_path).splitlines()) == 3  # its head, and one


def test_the_ladder_shows_teachers_with_intervals_floors_and_the_published_curve(tmp_path):
    run_dir = make_run(tmp_path, "t", "teacher", {20_000: 1.0, 40_000: 3.0})
    collect([run_dir], tmp_path / "curves.csv")
    points = read_rows(tmp_path / "curves.csv", Point)
    env_id = points[0].env_id
    for steps, mean in ((50_000, 8.0), (20_000, 4.0)):
        record = scored_record(env_id, steps, [mean - 1, mean + 1])
        (tmp_path / f"env{steps}.json").write_text(json.dumps(record))
    unscored = {"ships": True, "env_id": env_id, "steps": 1}
    (tmp_path / "env1.json").write_text(json.dumps(unscored))

    rungs = read_rungs(tmp_path)
    assert [(rung.steps, rung.mean) for rung in rungs] == [(20_000, 4.0), (50_000, 8.0)]
    # The last of the published points lies beyond what we have.
    zoo = {env_id: [(25_000, 0.0), (50_000, 7.0), (60_000, 400.0)], "Other-v4": [(1, 99.0)]}
    (axes,) = ladder_figure.draw_ladder(points, rungs, zoo).axes
    lines = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
    assert [[20_000, 1.0], [40_000, 3.0]] in lines
    assert [[25_000, 0.0], [50_000, 7.0]] in lines
    assert [[20_000, 4.0], [50_000, 8.0]] in lines
    assert {line[0][1] for line in lines if line[0][1] == line[-1][1]} == {-2.0, 1.5}
    (bars,) = axes.collections
    assert isinstance(bars, LineCollection)
    bars = np.asarray(bars.get_segments())
    # Student's t of one degree of freedom is 12.706; the standard error of either is 1.
    np.testing.assert_allclose(bars[:, :, 1], [[-8.706, 16.706], [-4.706, 20.706]], atol=1e-3)


def test_runs_whose_teachers_ship_have_a_color_and_a_name_each_and_all_others_are_gray():
    points, rungs = read_rows(make_figures.CURVES, Point), read_rungs(make_figures.TEACHERS)
    figure = ladder_figure.draw_ladder(points, rungs, {})
    assert figure.axes
    for axes in figure.axes:
        mine = [p for p in points if p.env_id == axes.get_title() and p.kind == "teacher"]
        kept = {rung.run for rung in rungs if rung.env_id == axes.get_title()}
        assert kept <= {p.run for p in mine}
        curves = [line for line in axes.lines if line.get_linestyle() == "-"]  # no marks, no floors
        assert len(curves) == len({p.run for p in mine})
        colors = [to_hex(line.get_color()) for line in curves]
        shown = [color for color in colors if color != to_hex("0.75")]
        assert len(shown) == len(set(shown)) == len(kept)
        named = [line for line in curves if not str(line.get_label()).startswith("_")]
        assert len(named) == len(kept) + (len(curves) > len(kept))  # the gray ones once


def test_published_curves_reach_the_scores_they_are_known_for():
    zoo = read_zoo(make_figures.ZOO)
    assert dict(zoo["PongNoFrameskip-v4"])[3_000_000] > 20
    assert dict(zoo["BreakoutNoFrameskip-v4"])[2_000_000] > 55


def scored(name, steps, **more):
    score = {"mean": 1.234, "ci95": [1.0, 1.5], "n_unique": 4}
    evaluation = {"sampled": score, "greedy": score | {"mean": -2.0}}
    record = {"steps": steps, "wall_seconds": 90, "commit": "abcdef0123", "evaluation": evaluation}
    return name, {"ships": True, "env_id": name[3:-2]} | record | more


def test_the_table_has_a_line_a_teacher_by_game_and_steps(tmp_path):
    begun = {"init_from": "teachers/envPong_20261121-150317_n_iters2000.zip"}
    teachers = [
        scored("envPong_b", 2000, grade="good"),
        scored("envPong_a", 10_000, settings=begun, dirty=True),
    ]
    for name, record in [*teachers, scored("envBreakout_c", 5, commit=None, dirty=None)]:
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    (tmp_path / "envPong_d.json").write_text(json.dumps({"steps": 7}))  # not scored yet
    lines = tables.teachers_table(tmp_path).splitlines()[2:]
    names = [line.split(" | ")[0] for line in lines]
    assert names == ["| envBreakout_c", "| envPong_b", "| envPong_a"]
    assert lines[1] == (
        "| envPong_b | good | 2,000 | 1.23 (1.00 to 1.50) | 4 | -2.00 (1.00 to 1.50) | 4"
        " | 2 min | abcdef0 |"
    )
    assert lines[2].endswith(" | 2 min after n_iters2000 | abcdef0-dirty |")
    assert lines[0].endswith(" | 2 min | unknown |")


def test_a_new_table_takes_the_place_of_the_old_one_and_of_nothing_else():
    page = "a\n\n| teacher | x |\n|---|---|\n| old | 1 |\n\nb\n"
    expected = "a\n\n| teacher |\n| new |\n\nb\n"
    assert markdown.with_table(page, "| teacher |\n| new |") == expected
    at_the_end = "a\n| teacher | x |\n| old | 1 |\n"
    assert markdown.with_table(at_the_end, "| teacher |") == "a\n| teacher |\n"


def test_the_page_of_the_teachers_that_ship_has_the_table_of_their_records():
    page = (make_figures.TEACHERS / "README.md").read_text()
    assert markdown.with_table(page, tables.teachers_table(make_figures.TEACHERS)) == page


def test_curves_of_teachers_are_named_after_their_settings():
    command = "3e6 --env PongNoFrameskip-v4 --seed 0 --n_envs 16"
    assert ladder_figure.settings_of(command) == "seed 0, n_envs 16"
    assert ladder_figure.settings_of("1e7") == "defaults"
    assert ladder_figure.settings_of("--no-data_init 2e6 --seed 1") == "no-data_init, seed 1"
    later = "5e6 --init_from teachers/envX_n_iters2000000.zip --w_entropy 0.01:0"
    assert ladder_figure.settings_of(later) == "from step 2,000,000, w_entropy 0.01:0"
    longer = f"{command}, then 5000000 --resume NAME, then 7000000 --resume NAME"
    assert ladder_figure.settings_of(longer) == (
        "seed 0, n_envs 16, then to 5,000,000 steps, then to 7,000,000 steps"
    )


def test_curves_of_no_run_are_refused(monkeypatch, capsys):
    assert run_main(monkeypatch, make_figures, "--curves") == 2
    assert "make_figures.py: error: --curves needs --collect\n" in capsys.readouterr().err


def test_a_missing_file_of_results_is_named_before_anything_is_written(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(make_figures, "PROBES", tmp_path / "uncertainty.csv")
    monkeypatch.setattr(make_figures, "write_text", None)  # to be called would be an error
    assert run_main(monkeypatch, make_figures) == 2
    assert f"{tmp_path / 'uncertainty.csv'} is missing" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_record_of_a_teacher_is_named(tmp_path, text):
    (tmp_path / "envG.json").write_text(text)
    with pytest.raises(ValueError, match=r"envG\.json is damaged"):
        read_rungs(tmp_path)


def test_two_runs_of_one_name_are_refused(monkeypatch, tmp_path, capsys):
    """One's row would replace the other's."""
    for folder in ("a", "b"):
        (tmp_path / folder / "run").mkdir(parents=True)
    folders = [str(tmp_path / folder / "run") for folder in ("a", "b")]
    assert run_main(monkeypatch, make_figures, "--collect", *folders) == 2
    line = "--collect needs runs of different names, got run twice"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["--curves"]])
def test_a_folder_that_is_no_run_is_named_and_nothing_written(monkeypatch, tmp_path, capsys, flags):
    monkeypatch.setattr(make_figures, "collect_outcomes", None)  # to be called would be an error
    monkeypatch.setattr(make_figures, "collect", None)
    assert run_main(monkeypatch, make_figures, *flags, "--collect", str(tmp_path)) == 2
    expected = f"error: --collect {tmp_path} is not a run folder: it has no config.yaml"
    assert expected in capsys.readouterr().err
