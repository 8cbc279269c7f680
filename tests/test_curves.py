"""Learning curves collected from runs into a CSV file, and read back."""

from typing import NamedTuple

import pytest
from run_folders import make_run

from distill import rows
from distill.study import curves

HEADER = ",".join(curves.Point._fields) + "\n"


@pytest.mark.parametrize("kind", ["teacher", "plain", "curious"])
def test_collected_curves_are_those_of_the_run(tmp_path, kind):
    scores = {10: -1.5, 20: 3.25}
    run_dir = make_run(tmp_path, "a", kind, scores)
    curves.collect([run_dir], tmp_path / "curves.csv")
    points = rows.read_rows(tmp_path / "curves.csv", curves.Point)
    assert {(p.run, p.kind, p.seed) for p in points} == {("a", kind, 7)}
    assert {p.step: p.value for p in points} == scores


@pytest.mark.parametrize(
    ("data", "named"),
    [(b"run,commit\na,\xff\n", "can't decode byte 0xff"), (b"x" * 200_000, "field limit")],
    ids=["not text", "too long"],
)
def test_a_file_of_something_else_is_named_as_damaged(tmp_path, data, named):
    path = tmp_path / "texts.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path} is damaged: .*{named}"):
        rows.read_rows(path, Texts)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "its first line must be of run, "),
        ("run,pace\n", "its first line must be of run, "),
        (f"{HEADER}a,plain,G,7,c,m,x,1,t,2.0\na,plain,G,", "at line 3"),
        (f"{HEADER}a,plain,G,7,c,m,x,1,t,high\n", "at line 2"),
        ("run,env_id\na,G\n", "at line 2"),
        (f"{HEADER}a,plain,G,7,c,m,x,1,t\n", "at line 2: .*value is missing"),
    ],
)
def test_a_damaged_file_of_rows_is_named_with_its_line(tmp_path, text, named):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path} is damaged.*{named}"):
        rows.read_rows(path, curves.Point)


class Texts(NamedTuple):
    """A record that ends with a text, which could be any."""

    run: str
    commit: str


def test_a_row_that_ends_before_a_text_is_no_row(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("run,commit\na,c\nb\n")
    with pytest.raises(ValueError, match=f"{path} is damaged at line 3: .*commit is missing"):
        rows.read_rows(path, Texts)


@pytest.mark.parametrize(
    "cut",
    ["20,3.00,eval/mean_reward", "20,3.00,eval/mean_reward,", "20,3.00,eval/mean_reward,1.2e"],
)
def test_of_a_run_that_goes_on_the_row_that_it_is_writing_is_left_out(tmp_path, cut):
    run_dir = make_run(tmp_path, "a", "plain", {10: 1.5})
    with (run_dir / "metrics.csv").open("a") as file:
        file.write(cut)
    curves.collect([run_dir], tmp_path / "curves.csv")
    found = rows.read_rows(tmp_path / "curves.csv", curves.Point)
    assert [(p.step, p.value) for p in found] == [(10, 1.5)]


def test_another_run_of_a_name_is_refused_and_nothing_is_lost(tmp_path):
    path = tmp_path / "curves.csv"
    curves.collect([make_run(tmp_path, "a", "teacher", {10: 1.0})], path)
    before = path.read_bytes()
    other = make_run(tmp_path / "elsewhere", "a", "plain", {10: 2.0})
    with pytest.raises(ValueError, match="has another run called a: rename the folder"):
        curves.collect([other], path)
    assert path.read_bytes() == before
    curves.collect([make_run(tmp_path / "new", "a", "plain", {})], path)  # it has no curves yet
    assert path.read_bytes() == before


def test_collecting_a_run_again_replaces_its_curves_and_keeps_others(tmp_path):
    path = tmp_path / "curves.csv"
    first = make_run(tmp_path, "a", "plain", {10: 1.0})
    second = make_run(tmp_path, "b", "plain", {10: 2.0})
    curves.collect([first, second], path)
    curves.collect([first], path)
    assert sorted((p.run, p.value) for p in rows.read_rows(path, curves.Point)) == [
        ("a", 1.0),
        ("b", 2.0),
    ]
