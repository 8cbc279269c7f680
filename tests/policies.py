"""Policies of stable-baselines3 for several test files."""

import gymnasium
import torch
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from torch import Tensor
from torch.distributions import Categorical

from distill.ppo.fast_policy import FastCnnPolicy, policy_kwargs
from distill.ppo.sb3 import observation_space
from distill.types import WIDTHS, Widths

N_ACTIONS = 6
ACTIONS = gymnasium.spaces.Discrete(N_ACTIONS)


def a_policy(
    widths: Widths = WIDTHS["nature"], dtype: torch.dtype = torch.float32
) -> FastCnnPolicy:
    """Make a policy that is far from uniform, as a trained one is."""
    torch.manual_seed(0)
    kwargs = policy_kwargs(widths, dtype)
    policy = FastCnnPolicy(observation_space(), ACTIONS, lambda _: 1e-3, **kwargs)
    policy.state_dict()["action_net.weight"] *= 200
    return policy


def random_obs(n: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 4, 84, 84), generator=generator, dtype=torch.uint8)


def log_probabilities(policy: ActorCriticCnnPolicy, obs: Tensor) -> Tensor:
    """Return the log-probabilities (B, A) of what the policy would do."""
    distribution = policy.get_distribution(obs).distribution
    assert isinstance(distribution, Categorical)
    return distribution.logits
