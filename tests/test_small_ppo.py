"""PPO at a student's size: its scores collected from runs and records, and laid out."""

import json
from pathlib import Path
from typing import Any

import pytest
from scripted import score_of

from distill.floors import NO_SHARE, Floors
from distill.protocol import EVAL_SEED, STUDENT_GAMES
from distill.rows import read_rows
from distill.run_folder import create_run, lengthen_run
from distill.study.rungs import Rung
from distill.study.small_ppo import SmallScore, collect_small_scores
from distill.study.tables import small_ppo_table
from distill.teacher_config import TeacherConfig
from distill.types import WIDTHS

PONG = "PongNoFrameskip-v4"
FLOORS = Floors(score_of(-20.0, -20.0), score_of(-21.0, -21.0), best_action=0, n_envs=20, seed=7)

ROW = SmallScore(
    run="a", kind="PPO net3", env_id=PONG, seed=0, steps=200, floor=-20.0, mean=10.0, low=9.0,
    high=11.0, games=100, wall_seconds=1200.0, commit="c", machine="AMD EPYC",
    command="2e6 --network net3 --seed 0",
)  # fmt: skip


def a_run(
    folder: Path,
    name: str,
    *scores: float,
    seed: int = 0,
    widths: str = "net3",
    first_game: int = EVAL_SEED,
) -> Path:
    """Make a run with two teachers, the later of which, n_iters200, has these scores if any."""
    cfg = TeacherConfig(
        total_steps=200, env=PONG, seed=seed, network=WIDTHS[widths], teachers_dir=folder
    )
    create_run(folder / name, cfg)
    for steps, kept in ((200, scores), (100, (21.0, 21.0))):
        record: dict[str, Any] = {"run": name, "env_id": PONG, "seed": seed, "steps": steps}
        record["wall_seconds"] = 600.0 + steps
        if kept:
            scored = {"sampled": score_of(*kept).to_json(), "floors": FLOORS.to_json()}
            record["evaluation"] = scored | STUDENT_GAMES | {"seed": first_game}
        (folder / f"env{PONG}_{name}_n_iters{steps}.json").write_text(json.dumps(record))
    return folder / name


def test_a_run_is_told_by_the_last_of_its_own_teachers(tmp_path):
    run_dirs = [a_run(tmp_path, "a", 4.0, 8.0, seed=3), a_run(tmp_path, "b", 2.0, 2.0)]
    path = tmp_path / "small_ppo.csv"
    assert collect_small_scores(run_dirs, path) == 2
    a, b = read_rows(path, SmallScore)
    assert (a.run, a.kind, a.env_id, a.seed, a.steps) == ("a", "PPO net3", PONG, 3, 200)
    assert (a.mean, a.games, a.floor, a.wall_seconds) == (6.0, 2, -20.0, 800.0)
    assert a.low == pytest.approx(6 - 12.706 * 2, abs=0.01)  # the standard error is 2
    assert (b.run, b.mean, b.low, b.high) == ("b", 2.0, 2.0, 2.0)


@pytest.mark.parametrize("other", [{"env_id": "ALE/Boxing-v5"}, {"seed": 9}, {"run": "b"}])
def test_a_run_has_no_score_of_another_of_its_name(tmp_path, other):
    run_dir = a_run(tmp_path, "a", 4.0, 8.0)
    record = json.loads((tmp_path / f"env{PONG}_a_n_iters200.json").read_text())
    record["evaluation"]["sampled"] = score_of(90.0, 92.0).to_json()
    (tmp_path / f"env{PONG}_b_n_iters900.json").write_text(
        json.dumps(record | {"steps": 900} | other)
    )
    path = tmp_path / "small_ppo.csv"
    assert collect_small_scores([run_dir], path) == 1
    (row,) = read_rows(path, SmallScore)
    assert (row.mean, row.steps) == (6.0, 200)


def test_a_run_that_was_lengthened_has_its_row_replaced(tmp_path):
    run_dir, path = a_run(tmp_path, "a", 4.0, 8.0), tmp_path / "small_ppo.csv"
    collect_small_scores([run_dir], path)
    lengthen_run(run_dir, 400, at_step=256)
    record = json.loads((tmp_path / f"env{PONG}_a_n_iters200.json").read_text())
    (tmp_path / f"env{PONG}_a_n_iters400.json").write_text(json.dumps(record | {"steps": 400}))
    collect_small_scores([run_dir], path)
    (row,) = read_rows(path, SmallScore)
    assert row.steps == 400
    assert row.command.endswith(", then 400 --resume a")


@pytest.mark.parametrize(
    ("scores", "more"),
    [((), {}), ((5.0,), {}), ((5.0, 6.0), {"widths": "nature"}), ((5.0, 6.0), {"first_game": 7})],
)
def test_runs_not_scored_as_students_are_and_those_of_a_teachers_size_have_no_row(
    tmp_path, scores, more
):
    path = tmp_path / "small_ppo.csv"
    assert collect_small_scores([a_run(tmp_path, "a", *scores, **more)], path) == 0
    assert read_rows(path, SmallScore) == []


def test_a_run_scored_again_has_its_row_replaced_and_no_other_run_takes_it(tmp_path, monkeypatch):
    path = tmp_path / "small_ppo.csv"
    for folder, score in (("1", 4.0), ("2", 5.0)):
        (tmp_path / folder).mkdir()
        collect_small_scores([a_run(tmp_path / folder, "a", score, score)], path)
    assert [row.mean for row in read_rows(path, SmallScore)] == [5.0]
    (tmp_path / "3").mkdir()
    monkeypatch.setattr("sys.argv", ["ppo_teacher.py", "1e6"])
    with pytest.raises(ValueError, match="another run called a"):
        collect_small_scores([a_run(tmp_path / "3", "a", 6.0, 6.0)], path)
    assert [row.mean for row in read_rows(path, SmallScore)] == [5.0]


def test_the_table_has_a_row_a_kind_with_its_seeds_in_order_and_their_share_of_the_good_teacher():
    row = ROW._replace(seed=1, machine="m", command="")
    kick = row._replace(kind="PPO net3, kickstarted", mean=20.0, low=19.5, high=20.5)
    rows = [row, kick, row._replace(seed=0, mean=12.0, low=11.5, high=12.5, wall_seconds=2400.0)]
    good, medium = (
        Rung("t.zip", PONG, 1000, score_of(mean, mean), FLOORS, grade)
        for mean, grade in ((20.0, "good"), (8.0, "medium"))
    )
    head, _, *lines = small_ppo_table(rows, [medium, good]).splitlines()
    assert head.startswith("| game | PPO | steps | share of the good teacher's |")
    # 30 and 32 of 40 points; the standard error of their mean is 2.5 %
    assert lines == [
        f"| {PONG} | net3 | 200 | 77.5 % (45.7 to 109.3), n = 2"
        " | 12.00 (11.50 to 12.50); 10.00 (9.00 to 11.00) | 30 |",
        f"| {PONG} | net3, kickstarted | 200 | 100.0 %, n = 1 | 20.00 (19.50 to 20.50) | 20 |",
    ]
    again = row._replace(run="b", mean=14.0)
    (line,) = small_ppo_table([row, again], [good]).splitlines()[2:]
    assert "| 85.0 %, n = 1 | 14.00" in line  # a seed counts once


def test_only_runs_that_differ_in_their_seed_alone_are_seeds_of_one_setting():
    twin = ROW._replace(seed=1, command="2e6 --seed 1 --network net3")
    other = {
        "rate": {"command": f"{twin.command} --learning_rate 1e-2:0"},
        "precision": {"machine": "AMD EPYC (float32)"},
        "length": {"steps": 100},
        "lengthened": {"command": f"{twin.command}, then 200 --resume a"},
        "kickstart": {"kind": "PPO net3, kickstarted", "command": "2e6 --kickstart a.zip"},
        "another kickstart": {"kind": "PPO net3, kickstarted", "command": "2e6 --kickstart b.zip"},
        "game": {"env_id": "ALE/Boxing-v5"},
    }
    rows = [ROW, twin, *(twin._replace(**changes) for changes in other.values())]
    good = Rung("t.zip", PONG, 1000, score_of(20.0, 20.0), FLOORS, "good")
    first, *others = small_ppo_table(rows, [good]).splitlines()[2:]
    assert "n = 2" in first
    assert len(others) == len(other)
    assert all("n = 1" in line for line in others[:-1])
    assert "| ALE/Boxing-v5 | net3 | 200 | no good teacher | 10.00" in others[-1]


def test_no_share_of_a_good_teacher_that_is_at_its_floor_is_told():
    good = Rung("t.zip", PONG, 1000, score_of(-20.0, -20.0), FLOORS, "good")
    (line,) = small_ppo_table([ROW], [good]).splitlines()[2:]
    assert f"| {NO_SHARE} | 10.00" in line
