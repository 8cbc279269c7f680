"""The ring: what it draws are states of one game, bit-equal to those that were played."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from fakes import CPU, TINY, FakeEnvs, FixedTeacher, Recorded

from distill.acting import Actor
from distill.envs import make_atari
from distill.networks import ActorCritic, pack
from distill.rollouts import Ring
from distill.types import Labels

FIELDS = ("place", "obs", "next_obs", "action", "teacher_logits", "uncertainty", "inclusion")


class Play:
    """Plays at random into a ring, and knows which state should lie where."""

    def __init__(self, envs, *, capacity, n_steps, n_stack):
        self.envs, self.n_steps, self.n_rollouts = Recorded(envs), n_steps, 0
        self.ring = Ring(
            capacity, n_envs=envs.n_envs, n_actions=envs.n_actions, n_stack=n_stack, device=CPU
        )
        self.student = ActorCritic(TINY, envs.n_actions, n_stack=n_stack)
        rng = np.random.default_rng(0)
        self.actor = Actor(self.envs, FixedTeacher(), device=CPU, rng=rng)

    def go_on(self, n_rollouts=1):
        """Add rollouts whose labels say which state they belong to."""
        for _ in range(n_rollouts):
            rollout, _ = self.actor.collect(
                self.student, self.n_steps, epsilon=1.0, teacher_mix=0.0
            )
            first = self.ring.n_added_rows * self.ring.n_envs
            label = np.arange(first, first + rollout.age.size, dtype=np.float32)
            label = label.reshape(rollout.age.shape)
            logits = np.repeat(label[..., None], self.envs.n_actions, 2)
            self.ring.add(rollout, Labels(logits, label + 0.25, label + 0.5))
        return self

    def origin(self, places):
        """Return step and environment of the states at `places`."""
        row, env = np.divmod(places, self.ring.n_envs)
        n_added, n_rows = self.ring.n_added_rows, self.ring.n_rows
        return n_added - 1 - (n_added - 1 - row) % n_rows, env

    def packed(self, steps, env):
        return pack(
            torch.from_numpy(
                np.stack([self.envs.seen[t][i] for t, i in zip(steps, env, strict=True)])
            )
        )

    def candidates(self):
        return self.ring._drawable

    def assert_true_to_the_games(self):
        """Hold every state that can be drawn, and its successor, against what was played."""
        places = self.candidates()
        steps, env = self.origin(places)
        assert torch.equal(self.ring.stacks(places), self.packed(steps, env))
        over = np.array([self.envs.steps[t].game_over[i] for t, i in zip(steps, env, strict=True)])
        assert not over.any()
        batch = self.ring.sample(np.random.default_rng(0), 32, pairs=True)
        steps, env = self.origin(batch.place)
        assert torch.equal(batch.obs, self.packed(steps, env))
        assert batch.next_obs is not None
        assert torch.equal(batch.next_obs, self.packed(steps + 1, env))
        action = [self.envs.steps[t].action[i] for t, i in zip(steps, env, strict=True)]
        assert batch.action.tolist() == action
        label = torch.from_numpy(steps * self.ring.n_envs + env).float()
        assert torch.equal(batch.teacher_logits, label[:, None].expand(-1, self.envs.n_actions))
        assert torch.equal(batch.uncertainty, label + 0.25)


def empty_ring() -> Ring:
    return Ring(84, n_envs=3, n_actions=3, n_stack=4, device=CPU)


def fake_play(*, capacity=84, n_steps=5, n_stack=4, n_envs=3, **games):
    games = {"lengths": (9, 13, 6), "lives_steps": 4, **games}
    envs = FakeEnvs(n_envs, n_stack=n_stack, **games)
    return Play(envs, capacity=capacity, n_steps=n_steps, n_stack=n_stack)


@pytest.mark.parametrize("n_stack", [4, 1])
@pytest.mark.parametrize(
    ("capacity", "n_steps"),
    [(84, 7), (84, 5), (85, 4), (32, 5), (31, 1)],
    ids=["divisible", "by n_envs", "by n_steps", "two rollouts", "single steps"],
)
def test_drawn_states_and_successors_are_those_played_whatever_divides_the_ring(
    n_stack, capacity, n_steps
):
    play = fake_play(capacity=capacity, n_steps=n_steps, n_stack=n_stack)
    play.go_on(2)
    while play.ring.n_added_rows < 4 * play.ring.n_rows:
        play.assert_true_to_the_games()
        play.go_on()


@pytest.mark.atari
@pytest.mark.parametrize("n_stack", [4, 1])
def test_states_of_a_real_game_are_rebuilt_to_the_bit_over_game_ends_and_wraps(n_stack):
    envs = make_atari(
        "BreakoutNoFrameskip-v4", 3, seed=0, training=True, n_threads=1, n_stack=n_stack
    )
    play = Play(envs, capacity=200, n_steps=12, n_stack=n_stack)
    for _ in range(40):
        play.go_on().assert_true_to_the_games()
    assert play.ring.n_added_rows > 5 * play.ring.n_rows
    assert sum(len(step.games) for step in play.envs.steps) >= 3
    envs.close()


@pytest.mark.parametrize("n_stack", [4, 1])
def test_all_states_but_the_newest_and_last_ones_of_games_can_be_drawn_before_the_wrap(n_stack):
    play = fake_play(n_stack=n_stack).go_on(4)
    over = np.array([step.game_over for step in play.envs.steps])[:-1]
    np.testing.assert_array_equal(play.candidates(), np.flatnonzero(~over))


@pytest.mark.parametrize(("n_stack", "n_lost"), [(4, 3), (1, 0)])
def test_after_the_wrap_states_that_lost_frames_of_their_stack_are_not_drawn(n_stack, n_lost):
    play = fake_play(n_stack=n_stack, lengths=(1000,)).go_on(9)
    n_rows, n_added = play.ring.n_rows, play.ring.n_added_rows
    assert n_added > n_rows
    steps, _ = play.origin(play.candidates())
    assert sorted(set(steps)) == list(range(n_added - n_rows + n_lost, n_added - 1))
    assert len(steps) == 3 * (n_rows - n_lost - 1)


def test_states_are_spread_evenly_over_those_that_can_be_drawn():
    play = fake_play().go_on(4)
    places = play.candidates()
    first, middle, last = play.ring.spread(3)
    expected = play.ring.stacks(places[[0, (len(places) - 1) // 2, -1]])
    assert torch.equal(torch.stack((first, middle, last)), expected)
    assert torch.equal(play.ring.spread(1000), play.ring.stacks(places))


def n_bytes(ring):
    held = [v for v in vars(ring).values() if isinstance(v, np.ndarray | torch.Tensor)]
    return sum(v.nbytes for v in held)


def test_a_ring_of_the_default_size_takes_less_than_0_6_gib():
    small, large = (fake_play(capacity=n, n_steps=10).go_on(n // 30).ring for n in (60, 180))
    bytes_a_state = (n_bytes(large) - n_bytes(small)) / (len(large) - len(small))
    assert 84 * 84 < bytes_a_state < 1.01 * 84 * 84
    assert 65_536 * bytes_a_state < 0.6 * 2**30


def test_len_counts_states_and_stops_at_whole_rows():
    play = fake_play(capacity=32, n_steps=4)
    lengths = [len(play.go_on().ring) for _ in range(4)]
    assert lengths == [12, 24, 30, 30]


def test_the_majority_share_is_of_all_actions_kept_and_no_others():
    play = fake_play(capacity=32, n_steps=4)
    for _ in range(4):
        ring = play.go_on().ring
        counts = np.bincount(ring.state_dict()["action"].numpy())
        assert ring.majority_share == counts.max() / len(ring)


def chi_square(places, candidates):
    counts = np.array([(places == place).sum() for place in candidates])
    assert counts.sum() == len(places)  # nothing else was drawn
    expected = len(places) / len(candidates)
    return ((counts - expected) ** 2).sum() / expected


@pytest.mark.filterwarnings("error")
def test_a_divergence_that_rounding_made_negative_counts_as_none():
    play = fake_play().go_on(4)
    play.ring.divergence[:] = -1e-7
    play.ring.divergence[play.candidates()[7]] = 1e3
    batch = play.ring.sample(np.random.default_rng(0), 100, n_candidates=4, pairs=False)
    assert play.candidates()[7] in batch.place


def test_sampling_is_uniform_over_all_that_can_be_drawn():
    play, rng = fake_play().go_on(9), np.random.default_rng(0)
    drawn = [play.ring.sample(rng, 64, pairs=False).place for _ in range(100)]
    n = len(play.candidates()) - 1
    # Mean and variance of the chi-square distribution are n and 2 n.
    assert abs(chi_square(np.concatenate(drawn), play.candidates()) - n) < 4 * np.sqrt(2 * n)


class DrawsAll:
    """A generator whose integers are 0, 1, 2, ... and whose noise is real."""

    def __init__(self):
        self.gumbel = np.random.default_rng(0).gumbel

    def integers(self, n, size):
        return np.arange(size) % n


def draws_all() -> Any:
    return DrawsAll()


def test_candidates_are_kept_with_odds_in_proportion_to_their_divergence():
    play, rng = fake_play().go_on(4), draws_all()
    first = play.candidates()[:4]
    play.ring.divergence[first] = [1.0, 2.0, 3.0, 4.0]
    n = 2000
    kept = [play.ring.sample(rng, 1, n_candidates=4, pairs=False).place[0] for _ in range(n)]
    share = np.array([(kept == place).mean() for place in first])
    expected = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_less(abs(share - expected), 4 * np.sqrt(expected * (1 - expected) / n))


def test_candidates_are_kept_by_their_teachers_action_gap_if_that_is_preferred():
    play, rng = fake_play().go_on(4), draws_all()
    ring, first = play.ring, play.candidates()[:4]
    ring.divergence[:] = 1.0
    ring._teacher_logits[first] = np.log([[2, 2, 1], [3, 2, 0.1], [2, 4, 0.1], [1, 5, 2]])
    gap = np.array([0, 1 / 5.1, 2 / 6.1, 3 / 8])
    n = 2000
    kept = [
        ring.sample(rng, 1, n_candidates=4, prefer="gap", pairs=False).place[0] for _ in range(n)
    ]
    share, expected = np.array([(kept == place).mean() for place in first]), gap / gap.sum()
    np.testing.assert_array_less(
        abs(share - expected), 4 * np.sqrt(expected * (1 - expected) / n) + 1e-3
    )


def test_states_drawn_uniformly_are_all_kept():
    batch = fake_play().go_on(4).ring.sample(np.random.default_rng(0), 16, pairs=False)
    assert batch.inclusion.tolist() == [1.0] * 16


def test_candidates_are_kept_without_replacement():
    play, rng = fake_play().go_on(4), draws_all()
    n = len(play.candidates()) // 4
    for _ in range(20):
        places = play.ring.sample(rng, n, n_candidates=4, pairs=False).place
        assert len(set(places)) == n


def test_states_of_no_known_divergence_can_still_be_drawn():
    play, rng = fake_play().go_on(4), np.random.default_rng(0)
    play.ring.divergence[:] = 0
    drawn = [play.ring.sample(rng, 16, n_candidates=4, pairs=False).place for _ in range(100)]
    assert set(np.concatenate(drawn)) == set(play.candidates())


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_same_samples(left, right):
    a, b = (ring.sample(np.random.default_rng(1), 32, n_candidates=2, pairs=True)
            for ring in (left, right))  # fmt: skip
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("n_rollouts", [3, 10], ids=["before the wrap", "after it"])
def test_a_ring_put_back_from_a_file_gives_the_same_samples_now_and_later(n_rollouts):
    play = fake_play().go_on(n_rollouts)
    other = empty_ring()
    other.load_state_dict(through_a_file(play.ring.state_dict()))
    assert len(other) == len(play.ring)
    assert_same_samples(play.ring, other)
    rollout, _ = play.actor.collect(play.student, 5, epsilon=1.0, teacher_mix=0.0)
    zeros = np.zeros((5, 3), np.float32)
    for ring in (play.ring, other):
        ring.add(rollout, Labels(np.zeros((5, 3, 3), np.float32), zeros, zeros))
    assert_same_samples(play.ring, other)


def test_an_empty_ring_can_be_saved_and_put_back():
    other = empty_ring()
    other.load_state_dict(through_a_file(empty_ring().state_dict()))
    assert len(other) == 0


@pytest.mark.parametrize("n_rollouts", [3, 10], ids=["before the wrap", "after it"])
def test_no_pair_spans_a_restart_of_the_games(n_rollouts):
    play = fake_play(lengths=(1000,)).go_on(n_rollouts)
    last_step = play.ring.n_added_rows - 1
    play.ring.restart_games()
    rng = np.random.default_rng(0)
    play.actor = Actor(play.envs, FixedTeacher(), device=CPU, rng=rng)  # resets the games
    play.envs.seen.pop(-2)  # the state after the last step: it is in no rollout
    play.go_on()
    steps, _ = play.origin(play.candidates())
    assert last_step not in steps
    assert {last_step - 1, last_step + 1} <= set(steps)
    play.assert_true_to_the_games()


def test_minibatches_without_pairs_have_no_successors():
    batch = fake_play().go_on(3).ring.sample(np.random.default_rng(0), 4, pairs=False)
    assert batch.next_obs is None
