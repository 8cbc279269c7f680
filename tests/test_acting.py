"""Who acts, what is recorded of it, and that games go on from rollout to rollout."""

import numpy as np
import pytest
import torch
from fakes import CPU, TINY, FakeEnvs, FixedTeacher, Recorded

from distill.acting import Actor, sample_actions
from distill.networks import ActorCritic

TEACHER = FixedTeacher((0.0, 1.0, -1.0))


def fixed_student(*logits):
    """A student that gives every state the same answer."""
    student = ActorCritic(TINY, len(logits))
    with torch.no_grad():
        student.action_net.weight.zero_()
        student.action_net.bias.copy_(torch.tensor(logits))
    return student


def act(student, *, n_steps=400, epsilon=0.0, teacher_mix=0.0, teacher=TEACHER, envs=None):
    envs = Recorded(envs or FakeEnvs(n_envs=8, n_stack=1))
    student.encoder = ActorCritic(TINY, 3, n_stack=envs.envs.n_stack).encoder
    actor = Actor(envs, teacher, device=CPU, rng=np.random.default_rng(0))
    rollout, games = actor.collect(student, n_steps, epsilon=epsilon, teacher_mix=teacher_mix)
    return rollout, games, envs


def assert_drawn_from(action, probabilities):
    """Hold the share of each action to within four standard errors of its probability."""
    p = np.asarray(probabilities)
    share = np.bincount(action.ravel(), minlength=len(p)) / action.size
    np.testing.assert_array_less(abs(share - p), 4 * np.sqrt(p * (1 - p) / action.size))


def test_a_student_acts_by_its_own_distribution():
    rollout, _, _ = act(fixed_student(0.0, np.log(2.0), np.log(5.0)))
    assert_drawn_from(rollout.action, [1 / 8, 2 / 8, 5 / 8])
    assert rollout.on_policy.all()


def test_an_epsilon_of_one_makes_actions_uniform_and_off_policy():
    rollout, _, _ = act(fixed_student(50.0, 0.0, 0.0), epsilon=1.0)
    assert_drawn_from(rollout.action, [1 / 3] * 3)
    assert not rollout.on_policy.any()


def test_a_teacher_mix_of_one_makes_actions_the_teachers_and_off_policy():
    rollout, _, _ = act(fixed_student(50.0, 0.0, 0.0), teacher_mix=1.0)
    assert_drawn_from(rollout.action, TEACHER.answer.softmax(0).numpy())
    assert not rollout.on_policy.any()


def test_shares_of_random_taught_and_own_actions_are_as_asked():
    student, teacher = fixed_student(50.0, 0.0, 0.0), FixedTeacher((0.0, 50.0, 0.0))
    rollout, _, _ = act(student, epsilon=0.3, teacher_mix=0.5, teacher=teacher)
    assert_drawn_from(rollout.action, [0.35 + 0.1, 0.35 + 0.1, 0.1])
    assert_drawn_from(rollout.on_policy.astype(int), [0.65, 0.35])
    assert (rollout.action[rollout.on_policy] == 0).all()


def test_a_step_is_on_policy_unless_the_game_pressed_fire_be_it_what_was_chosen():
    envs = FakeEnvs(n_envs=8, n_stack=1, lives_steps=3, fires=True)
    rollout, _, envs = act(fixed_student(0.0, 0.0, 0.0), envs=envs)
    forced = np.array([step.forced for step in envs.steps])
    replaced = np.array(envs.chosen) != rollout.action
    assert replaced.any()
    assert (forced & ~replaced).any()
    assert (forced | ~replaced).all()
    # Of what was forced one action alone could count, whose advantage no other's would undo.
    np.testing.assert_array_equal(rollout.on_policy, ~forced)
    np.testing.assert_array_equal(rollout.action, [step.action for step in envs.steps])


def test_without_teacher_mix_the_teacher_is_never_asked():
    teacher = FixedTeacher()
    act(fixed_student(0.0, 0.0, 0.0), n_steps=5, epsilon=0.5, teacher=teacher)
    assert teacher.n_calls == 0


def test_a_game_cannot_be_drawn_twice_the_same_way():
    """Numbers go on from one rollout to the next instead of starting over."""
    rng = np.random.default_rng(0)
    logits = np.zeros((64, 3), np.float32)
    assert (sample_actions(logits, rng) != sample_actions(logits, rng)).any()


def test_rows_hold_the_states_before_the_action_and_the_answers_to_them():
    envs = FakeEnvs(lives_steps=4)
    student = fixed_student(0.0, 0.0, 0.0)
    torch.nn.init.normal_(student.action_net.weight)
    rollout, games, envs = act(student, n_steps=20, envs=envs)
    np.testing.assert_array_equal(rollout.obs, envs.seen[:-1])
    np.testing.assert_array_equal(rollout.last_obs, envs.seen[-1])
    for name in ("reward", "done", "game_over"):
        column = [getattr(step, name) for step in envs.steps]
        np.testing.assert_array_equal(getattr(rollout, name), column)
    with torch.no_grad():
        logits = student.logits(torch.from_numpy(rollout.obs).flatten(0, 1)).view(20, 4, 3)
    np.testing.assert_allclose(rollout.student_logits, logits, rtol=1e-5, atol=1e-6)
    assert games == [game for step in envs.steps for game in step.games]
    assert games


def test_age_counts_from_zero_and_restarts_where_a_game_is_over():
    envs = FakeEnvs(n_envs=3, n_stack=1, lengths=(9, 13, 6), lives_steps=2)
    rollout, _, _ = act(fixed_student(0.0, 0.0, 0.0), n_steps=30, envs=envs)
    expected = np.arange(30)[:, None] % [9, 13, 6]
    np.testing.assert_array_equal(rollout.age, expected)


@pytest.mark.parametrize("lengths", [(9, 13, 6), (8,)], ids=["mid-game", "at a game's end"])
def test_a_rollout_goes_on_where_the_last_one_ended(lengths):
    envs = Recorded(FakeEnvs(lengths=lengths))
    actor = Actor(envs, TEACHER, device=CPU, rng=np.random.default_rng(0))
    student = fixed_student(0.0, 0.0, 0.0)
    parts = [actor.collect(student, 8, epsilon=0, teacher_mix=0)[0] for _ in range(3)]
    assert envs.envs.tape.count("reset") == 1
    np.testing.assert_array_equal(np.concatenate([part.obs for part in parts]), envs.seen[:-1])
    age = np.concatenate([part.age for part in parts])
    np.testing.assert_array_equal(age, np.arange(24)[:, None] % envs.envs.lengths)
