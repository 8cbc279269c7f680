"""Which teachers there are, and what their names and records say."""

import json
from pathlib import Path

import pytest

from distill.teacher_files import best_teacher, env_id_of, latest_teacher, steps_of


def teacher_file(folder, env, date, steps, record=None):
    path = folder / f"env{env}_{date}_n_iters{steps}.zip"
    path.touch()
    if record is not None:
        path.with_suffix(".json").write_text(json.dumps(record))
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where teachers/ has none of one's own


def scored(mean, **evaluation):
    return {"evaluation": {"sampled": {"mean": mean}, "greedy": {"mean": 99}, **evaluation}}


def test_the_latest_teacher_goes_by_date_then_by_steps(tmp_path):
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20260102-000000", 9_000_000)
    teacher_file(tmp_path, "FreewayNoFrameskip-v0", "20260103-000000", 200_000)
    wanted = teacher_file(tmp_path, "FreewayNoFrameskip-v0", "20260103-000000", 1_000_000)
    assert latest_teacher(tmp_path) == wanted


def test_both_spellings_of_the_date_are_compared(tmp_path):
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20240101-120000", 10)
    wanted = teacher_file(tmp_path, "PongNoFrameskip-v4", "20240101_120001", 10)
    assert latest_teacher(tmp_path) == wanted


def test_other_files_are_not_teachers(tmp_path):
    wanted = teacher_file(tmp_path, "PongNoFrameskip-v4", "20240101-120000", 10)
    for name in ("zzz.zip", ".envPong_20990101-000000_n_iters1.77.zip", "envPong_n_iters5.zip"):
        (tmp_path / name).touch()
    (tmp_path / "envPong_20990101-000000_n_iters1.zip").mkdir()
    assert latest_teacher(tmp_path) == wanted


@pytest.mark.parametrize("name", ["", "none"])
def test_no_teacher_at_all_says_how_to_make_one(tmp_path, name):
    folder = tmp_path / name
    with pytest.raises(FileNotFoundError, match=r"python ppo_teacher\.py 1e7") as error:
        latest_teacher(folder)
    assert str(error.value).startswith(f"--teachers_dir {folder} has no teacher")


def test_the_best_teacher_has_the_highest_sampled_score_of_its_game(tmp_path):
    game = "FreewayNoFrameskip-v0"
    teacher_file(tmp_path, game, "20260101-000000", 10, scored(20.0))
    wanted = teacher_file(tmp_path, game, "20250101-000000", 50, scored(29.5))
    teacher_file(tmp_path, game, "20260103-000000", 20, scored(21.5))
    teacher_file(tmp_path, game, "20260104-000000", 30)
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20260101-000000", 10, scored(100.0))
    assert best_teacher(tmp_path, game) == wanted


@pytest.mark.parametrize(
    "record",
    [
        *(None, {}, [], {"evaluation": None}),
        *map(scored, ("high", None, float("nan"), 10**400)),
    ],
)
def test_even_a_losing_score_beats_none_that_can_be_read(tmp_path, record):
    game = "PongNoFrameskip-v4"
    wanted = teacher_file(tmp_path, game, "20260101-000000", 10, scored(-21.0))
    teacher_file(tmp_path, game, "20260102-000000", 10, record)
    assert best_teacher(tmp_path, game) == wanted


def test_a_score_of_few_games_counts_only_where_none_has_enough(tmp_path):
    game = "PongNoFrameskip-v4"
    lucky = teacher_file(tmp_path, game, "20260103-000000", 10, scored(21.0, n_games=2))
    teacher_file(tmp_path, game, "20260102-000000", 10, scored(20.0, n_games=50))
    assert best_teacher(tmp_path, game) == lucky
    known = teacher_file(tmp_path, game, "20260101-000000", 10, scored(20.5, n_games=100))
    assert best_teacher(tmp_path, game) == known


def test_a_score_of_other_weights_does_not_make_a_teacher_the_best(tmp_path):
    teacher_file(tmp_path, "Pong-v4", "20260101-000000", 10, scored(9.0, sha256="0" * 64))
    good = teacher_file(tmp_path, "Pong-v4", "20260101-000000", 20, scored(5.0))
    assert best_teacher(tmp_path, "Pong-v4") == good


def test_steps_of_other_weights_are_not_a_teachers(tmp_path):
    record = scored(9.0, sha256="0" * 64) | {"steps": 70}
    path = teacher_file(tmp_path, "Pong-v4", "20260101-000000", 10, record)
    assert steps_of(path) == 10
    path.with_suffix(".json").write_text(json.dumps(scored(9.0) | {"steps": 70}))
    assert steps_of(path) == 70


def test_without_scores_the_latest_is_best(tmp_path):
    game = "PongNoFrameskip-v4"
    wanted = teacher_file(tmp_path, game, "20260102-000000", 1_000_000)
    teacher_file(tmp_path, game, "20260102-000000", 200_000)
    teacher_file(tmp_path, game, "20260101-000000", 10_000_000)
    assert best_teacher(tmp_path, game) == wanted


def test_ones_own_teachers_count_wherever_one_works(tmp_path):
    """Those that `ppo_teacher.py` left outside the program's folder, and those that ship."""
    game, own = "FreewayNoFrameskip-v0", tmp_path / "teachers"
    shipped = teacher_file(tmp_path, game, "20260102-000000", 10, scored(30.0))
    own.mkdir()
    better = teacher_file(own, game, "20260101-000000", 10, scored(31.0))
    pong = teacher_file(own, "Pong-v4", "20260101-000000", 10)
    assert best_teacher(tmp_path, game) == better
    assert best_teacher(tmp_path, "Pong-v4") == pong
    better.with_suffix(".json").write_text(json.dumps(scored(29.0)))
    assert best_teacher(tmp_path, game) == shipped
    with pytest.raises(FileNotFoundError, match=f"in {own} or {tmp_path}: make"):
        best_teacher(tmp_path, "Qbert-v4")
    with pytest.raises(FileNotFoundError, match=f"in {own}: make"):  # said once
        best_teacher(own, "Qbert-v4")


def test_a_slash_in_an_id_is_a_dash_in_names(tmp_path):
    wanted = teacher_file(tmp_path, "ALE-Pong-v5", "20260102-000000", 10)
    assert best_teacher(tmp_path, "ALE/Pong-v5") == wanted


@pytest.mark.parametrize("asked", ["ALE/Pong-v5", "PongNoFrameskip-v0", "PongDeterministic-v4"])
def test_teachers_of_a_games_other_ids_are_named(tmp_path, asked):
    for name in ("PongNoFrameskip-v4", "Pong-v4", "Qbert-v4"):
        teacher_file(tmp_path, name, "20260102-000000", 10)
    hint = r", or give one of Pong-v4, PongNoFrameskip-v4 by --teacher_chkpt$"
    with pytest.raises(FileNotFoundError, match=hint):
        best_teacher(tmp_path, asked)


def test_no_teacher_of_a_game_names_the_game_and_the_command(tmp_path):
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20260102-000000", 10)
    with pytest.raises(
        FileNotFoundError, match=r"ALE/Qbert-v5 .*python ppo_teacher\.py 1e7 --env ALE/Qbert-v5"
    ):
        best_teacher(tmp_path, "ALE/Qbert-v5")


@pytest.mark.parametrize(
    ("name", "env_id"),
    [
        ("envALE-Pong-v5_20260102-000000_n_iters10.zip", "ALE/Pong-v5"),
        ("envFreewayNoFrameskip-v0_20240102_000000_n_iters10000.zip", "FreewayNoFrameskip-v0"),
        ("my_teacher.zip", None),
    ],
)
def test_the_game_is_read_from_the_name(name, env_id):
    assert env_id_of(Path(name)) == env_id


def test_the_record_beside_a_zip_says_its_game_before_its_name_does(tmp_path):
    record = {"env_id": "ALE/Qbert-v5"}
    assert env_id_of(teacher_file(tmp_path, "Pong", "20260102-000000", 1, record)) == "ALE/Qbert-v5"


@pytest.mark.parametrize("text", ["", "[1]", '{"env_id": 3}', "\x00"])
def test_a_record_that_cannot_be_read_leaves_the_game_to_the_name(tmp_path, text):
    path = teacher_file(tmp_path, "PongNoFrameskip-v4", "20260102-000000", 1)
    path.with_suffix(".json").write_text(text)
    assert env_id_of(path) == "PongNoFrameskip-v4"
