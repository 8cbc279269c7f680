"""SB3's CnnPolicy and rollout buffer, answering the same from fewer copies and fewer objects."""

import math
from collections.abc import Generator
from typing import Any

import gymnasium
import torch
import torch.nn.functional as F
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor
from typing_extensions import override

from distill.networks import Encoder
from distill.ppo.kickstart import Kickstart
from distill.types import N_STACK, Widths

ADAM_EPS = 1e-5  # as SB3 has it for PPO
MIN_HELD_PROBABILITY = 0.01  # of an action, for it to be held


class _Extractor(Encoder):
    """Our encoder under the constructor that SB3 calls."""

    def __init__(self, _space: gymnasium.Space[Any], widths: Widths, dtype: torch.dtype) -> None:
        super().__init__(widths, N_STACK, dtype)


class FastCnnPolicy(ActorCriticCnnPolicy):
    """SB3's CnnPolicy over our fast encoder: the same parameters, names and initialization.

    Takes observations raw or packed. SB3's own methods would make a float32 copy of them divided by
    255, and a torch distribution for every batch.

    Attributes:
        repeat_probability: probability p that `forward` answers a game with its last action, to
            explore. The actions of a policy that knows nothing cancel out; held for 1 / (1 - p)
            steps each, they lead somewhere. Dabney et al. 2021 (arXiv 2006.01782) hold the random
            actions of epsilon-greedy; here any action is held, with its log-probability in the
            present state, so that PPO learns from it as from one drawn now: near to on policy
            while a policy changes little from state to state, and exact at p = 0. None is held
            where the policy gives it less than MIN_HELD_PROBABILITY: PPO's ratio has no bound for
            what was impossible a moment ago, and one such action would outweigh all others.
        kickstart: what stands in for the entropy in PPO's loss, if a teacher is to be kept near.
    """

    repeat_probability = 0.0
    kickstart: Kickstart | None = None
    _last_actions: Tensor | None = None

    @override
    def extract_features(self, obs: Any, features_extractor: Any = None) -> Tensor:
        """Encode uint8 observations into features (B, F)."""
        return self.features_extractor(obs)

    @override
    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Draw actions (B,), or take the likeliest; their values (B, 1), log-probabilities (B,)."""
        values, log_probs = self._evaluate(obs)
        if deterministic:
            actions = log_probs.argmax(dim=1)
        else:
            drawn = torch.multinomial(log_probs.exp(), num_samples=1).squeeze(1)
            actions = self._repeat(drawn, log_probs)
        return actions, values, _at(log_probs, actions)

    def _repeat(self, actions: Tensor, log_probs: Tensor) -> Tensor:
        """Return the actions (B,) of the last call instead, where dice and policy (B, A) allow."""
        if self.repeat_probability == 0:
            return actions
        if self._last_actions is not None:
            repeats = torch.rand(len(actions), device=actions.device) < self.repeat_probability
            repeats &= _at(log_probs, self._last_actions) > math.log(MIN_HELD_PROBABILITY)
            actions = torch.where(repeats, self._last_actions, actions)
        self._last_actions = actions
        return actions

    @override
    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return values (B, 1), log-probabilities of `actions` (B,), entropies (B,).

        With a teacher to stay near, what `kickstart` puts in the entropies' place.
        """
        values, log_probs = self._evaluate(obs)
        entropy = -(log_probs.exp() * log_probs).sum(dim=1)
        if self.kickstart is not None:
            entropy = self.kickstart.regularizer(entropy, obs, log_probs)
        return values, _at(log_probs, actions), entropy

    @override
    def predict_values(self, obs: Any) -> Tensor:
        """Estimate returns (B, 1)."""
        return self.value_net(self.extract_features(obs))

    @override
    def get_distribution(self, obs: Any) -> Distribution:
        """Return the distribution over actions, for `predict`."""
        return self._get_action_dist_from_latent(self.extract_features(obs))

    def _evaluate(self, obs: Any) -> tuple[Tensor, Tensor]:
        """Return values (B, 1) and the log-probabilities of all actions (B, A)."""
        features = self.extract_features(obs)
        return self.value_net(features), F.log_softmax(self.action_net(features), dim=1)


def _at(log_probs: Tensor, actions: Tensor) -> Tensor:
    return log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)


def policy_kwargs(widths: Widths, dtype: torch.dtype) -> dict[str, Any]:
    """Return what FastCnnPolicy is built from."""
    return {
        "features_extractor_class": _Extractor,
        "features_extractor_kwargs": {"widths": widths, "dtype": dtype},
        "net_arch": [],  # heads straight on the features, as SB3 has it for NatureCNN
        "optimizer_kwargs": {"eps": ADAM_EPS, "fused": True},
    }


class FastRolloutBuffer(RolloutBuffer):
    """SB3's buffer; a rollout goes to the device once and is copied by one gather a minibatch."""

    @override
    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yield the minibatches of one epoch, in random order."""
        assert self.full
        if not self.generator_ready:  # the first epoch
            self._rollout = [
                torch.from_numpy(array).flatten(0, 1).to(self.device)
                for array in (
                    *(self.observations, self.actions.astype("float32"), self.values),
                    *(self.log_probs, self.advantages, self.returns),
                )
            ]
            self.generator_ready = True
        n_samples = self.buffer_size * self.n_envs
        order = torch.randperm(n_samples).to(self.device)
        for rows in order.split(batch_size or n_samples):
            yield RolloutBufferSamples(*(part.index_select(0, rows) for part in self._rollout))
