"""Results: curves and scores collected from runs into CSV files, and read back."""

import csv
import json

import pytest
from run_folders import make_run

from distill import results


@pytest.mark.parametrize("kind", ["teacher", "plain", "curious"])
def test_collected_curves_are_those_of_the_run(tmp_path, kind):
    scores = {10: -1.5, 20: 3.25}
    run_dir = make_run(tmp_path, "a", kind, scores)
    results.collect([run_dir], tmp_path / "curves.csv")
    points = results.read_points(tmp_path / "curves.csv")
    assert {(p.run, p.kind, p.seed) for p in points} == {("a", kind, 7)}
    assert {p.step: p.value for p in points} == scores


def test_collecting_a_run_again_replaces_its_curves_and_keeps_others(tmp_path):
    path = tmp_path / "curves.csv"
    first = make_run(tmp_path, "a", "plain", {10: 1.0})
    second = make_run(tmp_path, "b", "plain", {10: 2.0})
    results.collect([first, second], path)
    results.collect([first], path)
    assert sorted((p.run, p.value) for p in results.read_points(path)) == [("a", 1.0), ("b", 2.0)]


def test_results_are_a_row_a_finished_run(tmp_path):
    runs = [make_run(tmp_path, name, "plain", {10: 1.0}) for name in "ab"]
    unfinished = make_run(tmp_path, "c", "plain", {10: 1.0})
    score = {"mean": 2.0, "ci95": [1.5, 2.5], "n_games": 9}
    result = {
        "env_id": "G", "student": "net3", "score_share": 0.5, "kl": 0.1, "agreement": 0.9,
        "steps": 10, "updates": 2, "train_seconds": 3.0, "commit": "abc", "machine": "m",
        "teacher_score": {"sampled": score}, "student_score": {"sampled": score, "greedy": score},
    }  # fmt: skip
    for run_dir in runs:
        (run_dir / "result.json").write_text(json.dumps(result))
    path = tmp_path / "results.csv"
    results.collect_results([*runs, unfinished], path)
    results.collect_results(runs[:1], path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["student_low"], row["games"]) for row in rows] == [
        ("a", "1.5", "9"),
        ("b", "1.5", "9"),
    ]


def test_commands_are_keptwithout_places_of_a_machine():
    argv = ["1e6", "--run_dir", "/x/y", "--teacher_chkpt", "/x/t.zip", "--seed", "3"]
    kept = results.without_places(argv)
    assert kept == ["1e6", "--teacher_chkpt", "t.zip", "--seed", "3"]
