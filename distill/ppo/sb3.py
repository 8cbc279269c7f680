"""Our games as stable-baselines3 sees them, and a policy as it saves one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from typing_extensions import override

from distill.networks import Encoder, pack
from distill.ppo.fast_policy import ADAM_EPS, FastCnnPolicy, policy_kwargs
from distill.types import N_PIXELS, N_STACK, ByteArray, Envs, Step


def observation_space() -> gymnasium.spaces.Box:
    """Return the space of one observation, CHW as all of ours."""
    return gymnasium.spaces.Box(0, 255, (N_STACK, N_PIXELS, N_PIXELS), np.uint8)


def _packed(obs: ByteArray) -> ByteArray:
    return pack(torch.from_numpy(obs)).numpy()


def _packed_space() -> gymnasium.spaces.Box:
    shape = _packed(np.zeros((1, *observation_space().shape), np.uint8)).shape[1:]
    return gymnasium.spaces.Box(0, 255, shape, np.uint8)


class AtariVecEnv(VecEnv):
    """Our environments as a stable-baselines3 VecEnv.

    Observations come packed, as `networks.pack` does it: once a step instead of once an epoch.
    `infos` carry what SB3 reads: "episode" with the raw score and length of a finished whole game
    (as its Monitor writes below the wrapper for lost lives), and the last observation of a game
    that was cut, by the time limit or, of the first games, to spread their ages.
    """

    def __init__(self, envs: Envs) -> None:
        super().__init__(envs.n_envs, _packed_space(), gymnasium.spaces.Discrete(envs.n_actions))
        self._envs = envs

    @override
    def reset(self) -> VecEnvObs:
        """Start all games."""
        return _packed(self._envs.reset())

    @override
    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions."""
        self._actions = actions

    @override
    def step_wait(self) -> VecEnvStepReturn:
        """Play the remembered actions."""
        step = self._envs.step(self._actions)
        return _packed(step.obs), step.reward, step.done, _infos(step)

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
        last_obs = _packed(step.final_obs[[i]])[0]
        infos[i] |= {"TimeLimit.truncated": True, "terminal_observation": last_obs}
    return infos


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
    stock.policy.optimizer = torch.optim.Adam(stock.policy.parameters(), eps=ADAM_EPS)
    stock.save(path)
    _deflate(path)


def _deflate(path: Path) -> None:
    """Compress a zip's members, which SB3 stores as they are; float16 weights lose an eighth."""
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


class _Spaces(AtariVecEnv):
    """Spaces without games, enough to construct a PPO that will only be saved."""

    def __init__(self, n_actions: int) -> None:
        VecEnv.__init__(self, 1, observation_space(), gymnasium.spaces.Discrete(n_actions))
