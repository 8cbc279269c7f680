"""What stable-baselines3 needs to train on our games: an adapter, a policy, an exporter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor
from typing_extensions import override

from distill.networks import N_PIXELS, Encoder
from distill.types import Envs, Step, Widths

N_STACK = 4


def observation_space() -> gymnasium.spaces.Box:
    """Return the space of one observation, CHW as all of ours."""
    return gymnasium.spaces.Box(0, 255, (N_STACK, N_PIXELS, N_PIXELS), np.uint8)


class AtariVecEnv(VecEnv):
    """Our environments as a stable-baselines3 VecEnv.

    `infos` carry what SB3 reads: "episode" with the raw score and length of a finished whole game
    (as its Monitor writes below the wrapper for lost lives), and the last observation of a game cut
    by the time limit.
    """

    def __init__(self, envs: Envs) -> None:
        super().__init__(
            envs.n_envs, observation_space(), gymnasium.spaces.Discrete(envs.n_actions)
        )
        self._envs = envs

    @override
    def reset(self) -> VecEnvObs:
        """Start all games."""
        return self._envs.reset()

    @override
    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions."""
        self._actions = actions

    @override
    def step_wait(self) -> VecEnvStepReturn:
        """Play the remembered actions."""
        step = self._envs.step(self._actions)
        return step.obs, step.reward, step.done, _infos(step)

    @override
    def close(self) -> None:
        """Nothing to release: the emulator ends with the process."""

    @override
    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Do nothing: the games are seeded where they are built."""
        return [None] * self.num_envs

    @override
    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Answer the one attribute that SB3 asks for; the games render nothing."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    @override
    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the emulator's games are not Python objects."""
        raise AttributeError(attr_name)

    @override
    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Refuse: the emulator's games are not Python objects."""
        raise AttributeError(method_name)

    @override
    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None
    ) -> list[bool]:
        """Say no: there are no wrappers."""
        return [False] * self.num_envs


def _infos(step: Step) -> list[dict[str, Any]]:
    infos: list[dict[str, Any]] = [{} for _ in step.done]
    for game in step.games:
        infos[game.env]["episode"] = {"r": game.score, "l": game.length_steps}
    for i in np.flatnonzero(step.truncated):
        assert step.final_obs is not None
        infos[i] |= {"TimeLimit.truncated": True, "terminal_observation": step.final_obs[i]}
    return infos


class _Extractor(Encoder):
    """Our encoder under the constructor that SB3 calls."""

    def __init__(self, _space: gymnasium.Space[Any], widths: Widths, dtype: torch.dtype) -> None:
        super().__init__(widths, N_STACK, dtype)


class FastCnnPolicy(ActorCriticCnnPolicy):
    """SB3's CnnPolicy over our fast encoder: the same parameters, names and initialization."""

    @override
    def extract_features(self, obs: Any, features_extractor: Any = None) -> Tensor:
        """Encode uint8 observations; SB3 would first make a float32 copy divided by 255."""
        return self.features_extractor(obs)

    @override
    def predict_values(self, obs: Any) -> Tensor:
        """Estimate returns (B, 1); SB3's own goes past `extract_features`."""
        return self.value_net(self.mlp_extractor.forward_critic(self.extract_features(obs)))

    @override
    def get_distribution(self, obs: Any) -> Distribution:
        """Return the distribution over actions; SB3's own goes past `extract_features`."""
        return self._get_action_dist_from_latent(
            self.mlp_extractor.forward_actor(self.extract_features(obs))
        )


def policy_kwargs(widths: Widths, dtype: torch.dtype) -> dict[str, Any]:
    """Return what FastCnnPolicy is built from."""
    return {
        "features_extractor_class": _Extractor,
        "features_extractor_kwargs": {"widths": widths, "dtype": dtype},
        "net_arch": [],  # heads straight on the features, as SB3 has it for NatureCNN
        "optimizer_kwargs": {"eps": 1e-5, "fused": True},
    }


def export_zip(policy: FastCnnPolicy, n_actions: int, path: Path) -> None:
    """Write a teacher as a stock SB3 zip: float16 weights, no optimizer state, nothing of ours.

    `PPO.load` reads it in a Python that has never heard of this project if the network is
    NatureCNN; of other widths, only `distill.teacher` does, which looks at the weights alone.

    Args:
        policy: what was trained.
        n_actions: size of the action space.
        path: the .zip to write; the caller makes the write atomic.
    """
    stock = PPO("CnnPolicy", _Spaces(n_actions), device="cpu", n_steps=128, batch_size=128)
    assert isinstance(policy.features_extractor, Encoder)
    kwargs = policy_kwargs(policy.features_extractor.widths, torch.float32)
    stock.policy = FastCnnPolicy(observation_space(), stock.action_space, lambda _: 0.0, **kwargs)
    stock.policy.load_state_dict(policy.state_dict())
    stock.policy.half()
    stock.policy.optimizer = torch.optim.Adam(stock.policy.parameters(), eps=1e-5)
    stock.save(path)


class _Spaces(AtariVecEnv):
    """Spaces without games, enough to construct a PPO that will only be saved."""

    def __init__(self, n_actions: int) -> None:
        VecEnv.__init__(self, 1, observation_space(), gymnasium.spaces.Discrete(n_actions))
