"""The fast policy and buffer against SB3's own."""

import math

import numpy as np
import pytest
import torch
from policies import ACTIONS, N_ACTIONS, a_policy, log_probabilities, random_obs
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from torch import Tensor

from distill.networks import pack
from distill.ppo.fast_policy import (
    MIN_HELD_PROBABILITY,
    FastCnnPolicy,
    FastRolloutBuffer,
    policy_kwargs,
)
from distill.ppo.sb3 import observation_space
from distill.types import WIDTHS


@pytest.fixture(scope="module")
def both() -> tuple[FastCnnPolicy, ActorCriticCnnPolicy]:
    """Our policy and SB3's own, with the same weights."""
    fast = a_policy()
    stock = ActorCriticCnnPolicy(observation_space(), ACTIONS, lambda _: 1e-3)
    stock.load_state_dict(fast.state_dict())
    return fast, stock


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_policy_begins_as_sb3s_own():
    torch.manual_seed(0)
    kwargs = policy_kwargs(WIDTHS["nature"], torch.float32)
    fast = FastCnnPolicy(observation_space(), ACTIONS, lambda _: 1e-3, **kwargs).state_dict()
    torch.manual_seed(0)
    stock = ActorCriticCnnPolicy(observation_space(), ACTIONS, lambda _: 1e-3).state_dict()
    assert fast.keys() == stock.keys()
    assert all(torch.equal(fast[name], stock[name]) for name in stock)


def test_forward_equals_sb3s_own(both):
    fast, stock = (policy(random_obs(), deterministic=True) for policy in both)
    assert torch.equal(fast[0], stock[0])
    same(fast[1], stock[1])
    same(fast[2], stock[2])


def test_evaluated_actions_and_their_gradients_equal_sb3s_own(both):
    actions = torch.arange(5) % N_ACTIONS
    gradients = []
    for policy in both:
        values, log_prob, entropy = policy.evaluate_actions(random_obs(), actions)
        loss = values.mean() + log_prob.mean() + entropy.mean()
        gradients.append((loss, *torch.autograd.grad(loss, list(policy.parameters()))))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_values_equal_sb3s_own(both):
    fast, stock = (policy.predict_values(random_obs()) for policy in both)
    assert fast.shape == (5, 1)
    same(fast, stock)


def test_distributions_equal_sb3s_own(both):
    fast, stock = (log_probabilities(policy, random_obs()) for policy in both)
    assert fast.std() > 0.1
    same(fast, stock)


def test_bfloat16_stays_near_sb3s_own(both):
    coarse = a_policy(dtype=torch.bfloat16)
    coarse.load_state_dict(both[1].state_dict())
    ours, theirs = (log_probabilities(p, random_obs()).exp() for p in (coarse, both[1]))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.05)


def test_packed_observations_are_answered_as_raw_ones():
    policy, actions = a_policy(), torch.arange(5) % N_ACTIONS
    raw, packed = (policy.evaluate_actions(o, actions) for o in (random_obs(), pack(random_obs())))
    assert all(torch.equal(a, b) for a, b in zip(raw, packed, strict=True))


@torch.no_grad()
def test_actions_are_drawn_with_their_probabilities(both):
    torch.manual_seed(0)
    obs = random_obs(1).expand(500, -1, -1, -1)
    answers = zip(*(both[0](obs) for _ in range(40)), strict=True)
    actions, _, log_prob = (torch.cat(parts) for parts in answers)
    probabilities = log_probabilities(both[1], random_obs(1))[0].exp()
    counted = torch.bincount(actions, minlength=N_ACTIONS) / len(actions)
    torch.testing.assert_close(counted, probabilities, rtol=0, atol=0.02)
    same(log_prob.exp(), probabilities[actions])


def drawn(probability: float, n_steps: int) -> Tensor:
    """Return the actions (T, N) that a policy draws for six games."""
    policy = a_policy(WIDTHS["0.1pct"])
    policy.state_dict()["action_net.weight"].zero_()  # all actions alike
    policy.repeat_probability = probability
    torch.manual_seed(0)
    return torch.stack([policy(random_obs(6))[0] for _ in range(n_steps)])


def test_no_action_is_held_by_default():
    assert a_policy(WIDTHS["0.1pct"]).repeat_probability == 0
    actions = drawn(0.0, 300)
    assert abs((actions[1:] == actions[:-1]).float().mean() - 1 / N_ACTIONS) < 0.03


def test_actions_are_held_with_the_probability_asked_for_by_each_game_for_itself():
    actions = drawn(0.75, 1000)
    same_again = (actions[1:] == actions[:-1]).float()
    expected = 0.75 + 0.25 / N_ACTIONS  # held, or drawn again
    torch.testing.assert_close(
        same_again.mean(dim=0), torch.full((6,), expected), rtol=0, atol=0.05
    )
    assert (torch.corrcoef(same_again.T) - torch.eye(6)).abs().max() < 0.15
    counted = torch.bincount(actions.flatten(), minlength=N_ACTIONS) / actions.numel()
    torch.testing.assert_close(counted, torch.full((6,), 1 / N_ACTIONS), rtol=0, atol=0.05)


def test_a_held_action_has_its_log_probability_in_the_present_state():
    policy = a_policy()
    policy.state_dict()["action_net.weight"] /= 100  # no action is ruled out
    policy.repeat_probability = 1.0
    first, *_ = policy(random_obs())
    other = random_obs().flip(0)
    held, _, log_prob = policy(other)
    assert torch.equal(held, first)
    same(log_prob, log_probabilities(policy, other)[torch.arange(5), first])


def test_an_action_is_not_held_where_the_policy_rules_it_out():
    policy = a_policy(WIDTHS["0.1pct"])
    policy.repeat_probability = 1.0
    policy.state_dict()["action_net.weight"].zero_()
    bias = policy.state_dict()["action_net.bias"]
    bias[:] = torch.tensor([100.0, 0, 0, 0, 0, 0])
    assert set(policy(random_obs())[0].tolist()) == {0}
    bias[:] = torch.tensor([0.0, 300, 300, 300, 300, 300])  # 0 now has probability exp(-300)
    actions, _, log_prob = policy(random_obs())
    assert 0 not in actions
    assert log_prob.min() > math.log(MIN_HELD_PROBABILITY)


def test_greedy_actions_are_never_held():
    policy = a_policy()
    policy.repeat_probability = 1.0
    policy(random_obs())
    greedy, *_ = policy(random_obs().flip(0), deterministic=True)
    assert torch.equal(greedy, log_probabilities(policy, random_obs().flip(0)).argmax(1))


# --- the buffer ---

N_STEPS, N_ENVS = 6, 3


def filled(kind: type[RolloutBuffer]) -> RolloutBuffer:
    """Make a buffer in which every number of a transition tells which one it is."""
    buffer = kind(N_STEPS, observation_space(), ACTIONS, "cpu", 0.95, 0.99, N_ENVS)
    for t in range(N_STEPS):
        which = np.arange(N_ENVS) + N_ENVS * t
        obs = np.broadcast_to(which[:, None, None, None], (N_ENVS, 4, 84, 84)).astype(np.uint8)
        now = torch.from_numpy(which).float()
        buffer.add(obs, which % N_ACTIONS, which / 10, np.full(N_ENVS, t % 4 == 0), now, -now)
    buffer.compute_returns_and_advantage(torch.ones(N_ENVS), np.zeros(N_ENVS))
    return buffer


def transitions(buffer: RolloutBuffer, batch_size: int) -> list[list[float]]:
    """Return one epoch, a row a transition, sorted by which it is."""
    rows = []
    for batch in buffer.get(batch_size):
        parts = batch.observations[:, 0, 0, 0], batch.actions.flatten(), *batch[2:6]
        rows += torch.stack([part.float() for part in parts], dim=1).tolist()
    return sorted(rows)


def test_an_epoch_holds_the_transitions_of_sb3s_own():
    ours, theirs = (transitions(filled(kind), 4) for kind in (FastRolloutBuffer, RolloutBuffer))
    assert len(ours) == N_STEPS * N_ENVS
    assert ours == theirs


def test_minibatches_have_the_shapes_types_and_sizes_of_sb3s_own():
    ours, theirs = (list(filled(kind).get(4)) for kind in (FastRolloutBuffer, RolloutBuffer))
    assert [len(batch.returns) for batch in ours] == [4, 4, 4, 4, 2]
    for one, other in zip(ours, theirs, strict=True):
        assert [x.shape for x in one[:6]] == [x.shape for x in other[:6]]
        assert [x.dtype for x in one[:6]] == [x.dtype for x in other[:6]]


def test_epochs_differ_in_order_and_a_new_rollout_replaces_the_last():
    buffer = filled(FastRolloutBuffer)
    torch.manual_seed(0)
    first, second = (torch.cat([b.old_values for b in buffer.get(4)]) for _ in range(2))
    assert first.tolist() != second.tolist()
    buffer.reset()
    for _ in range(N_STEPS):
        zeros = np.zeros(N_ENVS)
        obs = np.zeros((N_ENVS, 4, 84, 84), np.uint8)
        buffer.add(obs, zeros, zeros, zeros, torch.full((N_ENVS,), 7.0), torch.zeros(N_ENVS))
    assert {value for b in buffer.get(4) for value in b.old_values.tolist()} == {7.0}
