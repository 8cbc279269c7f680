"""Outcomes of finished runs collected into a CSV file, and read back."""

import json
from typing import Any

import pytest
from run_folders import make_run
from scripted import score_of

from distill import rows
from distill.floors import Floors
from distill.study import outcomes
from distill.study.rungs import Rung
from distill.tracking import Tracker


def a_result(score: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "env_id": "G", "teacher_chkpt": "t.zip", "student": "net3", "student_parameters": 12,
        "score_share": None, "kl": 0.1, "agreement": 0.9, "settings": settings,
        "steps": 10, "updates": 2, "train_seconds": 3.0, "commit": "abc", "machine": "m",
        "floors": {"random": {"mean": -1.0}, "constant": {"mean": 3.5}},
        "teacher_score": {"sampled": score}, "student_score": {"sampled": score},
    }  # fmt: skip


def test_outcomes_are_a_row_a_finished_run(tmp_path):
    runs = [make_run(tmp_path, name, "plain", {10: 1.0}) for name in "ab"]
    unfinished = make_run(tmp_path, "c", "plain", {10: 1.0})
    score = {"mean": 2.0, "ci95": [1.5, 2.5], "n_games": 9}
    result = a_result(score, {"seed": 7, "loss": "kl"})
    for run_dir in runs:
        (run_dir / "result.json").write_text(json.dumps(result))
    with Tracker(runs[1], resume_step=10) as tracker:
        for step, seen in ((20, 40.0), (30, 70.0), (40, 5.0)):  # counted anew by the end
            tracker.log({"explore/coverage": seen, "time/fps": 1.0}, step)
    path = tmp_path / "results.csv"
    assert outcomes.collect_outcomes([*runs, unfinished], path) == 2
    outcomes.collect_outcomes(runs[:1], path)
    found = rows.read_rows(path, outcomes.Outcome)
    assert [row.run for row in found] == ["a", "b"]
    assert (found[0].student_low, found[0].games, found[0].floor, found[0].kind) == (
        1.5,
        9,
        3.5,
        "plain",
    )
    assert found[0].score_share is None
    assert found[0].greedy_mean is None
    assert (found[0].coverage, found[1].coverage) == (None, 70.0)
    assert json.loads(found[0].settings) == {"seed": 7, "loss": "kl"}

    score["ci95"] = None  # of a single game
    (runs[0] / "result.json").write_text(json.dumps(result | {"dirty": True}))
    outcomes.collect_outcomes(runs[:1], path)
    found = rows.read_rows(path, outcomes.Outcome)
    assert (found[0].student_low, found[0].commit) == (None, "abc-dirty")
    assert (found[1].student_low, found[1].commit) == (1.5, "abc")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 8}, "has another run called a: rename the folder, or remove its rows there"),
        ({"seed": 7, "my_setting": 1}, "a holds settings that do not exist: my_setting"),
    ],
)
def test_runs_that_would_not_be_themselves_are_refused(tmp_path, settings, message):
    path, run_dir = tmp_path / "results.csv", make_run(tmp_path, "a", "plain", {10: 1.0})
    result = a_result({"mean": 2.0, "ci95": None, "n_games": 1}, {"seed": 7})
    (run_dir / "result.json").write_text(json.dumps(result))
    assert outcomes.collect_outcomes([run_dir], path) == 1
    before = path.read_bytes()
    (run_dir / "result.json").write_text(json.dumps(result | {"settings": settings}))
    with pytest.raises(ValueError, match=message):
        outcomes.collect_outcomes([run_dir], path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"my_setting": 1}}, "settings that do not exist: my_setting"),
        ({"settings": [1]}, "is damaged: AttributeError"),
        (
            {"student_score": {"sampled": {"mean": float("nan"), "ci95": None, "n_games": 1}}},
            "is damaged: a score of nan",
        ),
    ],
    ids=["another version's", "a list", "nan"],
)
def test_a_result_that_would_spoil_the_file_is_refused_and_nothing_is_written(
    tmp_path, change, message
):
    score = {"mean": 2.0, "ci95": None, "n_games": 1}
    path, runs = tmp_path / "results.csv", [make_run(tmp_path, n, "plain", {10: 1.0}) for n in "ab"]
    for run_dir, changed in zip(runs, ({}, change), strict=True):
        result = a_result(score, {"seed": 7}) | changed
        (run_dir / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match=rf"b/result\.json.*{message}"):
        outcomes.collect_outcomes(runs, path)
    assert not path.exists()


def test_there_is_nothing_in_a_file_that_is_not_there(tmp_path):
    assert rows.read_rows(tmp_path / "no.csv", outcomes.Outcome) == []


def test_shares_are_of_what_is_now_on_record_for_the_teacher_if_it_ships():
    def outcome(teacher: str, games: int) -> outcomes.Outcome:
        return outcomes.Outcome(
            run="r", env_id="G", teacher=teacher, student="net3", kind="plain", seed=0,
            parameters=1, floor=10.0, teacher_mean=14.0, student_mean=13.0, student_low=None,
            student_high=None, games=games, greedy_mean=None, score_share=0.75, kl=0.0,
            agreement=1.0, steps=1, updates=1, train_seconds=1.0, commit="", machine="",
            command="", settings="{}",
        )  # fmt: skip

    def rung(teacher: str, mean: float, later: float) -> Rung:
        """A teacher whose second fifty games score otherwise, and so do the floor's."""
        floor = score_of(*[11.0] * 50, *[9.0] * 50)
        floors = Floors(score_of(*[0.0] * 100), floor, best_action=1, n_envs=20, seed=10_000)
        return Rung(teacher, "G", 1, score_of(*[mean] * 50, *[later] * 50), floors)

    rows_in = [outcome("a.zip", 50), outcome("gone.zip", 100), outcome("b.zip", 50)]
    rungs = [rung("a.zip", 12.0, 16.0), rung("b.zip", 9.0, 9.0)]
    found = outcomes.beside_teachers([*rows_in, outcome("a.zip", 100)], rungs)
    assert [o.score_share for o in found] == [2.0, 0.75, None, 0.75]
    more = outcome("a.zip", 101)._replace(score_share=0.7, teacher_mean=14.5)
    assert outcomes.beside_teachers([more], rungs) == [more]  # not over the same games
    assert [o.teacher_mean for o in found] == [12.0, 14.0, 9.0, 14.0]
    assert [o.floor for o in found] == [11.0, 10.0, 11.0, 10.0]


def test_a_row_holds_each_number_of_the_result_in_its_own_column(tmp_path):
    run_dir = make_run(tmp_path, "a", "plain", {10: 1.0})

    def score(mean: float) -> dict[str, object]:
        return {"mean": mean, "ci95": [mean - 0.5, mean + 0.25], "n_games": 9}

    result = {
        "env_id": "G", "teacher_chkpt": "t.zip", "student": "net3", "student_parameters": 12,
        "score_share": 0.75, "kl": 0.1, "agreement": 0.9, "fresh_kl": 0.2, "settings": {"seed": 7},
        "steps": 10, "updates": 2, "train_seconds": 3.0, "commit": "abc", "machine": "m",
        "floors": {"random": {"mean": -1.0}, "constant": {"mean": 3.5}},
        "teacher_score": {"sampled": score(20.0), "greedy": score(30.0)},
        "student_score": {"sampled": score(16.0), "greedy": score(17.0)},
    }  # fmt: skip
    (run_dir / "result.json").write_text(json.dumps(result))
    row = outcomes.read_outcome(run_dir)
    assert row is not None
    assert (row.floor, row.teacher_mean, row.student_mean, row.greedy_mean) == (3.5, 20, 16, 17)
    assert (row.student_low, row.student_high, row.score_share) == (15.5, 16.25, 0.75)
    assert (row.kl, row.fresh_kl, row.agreement) == (0.1, 0.2, 0.9)
    assert (row.parameters, row.steps, row.updates, row.train_seconds) == (12, 10, 2, 3.0)
