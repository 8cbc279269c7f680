"""Which runs a study has."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from distill import cli
from distill.cli import refuse_unheard
from distill.config import DistillConfig
from distill.idle import SWITCHES, refuse_idle
from distill.settings import info_of, to_mapping
from distill.study.axes import AXES, BEST, DEFAULTS, GAMES, GRADES
from distill.study.grids import AS_LONG, GRIDS
from distill.study.plan import Run, identity, make_config, plan
from distill.study.rungs import teachers_by_grade
from distill.study.study_config import CompareConfig

ALL_TEACHERS = {
    (env_id, grade): Path(f"teachers/{name}-{grade}.zip")
    for name, env_id in GAMES.items()
    for grade in (BEST, *GRADES)
}
GOOD = {key: path for key, path in ALL_TEACHERS.items() if key[1] == "good"}


def chosen(runs: list[Run], **labels: str) -> list[Run]:
    return [run for run in runs if labels.items() <= run.labels.items()]


@pytest.mark.parametrize("grid", GRIDS)
def test_each_is_a_study_that_compare_runs_and_that_its_help_names(grid):
    cfg = CompareConfig(grid=grid)
    assert (cfg.name, cfg.study_file) == (grid, None)
    (field,) = (f for f in fields(CompareConfig) if f.name == "grid")
    assert grid in re.findall(r"\w+", info_of(field).help)


@pytest.mark.parametrize("grid", GRIDS)
def test_each_run_is_there_once_and_its_command_line_gives_its_settings(grid):
    runs = plan(grid, ALL_TEACHERS)
    assert len({run.id for run in runs}) == len(runs) > 0
    for run in runs:
        again = cli.parse_settings(DistillConfig, "", cli.to_argv(run.cfg))
        assert again == run.cfg


@pytest.mark.parametrize("grid", GRIDS)
def test_no_run_has_settings_that_would_change_nothing(grid):
    for run in plan(grid, ALL_TEACHERS):
        refuse_idle(run.cfg)
        refuse_unheard(cli.parse_command(DistillConfig, "", cli.to_argv(run.cfg)), SWITCHES)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_seed_of_a_cell_is_the_same_but_for_the_seed(grid):
    runs = plan(grid, GOOD)
    for run in runs:
        twin = replace(run.cfg, seed=99)
        others = [
            replace(other.cfg, seed=99)
            for other in runs
            if other.labels | {"seed": ""} == run.labels | {"seed": ""}
        ]
        assert others
        assert all(other == twin for other in others)


def test_curiosity_begins_with_what_must_be_known_first():
    runs = plan("curiosity", ALL_TEACHERS)
    first = chosen(runs, budget="quarter", teacher="good")
    arms = ("plain", "aux", "bonus", "both")
    assert {run.labels["arm"] for run in runs[:40]} == set(arms)
    assert runs[:40] == [run for run in first if run.labels["arm"] in arms]
    for game in ("Freeway", "Pong"):
        assert len(chosen(runs[:40], game=game, arm="plain")) == 5
        assert len(chosen(runs, game=game, arm="both", budget="whole", teacher="good")) == 3


def test_each_setting_changes_the_defaults_and_the_samples_a_step_only_if_it_says_so():
    runs = chosen(plan("settings", GOOD), seed="0", game="Pong")
    assert len({run.id for run in runs}) == len(AXES["setting"])
    default = DistillConfig()
    for run in runs:
        factor = {"half as many updates": 0.5, "twice as many updates": 2.0}
        samples = run.cfg.batch_size / run.cfg.steps_per_update
        expected = factor.get(run.labels["setting"], 1.0)
        assert samples == expected * default.batch_size / default.steps_per_update


@pytest.mark.parametrize("teacher", GRADES)
def test_an_arm_meets_plain_students_of_its_own_seeds_that_trained_as_long(teacher):
    runs = chosen(plan("curiosity", ALL_TEACHERS), teacher=teacher)
    arms = {(run.labels["budget"], run.labels["arm"]) for run in runs}
    if teacher == "good":
        assert arms >= AS_LONG.keys()
    for budget, arm in AS_LONG.keys() & arms:
        for game in ("Freeway", "Pong"):
            curious, plain = (
                [r.labels["seed"] for r in chosen(runs, game=game, **labels)]
                for labels in (
                    {"budget": budget, "arm": arm},
                    {"budget": AS_LONG[budget, arm], "arm": "plain"},
                )
            )
            assert curious == plain != []


def test_uncertainty_weights_either_term_and_both_whatever_the_teacher():
    runs = [run for run in plan("curiosity", ALL_TEACHERS) if run.cfg.use_uncertainty]
    found = {(run.labels["teacher"], run.cfg.uncertain_terms) for run in runs}
    terms = [frozenset(x) for x in (("distill",), ("bonus",), ("distill", "bonus"))]
    assert found == {(grade, which) for grade in GRADES for which in terms}


@pytest.mark.parametrize(
    ("arm", "encoder_gradient"), [("bonus alone", "none"), ("both alone", "inverse")]
)
def test_curiosity_alone_learns_from_nothing_else_to_the_end(arm, encoder_gradient):
    run = chosen(plan("curiosity", GOOD), arm=arm)[0]
    for progress in (0.0, 0.99):
        weights = run.cfg.weights(progress)
        assert weights.keys() == {"icm", "policy", "value", "entropy"}
        assert run.cfg.encoder_gradient(progress) == encoder_gradient
    assert run.cfg.c_ext.is_zero


def test_encoders_differ_in_which_losses_of_the_icm_reach_them_and_how_much():
    runs = chosen(plan("encoder", GOOD), seed="0", game="Pong", budget="quarter")
    assert len({run.id for run in runs}) == len(AXES["encoder"]) == 9
    found = {(r.cfg.icm_gradient, r.cfg.w_icm.start) for r in runs if r.cfg.use_icm}
    assert found == {(which, w) for which in ("inverse", "both") for w in (0.03, 0.1, 0.3, 1.0)}
    assert all(run.cfg.curiosity == "aux" for run in runs if run.cfg.use_icm)


def test_bonuses_differ_in_their_factor_and_the_usual_one_is_run_once():
    runs = chosen(plan("bonus", ALL_TEACHERS), seed="0", game="Pong", teacher="good")
    plain, *others = runs
    assert not plain.cfg.use_curiosity
    assert [run.cfg.c_int.start for run in others] == [0.1, 0.3, 1.0, 3.0]
    for run in others:
        assert replace(run.cfg, c_int=DistillConfig.c_int) == others[1].cfg  # nothing else
    ids = {run.id for run in plan("curiosity", ALL_TEACHERS)}
    assert {plain.id, others[1].id} <= ids


def test_temperatures_sharpen_the_teacher_alone_and_the_usual_one_is_run_once():
    runs = chosen(plan("temperatures", ALL_TEACHERS), seed="0", game="Pong", student="net1")
    plain, *others = runs
    assert plain.cfg.temperature == 1
    assert [run.cfg.temperature for run in others] == [0.7, 0.5, 0.3]
    assert {run.cfg.match_temperature for run in others} == {False}
    assert {replace(run.cfg, temperature=1.0, match_temperature=True) for run in runs} == {
        plain.cfg
    }  # nothing else
    assert plain.id in {run.id for run in plan("best_losses", ALL_TEACHERS)}


def test_losses_are_tried_on_the_best_teachers_and_others_and_all_else_stays_as_it_is():
    runs = plan("best_losses", ALL_TEACHERS)
    assert len(chosen(runs, teacher=BEST)) == 3 * 2 * (2 * 3 + 1)
    assert len(chosen(runs, teacher="medium")) == 3 * 2 * 3
    assert len(runs) == 42 + 18
    usual = {run.id for grid in ("best", "teachers") for run in plan(grid, ALL_TEACHERS)}
    assert {run.id for run in chosen(runs, loss="kl, both / 3")} <= usual  # run once for both
    mse, hinton = (chosen(runs, loss=loss) for loss in ("mse", "kl, both / 3"))
    assert {run.cfg.loss for run in mse} == {"mse"}
    assert {(run.cfg.temperature, run.cfg.match_temperature) for run in hinton} == {(3.0, True)}
    plain = {"loss": "kl", "temperature": 1.0, "match_temperature": True}
    assert {replace(run.cfg, **plain) for run in runs} == {
        run.cfg for run in chosen(runs, loss="kl")
    }


def test_arms_on_breakout_meet_plain_students_that_trained_as_long():
    runs = plan("curiosity_breakout", ALL_TEACHERS)
    assert {run.labels["game"] for run in runs} == {"Breakout"}
    assert {run.cfg.temperature for run in runs} == {DistillConfig.temperature}
    seeds = {run.labels["seed"] for run in runs}
    for arm in {run.labels["arm"] for run in runs} - {"plain"}:
        as_long = chosen(runs, arm="plain", budget=AS_LONG["quarter", arm])
        assert {run.labels["seed"] for run in as_long} == seeds


def test_encoders_meet_plain_students_that_trained_as_long():
    runs = plan("encoder", GOOD)
    (longer,) = {run.labels["budget"] for run in runs} - {"quarter"}
    assert longer == AS_LONG["quarter", "aux"]
    plain = chosen(runs, budget=longer)
    assert {run.labels["encoder"] for run in plain} == {"plain"}
    in_curiosity = {run.id for run in plan("curiosity", GOOD)}
    assert len(plain) == 6
    assert {run.id for run in plain} <= in_curiosity  # run once for both


def test_uncertainty_alone_tells_the_arms_of_weighting_apart_and_plain_ones_are_run_once():
    runs = plan("weighting", ALL_TEACHERS)
    unsure = chosen(runs, arm="uncertainty")
    twins = [twin for run in unsure for twin in chosen(runs, **run.labels | {"arm": "plain"})]
    off = [replace(run.cfg, use_uncertainty=False) for run in unsure]
    assert off == [twin.cfg for twin in twins]
    assert len(unsure) == 20  # of two games and two teachers
    in_curiosity = {run.id for run in plan("curiosity_defaults", ALL_TEACHERS)}
    assert len({twin.id for twin in twins} & in_curiosity) == 16  # five seeds and three
    longer = {run.labels["budget"] for run in runs} - {"quarter"}
    assert longer == {AS_LONG["quarter", "uncertainty"]}


@pytest.mark.parametrize("grid", GRIDS)
def test_a_level_is_measured_over_as_many_games_as_a_teachers_and_arms_over_half(grid):
    levels = (
        "best best_losses temperatures students updates states methods budgets teachers breakout "
        "curiosity_breakout"  # whose scores vary too much for half
    )
    games = 100 if grid in levels.split() else 50
    assert {run.cfg.n_eval_episodes for run in plan(grid, ALL_TEACHERS)} == {games}


def test_updates_grow_fewer_in_as_many_steps_for_large_and_small_students_alike():
    runs = chosen(plan("updates", GOOD), seed="0", game="Freeway")
    assert {run.cfg.total_steps for run in runs} == {DistillConfig.total_steps}
    assert {run.cfg.batch_size for run in runs} == {DistillConfig.batch_size}
    for student in ("net3", "net1", "nature"):
        intervals = [run.cfg.steps_per_update for run in chosen(runs, student=student)]
        assert sorted(intervals) == [4, 16, 64, 256]
    usual = chosen(runs, updates="one in 4 steps")
    assert {run.id for run in usual} <= {run.id for run in plan("students", GOOD)}  # run once


def test_more_states_are_learned_from_by_as_many_updates():
    runs = plan("states", ALL_TEACHERS)
    totals = {run.cfg.total_steps for run in runs}
    assert totals == {factor * DistillConfig.total_steps for factor in (1, 2, 4)}
    assert len({run.cfg.total_steps / run.cfg.steps_per_update for run in runs}) == 1
    assert {(run.labels["game"], run.labels["teacher"]) for run in runs} == {
        ("Freeway", BEST),
        ("Pong", BEST),
        ("Breakout", "good"),
    }
    usual = {run.id for grid in ("best_losses", "breakout") for run in plan(grid, ALL_TEACHERS)}
    assert {run.id for run in chosen(runs, budget="whole")} <= usual


def test_the_published_method_is_one_step_on_each_new_state_and_changed_in_one_thing_at_a_time():
    runs = chosen(plan("methods", GOOD), seed="0", game="Freeway")
    ours, published, *others = runs
    assert ours.id in {run.id for run in plan("students", GOOD)}  # run once for both
    cfg = published.cfg
    assert cfg.batch_size == cfg.steps_per_update == cfg.n_envs * cfg.n_steps == cfg.ring_size // 2
    changed, theirs = {}, to_mapping(cfg)
    for run in others:
        mine = to_mapping(run.cfg)
        changed[run.labels["method"]] = {name for name in mine if mine[name] != theirs[name]}
    assert list(changed.values()) == [
        {"data_init"},
        {"learning_rate"},
        {"learning_rate", "optimizer"},
        {"ring_size"},
        {"ring_size", "steps_per_update"},
    ]
    assert cfg.steps_per_update == 16 * others[-1].cfg.steps_per_update


def test_students_of_the_best_teachers_are_of_all_sizes_and_their_usual_ones_run_once():
    runs, others = (plan(grid, ALL_TEACHERS) for grid in ("best", "students"))
    assert {run.labels["teacher"] for run in runs} == {BEST}
    alike = runs[: len(others)]
    assert [run.labels | {"teacher": "good"} for run in alike] == [run.labels for run in others]
    assert {run.labels["budget"] for run in runs[len(others) :]} == {"half", "double"}
    usual = chosen(plan("teachers", ALL_TEACHERS), teacher=BEST)
    assert {run.id for run in usual} <= {run.id for run in chosen(runs, student="net3")}


def test_other_teachers_are_the_best_ones_those_of_all_grades_and_of_a_third_game():
    cells = {(run.labels["game"], run.labels["teacher"]) for run in plan("teachers", ALL_TEACHERS)}
    graded = {(game, grade) for game in ("Freeway", "Pong") for grade in ("best", *GRADES)}
    assert cells == graded | {("Breakout", "good")}


def test_breakout_is_asked_for_steps_weights_updates_and_the_loss_one_at_a_time():
    default, *others = chosen(plan("breakout", GOOD), seed="0")
    assert default.cfg.temperature == 1
    assert others[-1].id in {run.id for run in plan("teachers", GOOD)}  # run once for both
    assert [
        {axis for axis in run.labels if run.labels[axis] != default.labels[axis]} for run in others
    ] == [{"budget"}, {"student"}, {"setting"}, {"loss"}, {"loss"}]


@pytest.mark.parametrize("grid", GRIDS)
def test_what_users_distill_is_by_todays_defaults_and_all_other_studies_by_the_kl_at_1(grid):
    default = DistillConfig()
    todays = {(default.loss, default.temperature, default.match_temperature)}
    losses = {
        (run.cfg.loss, run.cfg.temperature, run.cfg.match_temperature)
        for run in plan(grid, ALL_TEACHERS)
        if run.cfg.use_teacher and not {"loss", "temperature"} & run.labels.keys()
    }
    if grid in ("best", "teachers", "curiosity_defaults", "curiosity_breakout", "weighting"):
        assert losses == todays == {("kl", 3.0, True)}
    else:
        assert {(loss, tau) for loss, tau, _ in losses} <= {("kl", 1.0)}


def test_an_outcome_by_the_kl_at_1_is_of_the_studies_whichever_side_its_temperature_divided():
    at_one = DistillConfig(temperature=1.0)
    assert identity(at_one) == identity(replace(at_one, match_temperature=False))
    assert identity(at_one) != identity(DistillConfig())
    squared = DistillConfig(loss="mse")  # which has no temperature
    assert identity(squared) == identity(replace(squared, temperature=1.0))


def test_seeds_turn_slowest():
    seeds = [run.labels["seed"] for run in plan("curiosity", GOOD)[:40]]
    assert seeds == sorted(seeds)


def test_runs_of_missing_teachers_are_left_out():
    assert {run.labels["teacher"] for run in plan("curiosity", GOOD)} == {"good"}
    pong_only = {key: path for key, path in GOOD.items() if "Pong" in key[0]}
    assert {run.labels["game"] for run in plan("students", pong_only)} == {"Pong"}


def test_labels_say_what_differs_from_the_defaults():
    (run,) = chosen(
        plan("students", GOOD), student="1pct", budget="fourfold", game="Pong", seed="2"
    )
    assert run.cfg.total_steps == 4 * DistillConfig.total_steps
    assert run.cfg.student == AXES["student"]["1pct"]["student"]
    assert (run.cfg.seed, run.cfg.env) == (2, GAMES["Pong"])
    assert run.labels["teacher"] == DEFAULTS["teacher"]


def test_a_value_that_its_axis_does_not_have_is_no_default():
    labels = plan("curiosity", GOOD)[0].labels
    with pytest.raises(KeyError, match="bonus\\+uncertainty"):
        make_config("curiosity", labels | {"arm": "bonus+uncertainty"}, Path("t.zip"))


def test_identity_is_of_the_settings_and_the_teachers_name_alone():
    cfg = DistillConfig(teacher_chkpt=Path("teachers/a.zip"), env=GAMES["Pong"])
    same = replace(
        cfg, teacher_chkpt=Path("/elsewhere/a.zip"), run_dir=Path("x"), n_threads=1, device="cpu"
    )
    watched = replace(same, eval_steps=7, eval_greedy=False, log_steps=9)
    assert identity(same) == identity(watched) == identity(cfg)
    for change in ({"seed": 1}, {"teacher_chkpt": Path("teachers/b.zip")}, {"batch_size": 64}):
        assert identity(replace(cfg, **change)) != identity(cfg)


def write_teacher(folder: Path, name: str, **record: str) -> None:
    (folder / f"env{name}.json").write_text(json.dumps(record))


def test_teachers_are_found_by_the_grade_in_their_records(tmp_path):
    write_teacher(tmp_path, "A", env_id="a", grade="good")
    write_teacher(tmp_path, "B", env_id="a")
    write_teacher(tmp_path, "C", env_id="b", grade="bad")
    assert teachers_by_grade(tmp_path) == {
        ("a", "good"): tmp_path / "envA.zip",
        ("b", "bad"): tmp_path / "envC.zip",
    }


def test_a_graded_teacher_that_says_no_game_goes_by_its_name_or_is_refused(tmp_path):
    write_teacher(tmp_path, "Pong_20260101-000000_n_iters5", grade="good")
    path = tmp_path / "envPong_20260101-000000_n_iters5.zip"
    assert teachers_by_grade(tmp_path) == {("Pong", "good"): path}
    write_teacher(tmp_path, "A", grade="bad")
    with pytest.raises(ValueError, match=r"envA\.json has a grade, but .* says the game"):
        teachers_by_grade(tmp_path)


def test_two_teachers_of_one_grade_are_refused(tmp_path):
    for name in "AB":
        write_teacher(tmp_path, name, env_id="a", grade="good")
    with pytest.raises(
        ValueError, match=r"envB\.json and .*envA\.zip are both the good teacher of a"
    ):
        teachers_by_grade(tmp_path)
