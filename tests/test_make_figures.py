"""The figures' script: curves collected from runs, drawn from the CSV alone."""

import csv
import json
from pathlib import Path

import make_figures
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from distill.config import DistillConfig, TeacherConfig
from distill.tracking import Tracker, create_run


def make_run(folder: Path, name: str, kind: str, scores: dict[int, float]) -> Path:
    run_dir = folder / name
    if kind == "teacher":
        create_run(run_dir, TeacherConfig(total_steps=100, seed=7))
    else:
        create_run(run_dir, DistillConfig(env="G", use_curiosity=kind == "curious", seed=7))
    tag = "rollout/ep_rew_mean" if kind == "teacher" else "eval/mean_reward"
    with Tracker(run_dir) as tracker:
        for step, score in scores.items():
            tracker.log({tag: score, "time/fps": 1.0}, step)
    return run_dir


@pytest.mark.parametrize("kind", ["teacher", "plain", "curious"])
def test_collected_curves_are_those_of_the_run(tmp_path, kind):
    scores = {10: -1.5, 20: 3.25}
    run_dir = make_run(tmp_path, "a", kind, scores)
    make_figures.collect([run_dir], tmp_path / "curves.csv")
    points = make_figures.load(tmp_path / "curves.csv")
    assert {(p.run, p.kind, p.seed) for p in points} == {("a", kind, 7)}
    assert {p.step: p.value for p in points} == scores


def test_collecting_a_run_again_replaces_its_curves_and_keeps_others(tmp_path):
    path = tmp_path / "curves.csv"
    first = make_run(tmp_path, "a", "plain", {10: 1.0})
    second = make_run(tmp_path, "b", "plain", {10: 2.0})
    make_figures.collect([first, second], path)
    make_figures.collect([first], path)
    assert sorted((p.run, p.value) for p in make_figures.load(path)) == [("a", 1.0), ("b", 2.0)]


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
    make_figures.collect_results([*runs, unfinished], path)
    make_figures.collect_results(runs[:1], path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["student_low"], row["games"]) for row in rows] == [
        ("a", "1.5", "9"),
        ("b", "1.5", "9"),
    ]


def test_commands_are_kept_without_places_of_a_machine():
    argv = ["1e6", "--run_dir", "/x/y", "--teacher_chkpt", "/x/t.zip", "--seed", "3"]
    kept = make_figures._without_places(argv)
    assert kept == ["1e6", "--teacher_chkpt", "t.zip", "--seed", "3"]


def test_a_panel_a_game_shows_each_runs_scores(tmp_path):
    path = tmp_path / "curves.csv"
    runs = [
        make_run(tmp_path, "a", "plain", {10: 1.0, 20: 4.0}),
        make_run(tmp_path, "b", "curious", {10: 2.0}),
        make_run(tmp_path, "t", "teacher", {10: 5.0}),  # of another game
    ]
    make_figures.collect(runs, path)
    figure = make_figures.draw_curves(make_figures.load(path))
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
    assert drawn == [[[10, 1.0], [20, 4.0]], [[10, 2.0]]]


def test_the_ladder_shows_teachers_with_intervals_floors_and_the_published_curve(tmp_path):
    run_dir = make_run(tmp_path, "t", "teacher", {20_000: 1.0, 40_000: 3.0})
    make_figures.collect([run_dir], tmp_path / "curves.csv")
    points = make_figures.load(tmp_path / "curves.csv")
    env_id = points[0].env_id
    for steps, mean in ((50_000, 8.0), (20_000, 4.0)):
        floors = {"random": {"mean": -2.0}, "constant": {"mean": 1.5}}
        sampled = {"mean": mean, "ci95": [mean - 1, mean + 0.5]}
        record = {
            "env_id": env_id,
            "steps": steps,
            "evaluation": {"sampled": sampled, "floors": floors},
        }
        (tmp_path / f"env{steps}.json").write_text(json.dumps(record))
    (tmp_path / "env1.json").write_text(json.dumps({"env_id": env_id, "steps": 1}))  # unscored

    rungs = make_figures.read_rungs(tmp_path)
    assert [(rung.steps, rung.mean) for rung in rungs] == [(20_000, 4.0), (50_000, 8.0)]
    zoo = {env_id: [(50_000, 0.0), (100_000, 7.0)], "Other-v4": [(1, 99.0)]}
    (axes,) = make_figures.draw_ladder(points, rungs, zoo).axes
    lines = [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
    assert [[20_000, 1.0], [40_000, 3.0]] in lines
    assert [[50_000, 0.0], [100_000, 7.0]] in lines
    assert [[20_000, 4.0], [50_000, 8.0]] in lines
    assert {line[0][1] for line in lines if line[0][1] == line[-1][1]} == {-2.0, 1.5}
    (bars,) = axes.collections
    assert isinstance(bars, LineCollection)
    bars = np.asarray(bars.get_segments())
    np.testing.assert_allclose(bars[:, :, 1], [[3.0, 4.5], [7.0, 8.5]], rtol=1e-9)


def test_published_curves_reach_the_scores_they_are_known_for():
    zoo = make_figures.read_zoo(make_figures.ZOO)
    assert dict(zoo["PongNoFrameskip-v4"])[3_000_000] > 20
    assert dict(zoo["BreakoutNoFrameskip-v4"])[2_000_000] > 55
