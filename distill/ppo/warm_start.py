"""What a run of PPO begins with: a student's weights, a teacher's, or layers that fit the game."""

import numpy as np
import torch
from gymnasium.spaces import Discrete
from stable_baselines3 import PPO
from torch import Tensor

from distill.device import resolve_precision
from distill.initialization import FITTED_STATES, standardize
from distill.networks import Encoder
from distill.ppo.fast_policy import FastCnnPolicy
from distill.ppo.kickstart import Kickstart
from distill.ppo.predecessors import load_first
from distill.ppo.sb3 import AtariVecEnv
from distill.teacher import load_teacher
from distill.teacher_config import TeacherConfig

STATES_APART = 8  # steps between two states that layers are standardized on
HOLD_PROBABILITY = 0.8  # of the random actions that lead there


def begin_with(model: PPO, cfg: TeacherConfig, *, is_new: bool) -> None:
    """Give a model weights to begin with, and the teacher to stay near, if any.

    A new run has a student's weights, a teacher's with its critic, or layers standardized on the
    games' first states.

    Args:
        model: as `build` returns it.
        cfg: the run's settings.
        is_new: whether the run begins; one that is resumed has its weights already.

    Raises:
        FileNotFoundError, ValueError: if a file is not what it should be, or of other actions.
    """
    policy = model.policy
    assert isinstance(policy, FastCnnPolicy)
    if cfg.init_from is not None and is_new:
        first = load_first(cfg.init_from)
        policy.features_extractor.load_state_dict(first.encoder.state_dict())
        policy.action_net.load_state_dict(first.action_net.state_dict())
        if first.value_net is None:
            start_values_at_zero(policy)
        else:
            policy.value_net.load_state_dict(first.value_net.state_dict())
    elif cfg.data_init and is_new:
        encoder = policy.features_extractor
        assert isinstance(model.env, AtariVecEnv)
        assert isinstance(encoder, Encoder)
        standardize(encoder, first_states(model.env, cfg.seed).to(model.device))
        start_values_at_zero(policy)
    if cfg.kickstart is not None:
        dtype = resolve_precision(cfg.precision, model.device)
        policy.kickstart = Kickstart(load_teacher(cfg.kickstart, device=model.device, dtype=dtype))


def start_values_at_zero(policy: FastCnnPolicy) -> None:
    """Give a critic that has learned nothing no opinion.

    Random values of standardized features, a student's too, differ from state to state: advantages
    before any reward.
    """
    torch.nn.init.zeros_(policy.value_net.weight)


def first_states(games: AtariVecEnv, seed: int) -> Tensor:
    """Play random actions, each held for five steps on average, and return some of the states.

    The games start anew when training does, and these steps count nowhere: 8,192 in all.

    Returns:
        uint8 (FITTED_STATES or a few more, 21, 21, 16 S), packed.
    """
    rng, n = np.random.default_rng(seed), games.num_envs
    assert isinstance(games.action_space, Discrete)
    actions = rng.integers(games.action_space.n, size=n)
    games.reset()
    seen: list[np.ndarray] = []
    for step in range(STATES_APART * -(-FITTED_STATES // n)):
        others = rng.integers(games.action_space.n, size=n)
        actions = np.where(rng.random(n) < HOLD_PROBABILITY, actions, others)
        obs, *_ = games.step(actions)
        if step % STATES_APART == 0:
            seen.append(np.asarray(obs))
    return torch.from_numpy(np.concatenate(seen))


def learn_only_values(policy: FastCnnPolicy, only_values: bool) -> None:
    """Freeze all but the value head, or nothing.

    The advantages of a fresh critic are noise, and would undo what a student was taught.
    """
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(not only_values or name.startswith("value_net."))
