"""Scores beside teacher and floors, which student is kept, and which records are believed."""

import json

import pytest
import torch
from fakes import CPU, TINY, FakeEnvs, FakeTracker, FixedTeacher

from distill.evaluation import MODES, Score
from distill.floors import Floors
from distill.networks import ActorCritic
from distill.protocol import PROTOCOL
from distill.scoring import Reference, Scorer, evaluate_modes, recorded_scores, score_table
from distill.student_files import load_student
from distill.types import Game


def score_of(*scores):
    return Score.of([Game(0, score, 100) for score in scores])


def reference(*, teacher=10.0, random=0.0, constant=4.0):
    scores = score_of(random, random), score_of(constant, constant)
    floors = Floors(*scores, best_action=2, n_envs=2, seed=0)
    return Reference({"greedy": score_of(99.0), "sampled": score_of(teacher)}, floors)


# Shares


@pytest.mark.parametrize(
    ("score", "share"), [(10.0, 1.0), (4.0, 0.0), (7.0, 0.5), (13.0, 1.5), (1.0, -0.5)]
)
def test_a_share_is_measured_from_the_higher_floor_to_the_sampled_teacher(score, share):
    assert reference().share(score_of(score)) == pytest.approx(share, abs=1e-12)
    assert reference(random=4.0, constant=-3.0).share(score_of(score)) == pytest.approx(share)


@pytest.mark.parametrize("teacher", [4.0, 3.0])
def test_there_is_no_share_in_a_teacher_that_is_no_better_than_the_floor(teacher):
    assert reference(teacher=teacher).share(score_of(5.0)) is None


# Scoring a student


@pytest.fixture
def student():
    """A student that always plays action 0, until it is told otherwise."""
    student = ActorCritic(TINY, 4)
    torch.nn.init.zeros_(student.action_net.weight)
    return play_always(student, 0)


def play_always(student, action):
    with torch.no_grad():
        student.action_net.bias.zero_()[action] = 1000.0
    return student


def games():
    """Games of 5 and 7 steps in which action k is worth k - 1 a step."""
    return FakeEnvs(2, lengths=(5, 7), worths=(-1.0, 0.0, 1.0, 2.0))


def scorer_of(student, folder, *, tracker=None, reference=reference(), modes=MODES):  # noqa: B008
    return Scorer(
        student,
        reference,
        run_dir=folder,
        tracker=tracker or FakeTracker(),
        metadata={"teacher": "expert.zip", "env_id": "PongNoFrameskip-v4"},
        seed=1,
        device=CPU,
        modes=modes,
    )


def kept(folder, name="student_best"):
    return load_student(folder / f"{name}.safetensors", device=CPU)[1]


def test_greedy_and_sampled_play_are_scored_from_the_same_starts():
    envs = games()
    scores = evaluate_modes(FixedTeacher((0.0, 0.0, 0.0, 0.1)), envs, 20, seed=0, device=CPU)
    assert tuple(scores) == MODES
    assert sorted(set(scores["greedy"].scores)) == [10.0, 14.0]
    assert scores["greedy"].mean == 12.0
    assert scores["sampled"].n_unique > 2
    assert scores["sampled"].mean_length_steps == scores["greedy"].mean_length_steps == 6.0
    assert envs.tape.count("reset") == 2


def test_the_student_of_the_best_sampled_mean_is_kept(student, tmp_path):
    scorer, path = scorer_of(student, tmp_path), tmp_path / "student_best.safetensors"
    # Actions by evaluation, and the step whose student is the best so far.
    history = [(1, 100, 100), (0, 200, 100), (1, 300, 100), (3, 400, 400), (2, 500, 400)]
    for action, step, best_step in history:
        before = path.read_bytes() if path.exists() else None
        scorer.interim(games(), 4, step)
        play_always(student, action)
        scorer.interim(games(), 4, step)
        assert kept(tmp_path)["steps"] == str(best_step), step
        assert (path.read_bytes() == before) == (step != best_step)
    assert scorer.best == 12.0
    assert kept(tmp_path)["score"] == "12"


def test_a_score_on_the_way_is_told_in_words(student, tmp_path):
    scorer = scorer_of(play_always(student, 3), tmp_path)
    teacher = scorer.reference.teacher["sampled"].mean
    assert scorer.interim(games(), 4, 2_000) == (
        f"step 2,000: 12.0 in 4 games, the teacher {teacher:.1f}"
    )


def test_greedy_play_does_not_decide_which_student_is_kept(student, tmp_path):
    scorer = scorer_of(play_always(student, 2), tmp_path)
    scorer.interim(games(), 20, 100)  # 6.0, greedy and sampled
    with torch.no_grad():
        student.action_net.bias.zero_()[3] = 0.01  # 12.0 greedy, some 3.0 sampled
    scorer.interim(games(), 20, 200)
    assert kept(tmp_path)["steps"] == "100"


def test_a_resumed_scorer_keeps_the_best_student_of_before(student, tmp_path):
    scorer = scorer_of(student, tmp_path)
    scorer.best = 5.0
    scorer.interim(games(), 4, 100)
    assert not list(tmp_path.iterdir())
    play_always(student, 2)
    scorer.interim(games(), 4, 200)
    assert kept(tmp_path)["steps"] == "200"


def test_a_killed_and_resumed_run_does_not_replace_its_best_student_by_a_worse(student, tmp_path):
    scorer_of(play_always(student, 3), tmp_path).interim(games(), 4, 100)  # 12.0
    again = scorer_of(play_always(student, 2), tmp_path)  # from a checkpoint of before
    again.interim(games(), 4, 50)  # 6.0
    assert kept(tmp_path)["score"] == "12"


def test_the_kept_student_plays_as_it_was_scored(student, tmp_path):
    scorer_of(student, tmp_path).interim(games(), 4, 100)
    copy, _ = load_student(tmp_path / "student_best.safetensors", device=CPU)
    obs = torch.randint(256, (4, 4, 84, 84), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(copy.logits(obs), student.logits(obs), rtol=0, atol=0)


def test_the_final_student_is_kept_whatever_it_scores(student, tmp_path):
    scorer = scorer_of(student, tmp_path)
    scorer.best = 99.0
    scores = scorer.final(games(), 4, 700)
    assert scores["sampled"].scores == (-5.0, -7.0, -5.0, -7.0)
    assert kept(tmp_path, "student") == {
        "teacher": "expert.zip",
        "env_id": "PongNoFrameskip-v4",
        "steps": "700",
        "score": "-6",
        "widths": "2,2,2,8",
        "n_actions": "4",
        "n_stack": "4",
    }
    assert not (tmp_path / "student_best.safetensors").exists()


def test_scores_are_logged_beside_teacher_and_floor(student, tmp_path):
    tracker = FakeTracker()
    scorer_of(play_always(student, 3), tmp_path, tracker=tracker).interim(games(), 2, 300)
    assert tracker.rows == [
        (
            300,
            {
                "eval/mean_reward": 12.0,
                "eval/mean_reward_greedy": 12.0,
                "eval/mean_ep_length": 6.0,
                "eval/teacher": 10.0,
                "eval/floor": 4.0,
                "eval/score_share": pytest.approx(8 / 6),
            },
        )
    ]


def test_greedy_play_is_left_out_where_it_is_not_wanted(student, tmp_path):
    tracker, envs = FakeTracker(), games()
    scores = scorer_of(student, tmp_path, tracker=tracker, modes=("sampled",)).final(envs, 2, 300)
    assert list(scores) == ["sampled"]
    assert "eval/mean_reward_greedy" not in tracker.rows[0][1]
    assert envs.tape.count("reset") == 1


def test_no_share_is_logged_where_there_is_none(student, tmp_path):
    tracker = FakeTracker()
    scorer = scorer_of(student, tmp_path, tracker=tracker, reference=reference(teacher=1.0))
    scorer.interim(games(), 2, 300)
    assert tracker.column("eval/score_share") == []
    assert tracker.column("eval/teacher") == [1.0]


# Records


def record_of(*, greedy=(1.0, 2.0, 3.0), sampled=(4.0, 5.0, 6.0), **how):
    scores = {"greedy": score_of(*greedy).to_json(), "sampled": score_of(*sampled).to_json()}
    games = {"protocol": PROTOCOL, "n_envs": 20, "seed": 10_000}
    return {"env_id": "x", "evaluation": {**games, **scores, **how}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teacher.json"


@pytest.mark.parametrize("n_games", [1, 3])
def test_recorded_scores_are_those_over_the_games_asked_for_if_they_are_enough(path, n_games):
    path.write_text(json.dumps(record_of()))
    scores = recorded_scores(path, "x", n_games)
    found = (1.0, 2.0, 3.0)[:n_games], (4.0, 5.0, 6.0)[:n_games]
    assert scores == {"greedy": score_of(*found[0]), "sampled": score_of(*found[1])}


def test_scores_in_another_game_do_not_count(path):
    path.write_text(json.dumps(record_of()))
    assert recorded_scores(path, "y", 3) is None


@pytest.mark.parametrize(
    "record",
    [
        record_of(greedy=(1.0, 2.0)),
        record_of(sampled=(1.0, 2.0)),
        record_of(protocol="another"),
        record_of(n_envs=10),
        record_of(seed=0),
    ],
    ids=["few greedy", "few sampled", "another protocol", "other games at a time", "another seed"],
)
def test_scores_over_fewer_or_other_games_than_students_do_not_count(path, record):
    path.write_text(json.dumps(record))
    assert recorded_scores(path, "x", 3) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[1]",
        b'"text"',
        b"{}",
        b'{"evaluation": null}',
        b'{"evaluation": "text"}',
        json.dumps(record_of()).encode()[:-40],
        json.dumps(record_of()).replace("4.0", "NaN").encode(),
        json.dumps(record_of()).replace("[4.0, 5.0, 6.0]", "[]").encode(),
        json.dumps(record_of()).replace("4.0", "1" + 400 * "0").encode(),
        json.dumps(record_of()).replace("[100, ", "[Infinity, ").encode(),
        json.dumps(record_of()).replace("scores", "points").encode(),
        b"[" * 100_000,
    ],
)
def test_a_damaged_record_is_no_record(path, text):
    path.write_bytes(text)
    assert recorded_scores(path, "x", 1) is None


def test_a_missing_record_is_no_record(path, tmp_path):
    assert recorded_scores(path, "x", 1) is None
    assert recorded_scores(tmp_path, "x", 1) is None


# The table


def test_the_table_shows_every_name_with_its_numbers_and_the_floors():
    scores = {"teacher, sampled": score_of(10.0, 12.0), "student, greedy": score_of(7.25)}
    lines = score_table(scores, reference().floors).splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == [
        "",
        "teacher, sampled",
        "student, greedy",
        "floor: random",
        "floor: always action 2",
    ]
    assert lines[0].split() == ["mean", "sd", "95", "%", "interval", "unique", "games", "length,",
                                "steps"]  # fmt: skip
    # Student's t of one degree of freedom is 12.706; the standard error is 1.
    assert lines[1].split()[2:] == ["11.00", "1.41", "-1.71", "to", "23.71", "2", "2", "100"]
    assert lines[2].split()[2:] == ["7.25", "-", "-", "1", "1", "100"]
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 80
