"""PPO as stable-baselines3 trains it: building, learning, and what a checkpoint holds."""

import warnings
from collections import deque
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from distill.device import resolve_device, resolve_precision
from distill.envs import make_atari, training_seed
from distill.errors import diverged
from distill.muon import MuonWithAdam
from distill.networks import Encoder
from distill.ppo.fast_policy import ADAM_EPS, FastCnnPolicy, FastRolloutBuffer, policy_kwargs
from distill.ppo.sb3 import AtariVecEnv
from distill.teacher_config import TeacherConfig


def hyperparameters(cfg: TeacherConfig) -> dict[str, Any]:
    """Return what SB3's PPO is told of a run's settings; schedules are at their start."""
    return {
        "n_steps": cfg.n_steps,
        "batch_size": cfg.batch_size,
        "n_epochs": cfg.n_epochs,
        "learning_rate": cfg.learning_rate.start,
        "clip_range": cfg.clip_range.start,
        "gamma": cfg.gamma,
        "gae_lambda": cfg.gae_lambda,
        "vf_coef": cfg.w_value,
        "ent_coef": cfg.w_entropy.start,
        "max_grad_norm": cfg.max_grad_norm,
    }


def build(cfg: TeacherConfig, *, first_step: int = 0) -> PPO:
    """Build SB3's PPO on our games, its schedules at their start: TeacherCallback follows them.

    Args:
        cfg: the run's settings.
        first_step: where training starts; a run that goes on plays other games than it did.
    """
    device = resolve_device(cfg.device)
    seed = (cfg.seed + first_step) % 2**32  # all that numpy takes
    envs = make_atari(
        cfg.env,
        cfg.n_envs,
        seed=training_seed(cfg.seed, first_step),
        training=True,
        n_threads=cfg.n_threads,
    )
    with warnings.catch_warnings():  # a last minibatch that is smaller is nothing to warn of
        warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
        model = PPO(
            FastCnnPolicy,
            AtariVecEnv(envs),
            **hyperparameters(cfg),
            rollout_buffer_class=FastRolloutBuffer,
            policy_kwargs=policy_kwargs(cfg.network, resolve_precision(cfg.precision, device)),
            seed=seed,
            device=device,
        )
    if cfg.optimizer == "muon":
        policy, encoder = model.policy, model.policy.features_extractor
        assert isinstance(encoder, Encoder)
        policy.optimizer = MuonWithAdam(policy.parameters(), encoder.weights(), eps=ADAM_EPS)
    model.num_timesteps = first_step
    return model


def learn(model: PPO, n_steps: int, callback: BaseCallback, *, log_interval: int) -> None:
    """Train for `n_steps` more steps, counted from `model.num_timesteps`.

    Raises:
        DivergedError: if a loss or the policy's answer is not finite.
    """
    try:
        model.learn(n_steps, callback, log_interval=log_interval, reset_num_timesteps=False)
    except RuntimeError as error:  # torch.multinomial refuses NaN so
        if "probability tensor" not in str(error):
            raise
        raise diverged("policy logits", model.num_timesteps) from error


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
