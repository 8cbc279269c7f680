"""eval_teacher.py as a user runs it, on real games."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
import torch
from in_process import run_main
from scripted import score_of

import eval_teacher
from distill import teacher_files
from distill.files import digest_of
from distill.networks import ActorCritic
from distill.ppo.fast_policy import FastCnnPolicy, policy_kwargs
from distill.ppo.sb3 import export_zip, observation_space
from distill.protocol import STUDENT_GAMES
from distill.scoring import recorded_scores
from distill.student_files import save_student
from distill.types import WIDTHS

pytestmark = pytest.mark.atari

ROOT = Path(__file__).resolve().parent.parent
PONG = "PongNoFrameskip-v4"
NAME = f"env{PONG}_20260102-030405_n_iters10000.zip"


def make_teacher(path, n_actions, *, action=None):
    """Write a teacher of random weights; with `action`, one that always takes that action."""
    torch.manual_seed(0)
    policy = FastCnnPolicy(
        observation_space(),
        gymnasium.spaces.Discrete(n_actions),
        lambda _: 1e-3,
        **policy_kwargs(WIDTHS["0.1pct"], torch.float32),
    )
    if action is not None:
        head = policy.action_net
        assert isinstance(head, torch.nn.Linear)
        torch.nn.init.zeros_(head.weight)
        head.bias.data[action] = 50.0
    path.parent.mkdir(parents=True, exist_ok=True)
    export_zip(policy, n_actions, path)
    return path


def run(folder, *args):
    """Run the command in a folder of its own, where runs/ and teachers/ are."""
    command = [sys.executable, str(ROOT / "eval_teacher.py"), "--device", "cpu", *map(str, args)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def run_here(folder, monkeypatch, *args):
    """Run the command in this process, which is faster; returns its exit status."""
    monkeypatch.chdir(folder)
    return run_main(monkeypatch, eval_teacher, "--device", "cpu", *args)


def refusal(folder, monkeypatch, capsys, *args):
    """Run the command with bad input; returns what it says."""
    assert run_here(folder, monkeypatch, *args) == 2
    return capsys.readouterr().err


def test_games_are_evaluations_of_the_seed_asked_for(tmp_path, monkeypatch):
    make_teacher(tmp_path / NAME, 6)
    asked = {}

    def watched(*args, **settings):
        asked.update(settings)
        raise ValueError("enough is known")

    monkeypatch.setattr(eval_teacher, "games_for", watched)
    assert run_here(tmp_path, monkeypatch, "--teacher_chkpt", NAME, "--seed", "7") == 2
    assert (asked["training"], asked["seed"]) == (False, 7)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Score the latest of two teachers over two games; returns the folder and the output."""
    folder = tmp_path_factory.mktemp("evaluation")
    make_teacher(folder / "teachers" / NAME, 6, action=0)
    make_teacher(folder / "teachers" / f"env{PONG}_20250102-030405_n_iters20000.zip", 6)
    (folder / "teachers" / NAME).with_suffix(".json").write_text(
        json.dumps({"env_id": PONG, "steps": 10240, "machine": "[1,  2]"})
    )
    done = run(folder, "--n_eval_episodes", 2, "--n_envs", 1, "--write_score", "--seed", 3)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder, done.stdout


def test_last_line_is_json_with_scores_floors_and_verdict(finished):
    _, output = finished
    result = json.loads(output.splitlines()[-1])
    assert result["env_id"] == PONG
    assert Path(result["checkpoint"]).name == NAME
    assert (result["n_games"], result["seed"]) == (2, 3)
    assert len(result["sampled"]["scores"]) == len(result["floors"]["constant"]["scores"]) == 2
    assert set(result["verdict"]) == {"greedy", "sampled"}


def test_teacher_that_stands_still_scores_the_floor_of_standing_still(finished):
    _, output = finished
    result = json.loads(output.splitlines()[-1])
    assert result["greedy"]["scores"] == result["sampled"]["scores"] == [-21, -21]
    assert 700 < result["greedy"]["mean_length_steps"] < 1100


def test_table_has_a_row_for_both_modes_and_both_floors(finished):
    _, output = finished
    for name in ("greedy", "sampled", "floor: random", "floor: always action"):
        assert any(line.startswith(name) for line in output.splitlines())


def test_write_score_says_where_the_scores_are(finished):
    record = (Path("teachers") / NAME).with_suffix(".json")
    assert f"the scores are kept in {record}\n" in (finished[0] / "stderr").read_text()


def test_write_score_keeps_the_other_keys(finished):
    folder, output = finished
    record = json.loads((folder / "teachers" / NAME).with_suffix(".json").read_text())
    assert record["steps"] == 10240
    assert record["machine"] == "[1,  2]"
    result = json.loads(output.splitlines()[-1])
    written = record["evaluation"]
    assert written == {k: v for k, v in result.items() if k in written}
    assert {"greedy", "sampled", "floors", "protocol", "n_games", "seed", "commit"} <= set(written)
    assert written["n_envs"] == 1


def test_floors_are_cached_under_runs(finished):
    folder, _ = finished
    assert PONG in json.loads((folder / "runs" / "floors.json").read_text())
    assert not (folder / "teachers" / "floors.json").exists()


def test_student_is_scored_on_its_own_game_and_stack(tmp_path, finished, monkeypatch, capsys):
    folder, _ = finished
    path = tmp_path / "student.safetensors"
    save_student(path, ActorCritic(WIDTHS["0.1pct"], 6, n_stack=1), {"env_id": PONG})
    args = "--teacher_chkpt", path, "--n_eval_episodes", 1, "--n_envs", 3, "--seed", 3
    assert run_here(folder, monkeypatch, *args) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["env_id"], result["greedy"]["n_games"]) == (PONG, 1)
    assert result["floors"]["n_games"] == 2  # those that `finished` cached


def test_students_wrong_action_count_is_refused_with_both_numbers(tmp_path, monkeypatch, capsys):
    path = tmp_path / "student.safetensors"
    save_student(path, ActorCritic(WIDTHS["0.1pct"], 3), {"env_id": PONG})
    message = refusal(tmp_path, monkeypatch, capsys, "--teacher_chkpt", path)
    assert re.search(r"\b3 actions.*\b6\b", message)


def test_teachers_wrong_action_count_is_refused_with_both_numbers(tmp_path, monkeypatch, capsys):
    make_teacher(tmp_path / "teachers" / NAME, 3)
    assert re.search(r"\b3 actions.*\b6\b", refusal(tmp_path, monkeypatch, capsys))


def test_game_must_be_given_where_the_checkpoint_does_not_say(tmp_path, monkeypatch, capsys):
    path = make_teacher(tmp_path / "mine.zip", 6)
    message = refusal(tmp_path, monkeypatch, capsys, "--teacher_chkpt", path)
    assert "--env is missing" in message


def test_damaged_record_is_refused_before_any_game_is_played(tmp_path, monkeypatch, capsys):
    path = make_teacher(tmp_path / "teachers" / NAME, 6)
    path.with_suffix(".json").write_text("[")
    message = refusal(tmp_path, monkeypatch, capsys, "--write_score", "--env", PONG)
    assert "not a JSON object" in message


def test_a_score_in_another_game_is_not_kept_as_one_in_its_own(tmp_path, monkeypatch, capsys):
    path = make_teacher(tmp_path / "teachers" / NAME, 6)
    sticky = PONG.replace("-v4", "-v0")
    flags = ("--write_score", "--env", sticky, "--teacher_chkpt", path)
    message = refusal(tmp_path, monkeypatch, capsys, *flags)
    assert "--write_score needs the --env that" in message
    assert f"{PONG}, got {sticky}" in message


def test_a_score_that_could_not_be_kept_is_refused_before_any_game(tmp_path, monkeypatch, capsys):
    make_teacher(tmp_path / "teachers" / NAME, 6)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    message = refusal(tmp_path, monkeypatch, capsys, "--write_score")
    assert (
        "with --write_score the checkpoint's folder must be a folder to write to, got teachers"
        in message
    )


def test_a_score_of_one_game_is_not_kept(tmp_path, monkeypatch, capsys):
    make_teacher(tmp_path / "teachers" / NAME, 6)
    flags = ("--write_score", "--env", PONG, "--n_eval_episodes", "1")
    message = refusal(tmp_path, monkeypatch, capsys, *flags)
    assert "--write_score needs --n_eval_episodes of at least 2, got 1" in message


def test_scores_of_more_games_are_not_replaced(tmp_path, monkeypatch, capsys):
    path = make_teacher(tmp_path / "teachers" / NAME, 6).with_suffix(".json")
    flags = ("--write_score", "--env", PONG, "--n_eval_episodes", 2, "--n_envs", 2)
    kept = {"env_id": PONG, "evaluation": {"n_games": 3, "sampled": {"mean": 7.0}}}
    path.write_text(json.dumps(kept))
    message = refusal(tmp_path, monkeypatch, capsys, *flags)
    assert "--n_eval_episodes must be at least 3 with --write_score, got 2" in message
    assert json.loads(path.read_text()) == kept
    for damaged in ({"n_games": 2}, {"n_games": "3"}, [], None):  # nothing that would be lost
        path.write_text(json.dumps(kept | {"evaluation": damaged}))
        assert run_here(tmp_path, monkeypatch, *flags) == 0
        assert json.loads(path.read_text())["evaluation"]["sampled"]["n_games"] == 2


def test_scores_that_runs_go_by_are_not_replaced_by_those_of_other_games(
    tmp_path, monkeypatch, capsys
):
    path = make_teacher(tmp_path / "teachers" / NAME, 6).with_suffix(".json")
    kept = {"env_id": PONG, "evaluation": {"n_games": 2, **STUDENT_GAMES}}
    path.write_text(json.dumps(kept))
    flags = ("--write_score", "--env", PONG, "--n_eval_episodes", 20)
    for other in (("--n_envs", 8), ("--seed", 3)):
        message = refusal(tmp_path, monkeypatch, capsys, *flags, *other)
        assert "--n_envs and --seed must be 20 and 10000 with --write_score, got" in message
        assert json.loads(path.read_text()) == kept


def test_scores_of_weights_that_were_replaced_count_no_more(tmp_path, monkeypatch, capsys):
    path = make_teacher(tmp_path / "teachers" / NAME, 6)
    flags = ("--write_score", "--n_eval_episodes", 2, "--n_envs", 2, "--env", PONG)
    assert run_here(tmp_path, monkeypatch, *flags) == 0
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["evaluation"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert teacher_files.is_of_file(record["evaluation"], path)
    record["evaluation"] |= {"n_games": 100, **STUDENT_GAMES}
    path.with_suffix(".json").write_text(json.dumps(record))
    assert "at least 100 with --write_score" in refusal(tmp_path, monkeypatch, capsys, *flags)
    assert recorded_scores(path, PONG, 2) is not None
    path.with_suffix(".json").write_text(json.dumps(record | {"steps": 7_000_000, "grade": "good"}))
    make_teacher(path, 6, action=3)
    assert recorded_scores(path, PONG, 2) is None
    assert run_here(tmp_path, monkeypatch, *flags) == 0
    record = json.loads(path.with_suffix(".json").read_text())
    assert record.keys() == {"env_id", "evaluation"}  # the steps and grade were another's
    assert record["evaluation"]["n_games"] == 2
    assert teacher_files.is_of_file(record["evaluation"], path)


def test_another_game_can_take_the_place_of_a_scored_one(tmp_path, monkeypatch, capsys):
    path = make_teacher(tmp_path / "MINE.zip", 6)
    flags = ("--teacher_chkpt", path, "--write_score", "--n_eval_episodes", 2, "--n_envs", 2)
    assert run_here(tmp_path, monkeypatch, *flags, "--env", PONG) == 0
    assert teacher_files.env_id_of(path) == PONG
    make_teacher(path, 3)
    assert teacher_files.env_id_of(path) is None
    assert "--env is missing" in refusal(tmp_path, monkeypatch, capsys, *flags)
    assert run_here(tmp_path, monkeypatch, *flags, "--env", "FreewayNoFrameskip-v4") == 0
    assert teacher_files.env_id_of(path) == "FreewayNoFrameskip-v4"


@pytest.mark.parametrize("name", ["MINE", "MINE.ZIP"])
def test_a_score_is_found_again_whatever_the_teachers_name(tmp_path, name):
    path = make_teacher(tmp_path / "MINE.zip", 6).rename(tmp_path / name)
    score = score_of(1.0, 2.0).to_json()
    evaluation = {"greedy": score, "sampled": score, **STUDENT_GAMES}
    evaluation["sha256"] = digest_of(path)
    path.with_suffix(".json").write_text(json.dumps({"env_id": PONG, "evaluation": evaluation}))
    assert recorded_scores(path, PONG, 2) is not None


def meanwhile(monkeypatch, happens):
    """Let something happen while the games are played."""
    play = eval_teacher.evaluate_modes

    def watched(*args, **more):
        happens()
        return play(*args, **more)

    monkeypatch.setattr(eval_teacher, "evaluate_modes", watched)


def test_what_is_written_beside_a_teacher_while_it_plays_stays(tmp_path, monkeypatch, capsys):
    path = make_teacher(tmp_path / "teachers" / NAME, 6)
    record = path.with_suffix(".json")
    flags = ("--write_score", "--n_eval_episodes", 2, "--n_envs", 2)
    with monkeypatch.context() as patch:
        meanwhile(patch, lambda: record.write_text(json.dumps({"grade": "good"})))
        assert run_here(tmp_path, patch, *flags) == 0
    kept = json.loads(record.read_text())
    assert (kept["grade"], kept["evaluation"]["n_games"]) == ("good", 2)
    capsys.readouterr()
    more = {"evaluation": {"n_games": 300}}
    meanwhile(monkeypatch, lambda: record.write_text(json.dumps(more)))
    assert run_here(tmp_path, monkeypatch, *flags) == 2
    assert json.loads(record.read_text()) == more
    out, err = capsys.readouterr()
    assert "--n_eval_episodes must be at least 300 with --write_score" in err
    assert json.loads(out.splitlines()[-1])["sampled"]["n_games"] == 2  # shown all the same


def test_no_score_is_kept_of_a_teacher_that_was_replaced_while_it_played(
    tmp_path, monkeypatch, capsys
):
    path = make_teacher(tmp_path / "teachers" / NAME, 6)
    meanwhile(monkeypatch, lambda: make_teacher(path, 6, action=3))
    flags = ("--write_score", "--n_eval_episodes", 2, "--n_envs", 2)
    said = refusal(tmp_path, monkeypatch, capsys, *flags)
    assert f"teachers/{NAME} was replaced while it played" in said
    assert not path.with_suffix(".json").exists()


def test_a_score_is_shown_even_where_it_cannot_be_kept(tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    make_teacher(tmp_path / "teachers" / NAME, 6)
    monkeypatch.setattr(eval_teacher, "write_json", refuse)
    flags = ("--write_score", "--n_eval_episodes", 2, "--n_envs", 2)
    assert run_here(tmp_path, monkeypatch, *flags) == 1
    out, err = capsys.readouterr()
    assert "Read-only file system" in err
    assert json.loads(out.splitlines()[-1])["sampled"]["n_games"] == 2


def test_a_score_is_kept_even_where_it_cannot_be_shown(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = make_teacher(tmp_path / "teachers" / NAME, 6)
    monkeypatch.setattr(eval_teacher, "score_table", full)
    flags = ("--write_score", "--n_eval_episodes", 2, "--n_envs", 2)
    assert run_here(tmp_path, monkeypatch, *flags) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert json.loads(path.with_suffix(".json").read_text())["evaluation"]["n_games"] == 2


def test_the_latest_teacher_is_the_asked_games_if_there_is_one(tmp_path, monkeypatch, capsys):
    make_teacher(tmp_path / "teachers" / NAME, 6)
    later = f"env{PONG.replace('Pong', 'Freeway')}_20270102-030405_n_iters10000.zip"
    make_teacher(tmp_path / "teachers" / later, 3)
    flags = ("--n_eval_episodes", 1, "--n_envs", 1)
    assert run_here(tmp_path, monkeypatch, *flags, "--env", PONG) == 0
    assert capsys.readouterr().out.startswith(f"teachers/{NAME} on {PONG}")
    message = refusal(tmp_path, monkeypatch, capsys, *flags, "--env", "ALE/Breakout-v5")
    assert "no teacher of ALE/Breakout-v5 in teachers" in message


def test_unknown_game_names_the_closest(tmp_path, monkeypatch, capsys):
    make_teacher(tmp_path / "teachers" / NAME, 6)
    assert PONG in refusal(tmp_path, monkeypatch, capsys, "--env", "PongNoFrameskip-v3")


def test_folder_without_teachers_names_the_command_that_makes_one(tmp_path, monkeypatch, capsys):
    assert "ppo_teacher.py" in refusal(tmp_path, monkeypatch, capsys)
