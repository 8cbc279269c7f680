"""Our curves beside the published ones: whose settings may stand there, and what is drawn."""

import shlex

import make_figures
import numpy as np
import pytest
from run_folders import make_run

from distill.cli import parse_record, to_argv
from distill.rows import read_rows
from distill.study import published
from distill.study.curves import Point, collect
from distill.study.naming import begun
from distill.teacher_config import TeacherConfig, preset_of

PONG = "PongNoFrameskip-v4"
PRESET = " ".join(to_argv(preset_of(TeacherConfig())))


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("1e7", published.DEFAULTS),
        (f"2e6 --env {PONG} --seed 3 --learning_rate 2.5e-4:0", published.DEFAULTS),
        (f"1e7 --env {PONG} {PRESET}", published.PRESET),
        (f"1e7 --env {PONG} {PRESET} --precision float32", published.PRESET),
        (f"1e7 --env {PONG} {PRESET} --n_epochs 3", None),
        (f"1e7 --env {PONG} {PRESET.replace('--no-data_init', '')}", None),
        ("5e6 --init_from teachers/envX_n_iters2000000.zip", None),
        ("3e6, then 5000000 --resume NAME", None),
        ("1e7 --gone_since 3", None),
        ("1e7 --n_epochs 0", None),
    ],
)
def test_only_the_preset_and_the_defaults_stand_beside_published_curves(command, name):
    assert published.settings_name(command) == name


def test_ours_are_named_and_the_published_curve_ends_with_them(tmp_path):
    runs = [make_run(tmp_path, run, "teacher", {10: 1.0, 20: 2.0}) for run in "abcd"]
    collect(runs, tmp_path / "curves.csv")
    commands = {"a": f"1e7 {PRESET}", "b": "2e6", "c": "2e6 --n_epochs 3", "d": "2e6"}
    machines = {"a": "X (float32), 2 cores"}
    points = [
        p._replace(
            env_id="Other-v4" if p.run == "d" else PONG,
            command=commands[p.run],
            machine=machines.get(p.run, "X (bfloat16), 2 cores"),
        )
        for p in read_rows(tmp_path / "curves.csv", Point)
    ]
    zoo = {PONG: [(5, 0.0), (20, 3.0), (25, 9.0)], "Unplayed-v4": [(5, 0.0)]}
    names = published.comparable(points, zoo)
    assert names == {"a": published.PRESET, "b": published.DEFAULTS}
    stock = {PONG: [(10, 0.5), (30, 4.0)]}
    (axes,) = published.draw_published(points, names, zoo, stock).axes
    drawn = {str(x.get_label()): np.asarray(x.get_xydata()).tolist() for x in axes.lines}
    assert drawn == {
        "rl-zoo, published": [[5, 0.0], [20, 3.0]],
        published.STOCK: [[10, 0.5]],
        f"{published.PRESET}, float32": [[10, 1.0], [20, 2.0]],
        f"{published.DEFAULTS}, bfloat16": [[10, 1.0], [20, 2.0]],
    }
    assert axes.get_title() == PONG


def test_ours_that_end_before_the_published_curve_begins_are_drawn_alone(tmp_path):
    collect([make_run(tmp_path, "a", "teacher", {10: 1.0})], tmp_path / "curves.csv")
    points = [p._replace(env_id=PONG) for p in read_rows(tmp_path / "curves.csv", Point)]
    late = {PONG: [(50_000, 0.0)]}
    figure = published.draw_published(points, {"a": published.DEFAULTS}, late, late)
    (line,) = figure.axes[0].lines
    assert np.asarray(line.get_xydata()).tolist() == [[10, 1.0]]


def test_every_recorded_teachers_command_can_be_read_today():
    points = read_rows(make_figures.CURVES, Point)
    commands = {p.command for p in points if p.kind == "teacher"}
    for command in commands:
        assert parse_record(TeacherConfig, shlex.split(begun(command))).env
    found = [published.settings_name(command) for command in commands]
    assert found.count(published.DEFAULTS) >= 3
    assert published.PRESET in found


def test_a_long_run_by_muon_is_not_at_the_defaults():
    assert published.settings_name(f"1e7 --env {PONG} --optimizer muon") is None
    assert published.settings_name(f"1e7 --env {PONG}") == published.DEFAULTS
