"""From rewards to advantages: the game's own, the intrinsic one, or both."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill import losses
from distill.bonus import BonusSource, RewardScale, Transitions
from distill.config import DistillConfig
from distill.networks import ActorCritic
from distill.rollouts import Ring
from distill.types import Labels, PolicyBatch, Rollout
from distill.uncertainty import bonus_weights


class Advantages(NamedTuple):
    """What a rollout's actions turned out to be worth, and what was measured on the way."""

    advantage: Tensor  # (T, N)
    target_value: Tensor  # (T, N) GAE return
    metrics: dict[str, float]  # of the intrinsic reward, by tag; none where it does not count


class AdvantageEstimator:
    """Turns the rewards that count into advantages for the policy terms.

    A game that is cut, at the emulator's limit or for being one of the first (distill.envs), counts
    as over here; SB3, which trains teachers, adds what its last state is worth.

    Args:
        cfg: which rewards count, and how much.
        student: whose features and values are used.
        source: of the intrinsic reward, if there is one.
        device: where the networks are.
    """

    def __init__(
        self,
        cfg: DistillConfig,
        student: ActorCritic,
        source: BonusSource | None,
        device: torch.device,
    ) -> None:
        self._cfg, self._student, self._source, self._device = cfg, student, source, device
        self.scale = RewardScale(cfg.n_envs, cfg.gamma)

    @torch.no_grad()  # advantages are constants of the policy terms
    def __call__(self, rollout: Rollout, labels: Labels, progress: float) -> Advantages:
        """Return what the policy terms learn from."""
        cfg, metrics = self._cfg, {}
        obs = np.concatenate((rollout.obs, rollout.last_obs[None]))  # (T + 1, N, S, 84, 84)
        flat = torch.from_numpy(obs).flatten(0, 1).to(self._device)
        phi = self._student.encoder(flat).view(*obs.shape[:2], -1)  # (T + 1, N, F)
        value = self._student.value(phi.flatten(0, 1)).view(obs.shape[:2]).cpu()
        reward = cfg.c_ext(progress) * torch.from_numpy(rollout.reward)
        if cfg.has_bonus(progress):
            steps = self._transitions(rollout, flat.view(obs.shape), phi)
            raw = self._bonus(rollout, labels, steps)
            bonus = cfg.c_int(progress) * self.scale(raw)
            metrics = {
                f"{cfg.curiosity_source}/intrinsic_reward": float(raw.mean()),
                "explore/bonus_std": self.scale.std,
                "explore/bonus_share": bonus_share(bonus, reward),
            }
            reward += bonus
        done = torch.from_numpy(rollout.done)
        if cfg.use_rnd and cfg.c_ext.is_zero:  # novelty does not end with the game (distill.rnd)
            done = torch.zeros_like(done)
        advantage = losses.gae(
            reward, value[:-1], done, value[-1], gamma=cfg.gamma, lam=cfg.gae_lambda
        )
        return Advantages(advantage, advantage + value[:-1], metrics)

    def _transitions(self, rollout: Rollout, obs: Tensor, phi: Tensor) -> Transitions:
        return Transitions(
            phi=phi[:-1].flatten(0, 1),  # (T N, F)
            next_phi=phi[1:].flatten(0, 1),
            action=torch.from_numpy(rollout.action).flatten().to(self._device),
            next_frame=obs[1:, :, -1:].flatten(0, 1),  # (T N, 1, 84, 84)
        )

    def _bonus(self, rollout: Rollout, labels: Labels, steps: Transitions) -> Tensor:
        """Return the intrinsic reward (T, N): 0 where the next state is another game's."""
        assert self._source is not None
        bonus = self._source.intrinsic_reward(steps).cpu().view(rollout.action.shape)
        bonus = bonus.masked_fill(torch.from_numpy(rollout.game_over), 0.0)
        if "bonus" in self._cfg.uncertain_terms:
            weights = bonus_weights(torch.from_numpy(labels.uncertainty).flatten())
            bonus = bonus * weights.view(bonus.shape)
        return bonus


def bonus_share(bonus: Tensor, reward: Tensor) -> float:
    """Return which share of all reward, by size, the bonus is; 0 where there is none."""
    ours, games = float(bonus.abs().sum()), float(reward.abs().sum())
    return ours / (ours + games) if ours + games else 0.0


class NewestRollout:
    """Draws minibatches for the policy terms from the rollout just played.

    Only steps count in which the student's own sample was executed, and would have been whatever it
    was: PPO's ratio means nothing for a random action, the teacher's, or FIRE pressed for it.

    Differs from stable-baselines3's PPO, which trains teachers: minibatches are drawn at random
    from the rollout, as many as updates are due, not in epochs; advantages are not normalized.
    """

    def __init__(self, rollout: Rollout, places: np.ndarray, advantages: Advantages) -> None:
        self._own = np.flatnonzero(rollout.on_policy)
        self._places = places
        action = torch.from_numpy(rollout.action).flatten()
        logits = torch.from_numpy(rollout.student_logits).flatten(0, 1)
        self._columns = (
            action,
            losses.log_prob(logits, action),
            advantages.advantage.flatten(),
            advantages.target_value.flatten(),
        )
        self.metrics = advantages.metrics

    def sample(self, ring: Ring, rng: np.random.Generator, batch_size: int) -> PolicyBatch | None:
        """Draw a minibatch; None if the student chose nothing itself."""
        if len(self._own) == 0:
            return None
        drawn = self._own[rng.integers(len(self._own), size=batch_size)]
        columns = [column[torch.from_numpy(drawn)].to(ring.device) for column in self._columns]
        return PolicyBatch(ring.stacks(self._places[drawn]), *columns)
