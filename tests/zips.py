"""Zips: what stock stable-baselines3 writes, and zips put together by hand."""

import io
import json
import zipfile

import gymnasium
import numpy as np
import torch
from stable_baselines3 import DQN, PPO
from torch import nn

from distill.networks import Encoder
from distill.types import Widths

TINY = Widths(2, 3, 4, 5)
DISCRETE3 = gymnasium.spaces.Discrete(3)


class NoiseGame(gymnasium.Env):
    """Observations of a given shape, drawn at random; nothing to win."""

    def __init__(self, shape, action_space):
        dtype, high = (np.uint8, 255) if len(shape) == 3 else (np.float32, 1.0)
        self.observation_space = gymnasium.spaces.Box(0, high, shape, dtype)
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def stock_model(
    algorithm, shape=(4, 84, 84), action_space=DISCRETE3, policy="CnnPolicy", **settings
):
    if algorithm is PPO:
        settings |= {"n_steps": 8, "batch_size": 8}
    if algorithm is DQN:
        settings |= {"buffer_size": 1}
    else:  # orthogonal weights would take most of the time
        settings["policy_kwargs"] = {"ortho_init": False} | settings.get("policy_kwargs", {})
    torch.manual_seed(0)
    return algorithm(policy, NoiseGame(shape, action_space), device="cpu", **settings)


def saved(model, path):
    model.save(path)
    return path


def tiny_state(*, widths=TINY, n_actions=3, n_stack=4, copies=True):
    """A state dict under SB3's names, without SB3."""
    torch.manual_seed(0)
    layers = Encoder(widths, n_stack).state_dict()
    prefixes = ("", "pi_", "vf_") if copies else ("",)
    state = {f"{p}features_extractor.{k}": v for p in prefixes for k, v in layers.items()}
    for name, n in (("action_net", n_actions), ("value_net", 1)):
        state |= {f"{name}.{k}": v for k, v in nn.Linear(widths.fc, n).state_dict().items()}
    return state


def as_bytes(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def write_zip(path, state=None, *, policy=None, header=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("data", header if isinstance(header, str) else json.dumps(header or {}))
        archive.writestr("policy.pth", as_bytes(state) if policy is None else policy)
    return path
