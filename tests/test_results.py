"""Results: curves and scores collected from runs into CSV files, and read back."""

import json
from pathlib import Path

import pytest
from run_folders import make_run

from distill import cli, results
from distill.config import DistillConfig, TeacherConfig
from distill.tracking import Tracker
from distill.types import WIDTHS, Widths


@pytest.mark.parametrize("kind", ["teacher", "plain", "curious"])
def test_collected_curves_are_those_of_the_run(tmp_path, kind):
    scores = {10: -1.5, 20: 3.25}
    run_dir = make_run(tmp_path, "a", kind, scores)
    results.collect([run_dir], tmp_path / "curves.csv")
    points = results.read_rows(tmp_path / "curves.csv", results.Point)
    assert {(p.run, p.kind, p.seed) for p in points} == {("a", kind, 7)}
    assert {p.step: p.value for p in points} == scores


@pytest.mark.parametrize(
    ("settings", "kind", "network"),
    [
        (TeacherConfig(), "teacher", None),
        (TeacherConfig(network=WIDTHS["net3"]), "PPO net3", "net3"),
        (TeacherConfig(init_from=Path("s.safetensors")), "PPO nature from a student", "nature"),
        (
            TeacherConfig(
                network=WIDTHS["1pct"], init_from=Path("s.safetensors"), kickstart=Path("t.zip")
            ),
            "PPO 1pct from a student, kickstarted",
            "1pct",
        ),
        (TeacherConfig(network=Widths(1, 2, 3, 4)), "PPO 1,2,3,4", "1,2,3,4"),
        (DistillConfig(), "plain", None),
        (DistillConfig(use_curiosity=True), "curious", None),
    ],
    ids=str,
)
def test_runs_are_told_apart_by_what_they_train(settings, kind, network):
    assert results.kind_of(cli.to_yaml(settings)) == kind
    assert results.small_network_of(kind) == network


def test_collecting_a_run_again_replaces_its_curves_and_keeps_others(tmp_path):
    path = tmp_path / "curves.csv"
    first = make_run(tmp_path, "a", "plain", {10: 1.0})
    second = make_run(tmp_path, "b", "plain", {10: 2.0})
    results.collect([first, second], path)
    results.collect([first], path)
    assert sorted((p.run, p.value) for p in results.read_rows(path, results.Point)) == [
        ("a", 1.0),
        ("b", 2.0),
    ]


def test_outcomes_are_a_row_a_finished_run(tmp_path):
    runs = [make_run(tmp_path, name, "plain", {10: 1.0}) for name in "ab"]
    unfinished = make_run(tmp_path, "c", "plain", {10: 1.0})
    score = {"mean": 2.0, "ci95": [1.5, 2.5], "n_games": 9}
    result = {
        "env_id": "G", "teacher_chkpt": "t.zip", "student": "net3", "student_parameters": 12,
        "score_share": None, "kl": 0.1, "agreement": 0.9, "settings": {"seed": 7, "loss": "kl"},
        "steps": 10, "updates": 2, "train_seconds": 3.0, "commit": "abc", "machine": "m",
        "floors": {"random": {"mean": -1.0}, "constant": {"mean": 3.5}},
        "teacher_score": {"sampled": score}, "student_score": {"sampled": score},
    }  # fmt: skip
    for run_dir in runs:
        (run_dir / "result.json").write_text(json.dumps(result))
    with Tracker(runs[1], resume_step=10) as tracker:
        for step, seen in ((20, 40.0), (30, 70.0), (40, 5.0)):  # counted anew by the end
            tracker.log({"explore/coverage": seen, "time/fps": 1.0}, step)
    path = tmp_path / "results.csv"
    results.collect_outcomes([*runs, unfinished], path)
    results.collect_outcomes(runs[:1], path)
    rows = results.read_rows(path, results.Outcome)
    assert [row.run for row in rows] == ["a", "b"]
    assert (rows[0].student_low, rows[0].games, rows[0].floor, rows[0].kind) == (
        1.5,
        9,
        3.5,
        "plain",
    )
    assert rows[0].score_share is None
    assert rows[0].greedy_mean is None
    assert (rows[0].coverage, rows[1].coverage) == (None, 70.0)
    assert json.loads(rows[0].settings) == {"seed": 7, "loss": "kl"}


def test_there_is_nothing_in_a_file_that_is_not_there(tmp_path):
    assert results.read_rows(tmp_path / "no.csv", results.Outcome) == []


def test_commands_are_kept_without_places_of_a_machine():
    argv = ["1e6", "--run_dir", "/x/y", "--teacher_chkpt", "/x/t.zip", "--seed", "3"]
    kept = results.without_places(argv)
    assert kept == ["1e6", "--teacher_chkpt", "t.zip", "--seed", "3"]
