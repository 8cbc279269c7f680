"""A small game with a corridor that its teacher never enters, and who may play it.

Two places of home and twelve of a corridor lie in a row. An action goes left, stays or goes right;
games start at the left end and last 16 steps. A place shows as a bright square, each somewhere
else. The games give no reward.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from distill.types import Game, Step

LEFT, STAY, RIGHT = range(3)
N_HOME, N_CORRIDOR, N_GAME_STEPS = 2, 12, 16
SIDE = 21  # pixels of a square; 4 x 4 of them make a picture


def picture(place):
    """Draw a place (84, 84)."""
    pixels = np.zeros((84, 84), np.uint8)
    row, column = divmod(place, 4)
    pixels[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = 255
    return pixels


class CorridorEnvs:
    """N games, all of which start and end together; keeps where they were after each step."""

    def __init__(self, n_envs):
        self.n_envs, self.n_actions = n_envs, 3
        self.pictures = np.stack([picture(place) for place in range(N_HOME + N_CORRIDOR)])
        self.places: list[np.ndarray] = []

    def reset(self):
        self.place, self.age = np.zeros(self.n_envs, np.int64), 0
        return self.look()

    def look(self):
        return self.pictures[self.place][:, None]  # (N, 1, 84, 84)

    def step(self, actions):
        self.place = (self.place + actions - STAY).clip(0, N_HOME + N_CORRIDOR - 1)
        self.age += 1
        self.places.append(self.place)
        is_over = self.age == N_GAME_STEPS
        games = [Game(i, 0.0, self.age) for i in range(self.n_envs)] if is_over else []
        final_obs = self.look() if is_over else None
        obs = self.reset() if is_over else self.look()
        over, reward = np.full(self.n_envs, is_over), np.zeros(self.n_envs, np.float32)
        none = np.zeros_like(over)
        return Step(obs, actions, none, reward, over, over, none, final_obs, games)


class HomeTeacher:
    """Goes left at home, by 6 nats; has no opinion on a corridor that it does not know."""

    n_actions = 3

    def logits(self, obs):
        place = F.avg_pool2d(obs[:, -1].float(), SIDE).flatten(1).argmax(1)
        logits = torch.zeros(len(obs), self.n_actions)
        logits[:, LEFT] = 6.0 * (place < N_HOME)
        return logits


class Shuffled:
    """Hands the rewards of a bonus out to other transitions: as large, but about nothing."""

    def __init__(self, source, seed):
        self.source, self.generator = source, torch.Generator().manual_seed(seed)

    def intrinsic_reward(self, steps):
        reward = self.source.intrinsic_reward(steps)
        return reward[torch.randperm(len(reward), generator=self.generator)]


def spread_features(student):
    """Draw the encoder as stable-baselines3 draws a PPO's: orthogonal weights, no biases.

    The features of torch's own small weights are nearly the same in all places.
    """
    for layer in student.encoder.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.constant_(layer.get_parameter("bias"), 0.0)
