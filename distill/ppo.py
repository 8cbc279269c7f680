"""PPO as stable-baselines3 trains it: building, learning, and what a checkpoint holds."""

from collections import deque
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from distill import cli
from distill.checkpoint import load_student
from distill.config import TeacherConfig
from distill.device import resolve_device, resolve_precision
from distill.envs import make_atari
from distill.errors import DivergedError
from distill.fast_policy import N_STACK, FastCnnPolicy, FastRolloutBuffer, policy_kwargs
from distill.initialization import N_STATES, standardize
from distill.kickstart import Kickstart
from distill.networks import Encoder, Student
from distill.sb3 import AtariVecEnv
from distill.teacher import CPU, NetworkTeacher, load_teacher

STATES_APART = 8  # steps between two states that layers are standardized on
HOLD_PROBABILITY = 0.8  # of the random actions that lead there


def build(cfg: TeacherConfig, *, first_step: int = 0) -> PPO:
    """Build SB3's PPO on our games.

    Args:
        cfg: the run's settings.
        first_step: where training starts; a resumed run plays other games than the run it
        continues.
    """
    device = resolve_device(cfg.device)
    seed = (cfg.seed + first_step) % 2**32  # all that numpy takes
    envs = make_atari(
        cfg.env,
        cfg.n_envs,
        seed=1000 * cfg.seed + first_step,
        training=True,
        n_threads=cfg.n_threads,
    )
    return PPO(
        FastCnnPolicy,
        AtariVecEnv(envs),
        n_steps=cfg.n_steps,
        batch_size=cfg.batch_size,
        n_epochs=cfg.n_epochs,
        learning_rate=lambda remaining: cfg.learning_rate(1 - remaining),
        clip_range=lambda remaining: cfg.clip_range(1 - remaining),
        gamma=cfg.gamma,
        gae_lambda=cfg.gae_lambda,
        vf_coef=cfg.w_value,
        ent_coef=cfg.w_entropy.start,
        max_grad_norm=cfg.max_grad_norm,
        rollout_buffer_class=FastRolloutBuffer,
        policy_kwargs=policy_kwargs(cfg.network, resolve_precision(cfg.precision, device)),
        seed=seed,
        device=device,
    )


def check_networks(cfg: TeacherConfig) -> TeacherConfig:
    """Check the student to go on from and the teacher to stay near; take the student's size.

    Raises:
        FileNotFoundError, ValueError: if one is not what it should be, or of another game or size.
    """
    networks: dict[str, Student | NetworkTeacher] = {}
    if cfg.kickstart is not None:
        networks[f"--kickstart {cfg.kickstart}"] = load_teacher(cfg.kickstart)
    if cfg.init_from is not None:
        student, _ = load_student(cfg.init_from, device=CPU)
        networks[f"--init_from {cfg.init_from}"] = student
        if cfg.network not in (TeacherConfig().network, student.widths):
            raise ValueError(
                f"--network must be that of --init_from, {student.widths}, got {cfg.network}"
            )
        cfg = cli.replace(cfg, network=student.widths)
    if networks:
        games = make_atari(cfg.env, 1, seed=0, training=False)
        games.close()
        for name, network in networks.items():
            if (network.n_actions, network.n_stack) != (games.n_actions, N_STACK):
                raise ValueError(
                    f"{name} must choose from the {games.n_actions} actions of {cfg.env} and see"
                    f" {N_STACK} frames, got {network.n_actions} and {network.n_stack}"
                )
    return cfg


def go_on(model: PPO, cfg: TeacherConfig, *, fresh: bool) -> None:
    """Give a model weights to begin with, and the teacher to stay near, if any.

    A fresh one has a student's weights, or layers standardized on the games' first states.

    Args:
        model: as `build` returns it.
        cfg: the run's settings.
        fresh: whether the run begins; one that is resumed has its weights already.

    Raises:
        FileNotFoundError, ValueError: if a file is not what it should be, or of another game.
    """
    policy = model.policy
    assert isinstance(policy, FastCnnPolicy)
    if cfg.init_from is not None and fresh:
        student, _ = load_student(cfg.init_from, device=model.device)
        policy.features_extractor.load_state_dict(student.encoder.state_dict())
        policy.action_net.load_state_dict(student.action_net.state_dict())
    elif cfg.data_init and fresh:
        encoder = policy.features_extractor
        assert isinstance(model.env, AtariVecEnv)
        assert isinstance(encoder, Encoder)
        standardize(encoder, first_states(model.env, cfg.seed).to(model.device))
        # Random values of such features differ from state to state: advantages before any reward.
        torch.nn.init.zeros_(policy.value_net.weight)
    if cfg.kickstart is not None:
        dtype = resolve_precision(cfg.precision, model.device)
        policy.kickstart = Kickstart(load_teacher(cfg.kickstart, device=model.device, dtype=dtype))


def first_states(games: AtariVecEnv, seed: int) -> Tensor:
    """Play random actions, each held for five steps on average, and return some of the states.

    The games start anew when training does, and these steps count nowhere: 8,192 in all.

    Returns:
        uint8 (N_STATES or a few more, 21, 21, 16 S), packed.
    """
    rng, n = np.random.default_rng(seed), games.num_envs
    assert isinstance(games.action_space, Discrete)
    actions = rng.integers(games.action_space.n, size=n)
    games.reset()
    seen: list[np.ndarray] = []
    for step in range(STATES_APART * -(-N_STATES // n)):
        fresh = rng.integers(games.action_space.n, size=n)
        actions = np.where(rng.random(n) < HOLD_PROBABILITY, actions, fresh)
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


def learn(
    model: PPO, n_steps: int, callback: BaseCallback, *, log_interval: int, fresh: bool
) -> None:
    """Train for `n_steps` more steps; `fresh` starts the counters at 0.

    Raises:
        DivergedError: if a loss or the policy's answer is not finite.
    """
    try:
        model.learn(n_steps, callback, log_interval=log_interval, reset_num_timesteps=fresh)
    except RuntimeError as error:  # torch.multinomial refuses NaN so
        if "probability tensor" not in str(error):
            raise
        raise DivergedError(
            f"policy logits not finite at step {model.num_timesteps}; lower --learning_rate;"
            " the last checkpoint is intact"
        ) from error


def training_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return all that a resumed run needs, as plain values; games and random numbers restart."""
    return {
        "steps": model.num_timesteps,
        "n_updates": model._n_updates,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (SB3 has no public name for it)
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "games": [[float(game["r"]), int(game["l"])] for game in model.ep_info_buffer or ()],
    }


def restore(model: PPO, state: dict[str, Any]) -> None:
    """Put back what `training_state` returned."""
    model.set_parameters({"policy": state["policy"], "policy.optimizer": state["optimizer"]})
    model.num_timesteps = state["steps"]
    model._n_updates = state["n_updates"]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (SB3 has no public name for it)
    model.ep_info_buffer = deque(
        ({"r": score, "l": length} for score, length in state["games"]), maxlen=100
    )
    model.ep_success_buffer = deque(maxlen=100)
