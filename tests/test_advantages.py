"""From rewards to advantages on numbers small enough to do by hand, and what PPO is shown."""

from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from fakes import CPU, N_ACTIONS, TINY, FakeEnvs, FixedTeacher
from torch import Tensor

from distill import bonus
from distill.acting import Actor
from distill.advantages import AdvantageEstimator, Advantages, NewestRollout
from distill.bonus import BonusSource, Transitions
from distill.config import DistillConfig
from distill.icm import ICM
from distill.networks import ActorCritic, pack
from distill.rollouts import Ring
from distill.schedules import LinearSchedule
from distill.types import Labels, PolicyBatch, Rollout

T, N = 3, 2
GRAY = np.array([[2, 2], [4, 4], [2, 2], [4, 8]])  # (T + 1, N) of the states' pixels
REWARD = np.array([[0.5, 0.5], [0.0, 1.0], [1.0, 0.0]])
GAME_OVER = np.array([[0, 0], [0, 1], [0, 0]], bool)
LIFE_LOST = np.array([[0, 0], [1, 0], [0, 0]], bool)
NOVELTY = np.array([[2, 2], [2, 0], [2, 6]])  # changes of gray; none where another game begins
# What novelty adds up to, discounted by 1/2: 2, 3, 3.5 in the first game, 2, 1, 6.5 in the second,
# of mean 3.
STD = np.sqrt((1 + 0 + 0.25 + 1 + 4 + 12.25) / 6)


class GrayStudent:
    """Sees a state's gray level and takes it for its value."""

    def encoder(self, obs: Tensor) -> Tensor:
        return obs.float().mean((1, 2, 3))[:, None]

    def value(self, features: Tensor) -> Tensor:
        return features[:, 0]


class GrayBonus:
    """Finds a change of gray as novel as it is large."""

    def intrinsic_reward(self, steps: Transitions) -> Tensor:
        assert steps.action.shape == steps.phi.shape[:1]
        return (steps.next_phi - steps.phi).abs()[:, 0]


class NextFrames:
    """Keeps what it is shown of the next states; finds nothing novel."""

    def intrinsic_reward(self, steps: Transitions) -> Tensor:
        self.shown = steps.next_frame
        return torch.zeros(len(steps.action))


class Untouchable:
    """A source that must not be asked."""

    def intrinsic_reward(self, steps: Transitions) -> Tensor:
        raise AssertionError("a bonus that does not count was computed")


@pytest.fixture(autouse=True)
def nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scale count all returns alike: numbers to do by hand."""
    monkeypatch.setattr(bonus, "FORGETTING", 1.0)


def constant(value: float) -> LinearSchedule:
    return LinearSchedule(value, value)


def make_cfg(**settings: Any) -> DistillConfig:
    defaults = {"n_envs": N, "n_steps": T, "gamma": 0.5, "gae_lambda": 0.5}
    return DistillConfig(**{**defaults, **settings})


def curious(**settings: Any) -> DistillConfig:
    """Count novelty, by 2 unless told, and nothing but one-step errors."""
    return make_cfg(
        **{"use_curiosity": True, "c_int": constant(2.0), "gae_lambda": 0.0, **settings}
    )


def gray_rollout(*, life_lost: np.ndarray = LIFE_LOST) -> Rollout:
    obs = np.broadcast_to(GRAY[..., None, None, None], (T + 1, N, 4, 84, 84)).astype(np.uint8)
    return Rollout(
        obs=obs[:-1],
        age=np.arange(T)[:, None] + np.zeros((1, N), np.int64),
        action=np.zeros((T, N), np.int64),
        reward=REWARD.astype(np.float32),
        done=GAME_OVER | life_lost,
        game_over=GAME_OVER,
        student_logits=np.zeros((T, N, N_ACTIONS), np.float32),
        on_policy=np.ones((T, N), bool),
        last_obs=obs[-1],
    )


def make_labels(uncertainty: np.ndarray | None = None) -> Labels:
    zeros = np.zeros((T, N), np.float32)
    doubt = zeros if uncertainty is None else uncertainty.astype(np.float32)
    return Labels(np.zeros((T, N, N_ACTIONS), np.float32), doubt, zeros)


def make_estimator(cfg: DistillConfig, source: BonusSource | None = None) -> AdvantageEstimator:
    return AdvantageEstimator(cfg, cast("ActorCritic", GrayStudent()), source or GrayBonus(), CPU)


def advantages(cfg: DistillConfig, progress: float = 0.0, **kwargs: Any) -> Advantages:
    return make_estimator(cfg)(gray_rollout(**kwargs), make_labels(), progress)


def one_step_errors(reward: np.ndarray, *, endless: bool = False) -> Tensor:
    """r + V' / 2 - V, where V' counts only inside an episode, or always."""
    goes_on = 1.0 - (GAME_OVER | LIFE_LOST) * (not endless)
    return torch.from_numpy(reward + 0.5 * goes_on * GRAY[1:] - GRAY[:-1]).float()


# Rewards


def test_the_games_reward_becomes_advantages_and_returns_as_done_by_hand():
    """As in the test of GAE: rewards of 1, 0, 2 and 1, 2, 0 once c_ext has doubled them."""
    no_life = np.zeros_like(LIFE_LOST)
    advantage, target, _ = advantages(make_cfg(c_ext=constant(2.0)), life_lost=no_life)
    by_hand = torch.tensor([[0.375, 0.5], [-2.5, -2.0], [2.0, 2.0]])
    torch.testing.assert_close(advantage, by_hand, rtol=1e-6, atol=1e-6)
    returns = torch.tensor([[2.375, 2.5], [1.5, 2.0], [4.0, 4.0]])  # with the values 2, 4, 2 added
    torch.testing.assert_close(target, returns, rtol=1e-6, atol=1e-6)


def test_the_bonus_is_novelty_over_the_std_of_its_return_and_nothing_across_games():
    advantage = advantages(curious()).advantage
    torch.testing.assert_close(advantage, one_step_errors(2 * NOVELTY / STD), rtol=1e-5, atol=1e-5)


def test_a_lost_life_ends_the_return_but_not_the_curiosity():
    """The picture after it still is the same game's next one."""
    expected = 2 * NOVELTY[1, 0] / STD - GRAY[1, 0]
    assert expected > -GRAY[1, 0]
    assert advantages(curious())[0][1, 0].item() == pytest.approx(expected, rel=1e-5)


def test_game_and_bonus_add_up_each_by_its_own_factor():
    advantage = advantages(curious(c_ext=constant(3.0))).advantage
    expected = one_step_errors(3 * REWARD + 2 * NOVELTY / STD)
    torch.testing.assert_close(advantage, expected, rtol=1e-5, atol=1e-5)


def test_the_factors_follow_their_schedules():
    cfg = curious(c_ext=LinearSchedule(0.0, 8.0), c_int=LinearSchedule(2.0, 0.0, 0.5))
    advantage = advantages(cfg, 0.25).advantage
    expected = one_step_errors(2 * REWARD + 1 * NOVELTY / STD)
    torch.testing.assert_close(advantage, expected, rtol=1e-5, atol=1e-5)


def test_novelty_by_rnd_does_not_end_with_a_game_or_a_life():
    advantage = advantages(curious(curiosity_source="rnd")).advantage
    expected = one_step_errors(2 * NOVELTY / STD, endless=True)
    torch.testing.assert_close(advantage, expected, rtol=1e-5, atol=1e-5)


def test_beside_the_games_reward_novelty_by_rnd_ends_where_the_game_does():
    """There is one value head for the sum of both."""
    advantage = advantages(curious(curiosity_source="rnd", c_ext=constant(3.0))).advantage
    expected = one_step_errors(3 * REWARD + 2 * NOVELTY / STD)
    torch.testing.assert_close(advantage, expected, rtol=1e-5, atol=1e-5)


def test_a_source_is_shown_the_newest_frame_of_each_next_state():
    source, rollout = NextFrames(), gray_rollout()
    rollout.obs[:, :, :3] = rollout.last_obs[:, :3] = 99  # older frames
    make_estimator(curious(), source)(rollout, make_labels(), 0.0)
    levels = torch.from_numpy(GRAY[1:]).flatten()[:, None, None, None]
    assert torch.equal(source.shown, levels.expand(T * N, 1, 84, 84).to(torch.uint8))


def test_a_bonus_that_has_faded_is_neither_computed_nor_reported():
    cfg = curious(c_ext=constant(2.0), c_int=LinearSchedule(1.0, 0.0, 0.5))
    assert advantages(cfg, 0.4).metrics
    estimator = make_estimator(cfg, Untouchable())
    advantage, _, metrics = estimator(gray_rollout(), make_labels(), 0.5)
    expected = one_step_errors(2 * REWARD)
    torch.testing.assert_close(advantage, expected, rtol=1e-5, atol=1e-5)
    assert metrics == {}


def test_without_a_bonus_the_icm_is_not_asked():
    cfg = make_cfg(c_ext=constant(2.0), use_curiosity=True, curiosity="aux")
    estimator = AdvantageEstimator(cfg, cast("ActorCritic", GrayStudent()), None, CPU)
    advantage, _, metrics = estimator(gray_rollout(), make_labels(), 0.0)
    assert torch.equal(advantage, advantages(make_cfg(c_ext=constant(2.0)))[0])
    assert metrics == {}


def test_the_scale_takes_in_one_rollout_after_the_other():
    estimator = make_estimator(curious())
    first, second = (estimator(gray_rollout(), make_labels(), 0.0)[0] for _ in range(2))
    # The second rollout returns 3.75, 3.875, 3.9375 from 3.5 on; 5.25, 2.625, 7.3125 from 6.5 on.
    returns = [2, 3, 3.5, 2, 1, 6.5, 3.75, 3.875, 3.9375, 5.25, 2.625, 7.3125]
    expected = one_step_errors(2 * NOVELTY / np.std(returns))
    torch.testing.assert_close(second, expected, rtol=1e-5, atol=1e-5)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("source", ["icm", "rnd"])
def test_the_reported_reward_is_the_unscaled_one_beside_its_scale(source):
    assert advantages(curious(curiosity_source=source)).metrics == {
        f"{source}/intrinsic_reward": pytest.approx(14 / 6, rel=1e-6),
        "explore/bonus_std": pytest.approx(STD, rel=1e-6),
        "explore/bonus_share": 1.0,
    }


def test_the_bonus_share_is_of_what_counts_in_absolute_values():
    estimator, rollout = make_estimator(curious(c_ext=constant(3.0))), gray_rollout()
    rollout.reward[0] = -1.0  # so 2 lost and 2 won
    metrics = estimator(rollout, make_labels(), 0.0).metrics
    bonus = 2 * 14 / STD
    expected = bonus / (bonus + 3 * 4)
    assert metrics["explore/bonus_share"] == pytest.approx(expected, rel=1e-6)


def test_where_neither_reward_came_the_bonus_has_no_share():
    estimator = make_estimator(curious(), NextFrames())
    metrics = estimator(gray_rollout(), make_labels(), 0.0).metrics
    assert metrics["explore/bonus_share"] == 0.0


DOUBT = np.array([[0, 1], [2, 1], [0, 2]])  # of mean 1: the bonus counts 1/2, 1 or 3/2 times


@pytest.mark.parametrize("target", ["bonus", "both"])
def test_uncertainty_weighs_the_bonus_of_each_step(target):
    cfg = curious(use_uncertainty=True, uncertainty_target=target)
    advantage = make_estimator(cfg)(gray_rollout(), make_labels(DOUBT), 0.0).advantage
    # Weighted novelty 1, 3, 1 and 2, 0, 9; discounted sums 1, 3.5, 2.75 and 2, 1, 9.5.
    weighted = np.array([[1, 2], [3, 0], [1, 9]]) / np.std([1, 3.5, 2.75, 2, 1, 9.5])
    torch.testing.assert_close(advantage, one_step_errors(2 * weighted), rtol=1e-5, atol=1e-5)


def test_uncertainty_for_distillation_alone_leaves_the_bonus_as_it_is():
    cfg = curious(use_uncertainty=True, uncertainty_target="distill")
    advantage = make_estimator(cfg)(gray_rollout(), make_labels(DOUBT), 0.0).advantage
    assert torch.equal(advantage, advantages(curious())[0])


def test_advantages_of_real_networks_have_no_graph():
    torch.manual_seed(0)
    student = ActorCritic(TINY, N_ACTIONS, with_value=True)
    estimator = AdvantageEstimator(curious(), student, ICM(TINY.fc, N_ACTIONS), CPU)
    advantage, target, _ = estimator(gray_rollout(), make_labels(), 0.0)
    assert advantage.shape == target.shape == (T, N)
    assert not advantage.requires_grad
    assert not target.requires_grad
    # The value net's own estimates lie between the two.
    obs = torch.from_numpy(gray_rollout().obs).flatten(0, 1)
    estimates = student.value(student.encoder(obs)).detach().view(T, N)
    torch.testing.assert_close(target - advantage, estimates, rtol=1e-4, atol=1e-5)


# The newest rollout


class Played(NamedTuple):
    """A rollout in its ring; the advantage of a step is its number, its target minus that."""

    rollout: Rollout
    ring: Ring
    newest: NewestRollout

    def draw(self, n: int) -> PolicyBatch:
        batch = self.newest.sample(self.ring, np.random.default_rng(0), n)
        assert batch is not None
        return batch


def play(*, epsilon=0.0, teacher_mix=0.0, n_steps=5, n_rollouts=2, capacity=60, **games) -> Played:
    """Play fake games into a ring, the newest rollout last."""
    torch.manual_seed(0)
    student = ActorCritic(TINY, N_ACTIONS)
    rng = np.random.default_rng(0)
    actor = Actor(FakeEnvs(3, **games), FixedTeacher(), device=CPU, rng=rng)
    ring = Ring(capacity, n_envs=3, n_actions=N_ACTIONS, n_stack=4, device=CPU)
    rollout, places = gray_rollout(), np.zeros(0, np.int64)
    for _ in range(n_rollouts):
        rollout, _ = actor.collect(student, n_steps, epsilon=epsilon, teacher_mix=teacher_mix)
        zeros = np.zeros(rollout.age.shape, np.float32)
        places = ring.add(rollout, Labels(rollout.student_logits, zeros, zeros))
    number = torch.arange(places.size).view(rollout.age.shape).float()
    return Played(rollout, ring, NewestRollout(rollout, places, Advantages(number, -number, {})))


def flat(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).flatten(0, 1)


@pytest.mark.parametrize(
    "settings",
    [{"epsilon": 0.4}, {"teacher_mix": 0.4}, {"lives_steps": 2, "fires": True}],
    ids=["random actions", "the teacher's", "FIRE pressed for it"],
)
def test_only_the_students_own_actions_are_drawn_and_each_of_them(settings):
    played = play(**settings)
    own = np.flatnonzero(played.rollout.on_policy)
    assert 0 < len(own) < played.rollout.on_policy.size
    assert played.draw(500).advantage.int().unique().tolist() == own.tolist()


@pytest.mark.parametrize("settings", [{"epsilon": 1.0}, {"teacher_mix": 1.0}], ids=str)
def test_a_rollout_in_which_the_student_chose_nothing_gives_no_minibatch(settings):
    played = play(**settings)
    assert played.newest.sample(played.ring, np.random.default_rng(0), 4) is None


def test_a_sample_is_one_step_state_action_and_targets_together():
    played = play(epsilon=0.3)
    batch = played.draw(200)
    step = batch.advantage.long()
    assert torch.equal(batch.target_value, -batch.advantage)
    assert torch.equal(batch.action, flat(played.rollout.action)[step])
    assert torch.equal(batch.obs, pack(flat(played.rollout.obs))[step])


def test_the_old_log_probability_is_that_of_the_policy_that_acted_at_the_executed_action():
    played = play(epsilon=0.3)
    batch = played.draw(200)
    logits = flat(played.rollout.student_logits)[batch.advantage.long()]
    acted = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(batch.old_log_prob, acted.log_prob(batch.action), rtol=1e-5, atol=0)


def smallest_ring(n_steps: int) -> int:
    """Find the smallest ring that settings and ring allow for three games."""
    for capacity in range(3, 300, 3):
        try:
            DistillConfig(n_envs=3, n_steps=n_steps, ring_size=capacity)
            Ring(capacity, n_envs=3, n_actions=N_ACTIONS, n_stack=4, device=CPU)
        except ValueError:
            continue
        return capacity
    raise AssertionError("no ring is allowed")


@pytest.mark.parametrize("n_steps", [1, 2, 3, 8])
def test_the_smallest_ring_allowed_holds_the_newest_rollout_whole(n_steps):
    played = play(n_steps=n_steps, n_rollouts=12, capacity=smallest_ring(n_steps))
    batch = played.draw(100)
    assert torch.equal(batch.obs, pack(flat(played.rollout.obs))[batch.advantage.long()])
    assert played.ring.sample(np.random.default_rng(0), 4, pairs=True).obs.shape[0] == 4
