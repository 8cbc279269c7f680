"""scripts/watch.py: who plays, and what is shown of it."""

import os

import cv2
import numpy as np
import pytest
import torch
import watch
from checkpoints import FREEWAY, PONG, TEACHER, make_student, make_teacher
from scripted import ScriptedEnvs

from distill.envs import make_atari
from distill.networks import ActorCritic
from distill.player import Player, load_player
from distill.teacher import FrozenPolicy
from distill.tool_config import WatchConfig
from distill.types import WIDTHS

BREAKOUT = "BreakoutNoFrameskip-v4"


def moments(player, table, n, *, greedy=False, seed=0):
    stream = watch.play(player, table, greedy=greedy, seed=seed)
    return [next(stream) for _ in range(n)]


# --- the game as it is seen and as it is shown ---


@pytest.mark.atari
@pytest.mark.parametrize(
    ("env_id", "n_steps"), [(PONG, 300), (FREEWAY, 300), (BREAKOUT, 600), ("ALE/Breakout-v5", 600)]
)
def test_screens_and_observations_are_in_lockstep(env_id, n_steps):
    games = make_atari(env_id, 1, seed=5, training=False, n_threads=1)
    screens, others = (
        make_atari(env_id, 1, seed=seed, training=False, n_threads=1, n_stack=1, color=True)
        for seed in (5, 6)
    )
    rng, n_over, apart = np.random.default_rng(0), 0, []
    obs, screen, other = games.reset(), screens.reset(), others.reset()
    for _ in range(n_steps):
        # The maximum of two frames is taken before they turn gray here, afterwards there.
        assert distance(screen, obs).max() <= 32
        apart.append(distance(other, obs).max())
        action = rng.integers(games.n_actions, size=1)
        step, shown, other = games.step(action), screens.step(action), others.step(action).obs
        obs, screen = step.obs, shown.obs
        n_over += int(step.game_over[0])
        assert (step.action, step.reward, step.game_over) == (
            shown.action,
            shown.reward,
            shown.game_over,
        )
    assert np.mean(np.array(apart) > 32) > 0.5  # another seed's would be noticed
    assert n_over >= (1 if "Breakout" in env_id else 0)


def distance(screen, obs):
    """Return how far a screen is from what the network sees, a pixel, in gray levels."""
    gray = cv2.cvtColor(screen[0, -1], cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (84, 84), interpolation=cv2.INTER_AREA)
    return np.abs(small.astype(int) - obs[0, -1])


# --- what is shown of a step ---


class Recorder(FrozenPolicy):
    """Answers at random, and keeps the answers."""

    def __init__(self, n_actions=2):
        super().__init__(ActorCritic(WIDTHS["0.1pct"], n_actions, n_stack=1))
        self.answers = []

    def logits(self, obs):
        self.answers.append(5 * torch.randn(len(obs), self.n_actions))
        return self.answers[-1]


def scripted_table(lengths, worths=(0.0, 1.0), envs=ScriptedEnvs):
    return watch.Table(envs([lengths], worths), envs([lengths], worths), ("NOOP", "FIRE"))


def actions_of(envs):
    assert isinstance(envs, ScriptedEnvs)
    return np.array(envs.actions)


def test_probabilities_are_the_softmax_of_the_networks_logits(tmp_path):
    network = Recorder()
    shown = moments(Player(tmp_path, network, None), scripted_table([9]), 20)
    expected = torch.cat(network.answers[:20]).softmax(1)
    np.testing.assert_allclose([m.probabilities for m in shown], expected, rtol=1e-5)


def test_a_screen_is_the_one_that_the_answer_is_to(tmp_path):
    table = scripted_table([9])
    shown = moments(Player(tmp_path, Recorder(), None), table, 5)
    assert [int(m.screen.max()) for m in shown] == [0, 1, 2, 3, 4]  # ScriptedEnvs counts


def test_both_games_are_given_the_same_actions(tmp_path):
    table = scripted_table([9])
    moments(Player(tmp_path, Recorder(), None), table, 30)
    played = actions_of(table.games)
    np.testing.assert_array_equal(played[:29], actions_of(table.screens))  # the last is to come
    assert len(np.unique(played)) == 2


def test_greedy_play_takes_the_most_probable_action_and_sampled_play_does_not_always(tmp_path):
    player = Player(tmp_path, Recorder(), None)
    rates = {}
    for greedy in (True, False):
        shown = moments(player, scripted_table([9]), 200, greedy=greedy)
        rates[greedy] = np.mean([m.action == m.probabilities.argmax() for m in shown])
    assert rates[True] == 1
    assert 0.6 < rates[False] < 0.98


def test_after_a_game_the_next_one_starts_from_no_score(tmp_path):
    shown = moments(Player(tmp_path, Recorder(), None), scripted_table([3, 2], (2.0, 2.0)), 7)
    assert [m.game for m in shown] == [1, 1, 1, 2, 2, 3, 3]
    assert [m.score for m in shown] == [0, 2, 4, 0, 2, 0, 2]


class StuckEnvs(ScriptedEnvs):
    """Executes FIRE, whatever is chosen."""

    def step(self, actions):
        return super().step(actions)._replace(action=np.ones_like(actions))


def test_the_action_shown_is_the_one_executed(tmp_path):
    player = Player(tmp_path, Recorder(), None)
    table = scripted_table([9], envs=StuckEnvs)
    assert {m.action for m in moments(player, table, 20)} == {1}
    assert 0 in actions_of(table.games)


@pytest.mark.atari
def test_lost_lives_and_finished_games_are_played_on(tmp_path):
    """A player that never presses FIRE loses its lives one by one, five a game."""
    player = load_player(make_student(tmp_path / "s.safetensors", 4, env_id=BREAKOUT, action=0))
    shown = moments(player, watch.set_table(player, BREAKOUT, 0), 400)
    assert {m.game for m in shown} >= {1, 2, 3}
    n_fires = sum(m.action == 1 and m.game == 1 for m in shown)
    assert n_fires == 4  # after each lost life but the last
    assert {m.action for m in shown} == {0, 1}


# --- who plays ---


def test_by_default_the_best_teacher_and_the_newest_student_of_its_game_play(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watch, "TEACHERS", tmp_path / "teachers")
    make_teacher(tmp_path / "teachers" / TEACHER)
    make_teacher(tmp_path / "teachers" / f"env{FREEWAY}_20270102-030405_n_iters10000.zip", 3)
    students = [
        make_student(tmp_path / "runs" / "old" / "student.safetensors"),
        make_student(tmp_path / "runs" / "new" / "student_best.safetensors"),
        make_student(tmp_path / "runs" / "freeway" / "student.safetensors", 3, env_id=FREEWAY),
        tmp_path / "runs" / "damaged" / "student.safetensors",
    ]
    students[-1].parent.mkdir()
    students[-1].write_bytes(b"x")
    for age, path in enumerate(reversed(students)):
        os.utime(path, (1e9 - age, 1e9 - age))

    def names(**settings):
        found = watch.find_players(WatchConfig(**settings))
        return [f"{p.path.parent.name}/{p.path.name}" for p in found]

    assert names()[1:] == ["freeway/student.safetensors"]  # of the default game
    assert names(env=PONG) == [f"teachers/{TEACHER}", "new/student_best.safetensors"]
    for path in students[:2]:
        path.unlink()
    assert names(env=PONG) == [f"teachers/{TEACHER}"]


def test_panels_name_the_checkpoint_and_its_size(tmp_path):
    table = scripted_table([9])
    student = load_player(make_student(tmp_path / "run7" / "student.safetensors", n_stack=4))
    panel = watch.describe(student, table)
    assert panel.title == "run7/student"
    actor = student.policy.network
    n = sum(p.numel() for p in actor.parameters())  # a student has nothing but its actor
    assert panel.subtitle == f"0.1pct: {n:,} parameters"
    teacher = load_player(make_teacher(tmp_path / TEACHER))
    assert watch.describe(teacher, table).title == TEACHER[:-4]


@pytest.mark.atari
def test_a_table_shows_the_game_that_is_played(tmp_path):
    player = load_player(make_student(tmp_path / "s.safetensors", 3, env_id=FREEWAY))
    table = watch.set_table(player, FREEWAY, 7)
    obs, screen = table.games.reset(), table.screens.reset()
    for t in range(60):
        assert distance(screen, obs).max() <= 32
        action = np.full(1, t % 3)
        obs, screen = table.games.step(action).obs, table.screens.step(action).obs
