"""Games whose scores and lengths are known, and scores made up from a few numbers."""

from itertools import cycle

import numpy as np

from distill.evaluation import Score
from distill.types import Game, Step


class ScriptedEnvs:
    """Games of scripted lengths; an action scores its worth at every step.

    Observations hold the number of steps since the reset in every pixel.
    """

    def __init__(self, lengths, worths=(0.0, 1.0), lost_lives=()):
        self.n_envs, self.n_actions = len(lengths), len(worths)
        self.worths, self.lost_lives, self.script = np.array(worths), lost_lives, lengths
        self.actions = []

    def reset(self):
        self.lengths = [cycle(script) for script in self.script]
        self.left = np.array([next(script) for script in self.lengths])
        self.score, self.age = np.zeros(self.n_envs), np.zeros(self.n_envs, np.int64)
        self.n_steps = 0
        return self.look()

    def look(self):
        return np.full((self.n_envs, 1, 84, 84), self.n_steps, np.uint8)

    def step(self, actions):
        assert actions.shape == (self.n_envs,)
        assert actions.dtype == np.int64
        self.actions.append(actions)
        self.n_steps += 1
        reward = self.worths[actions]
        self.score, self.age, self.left = self.score + reward, self.age + 1, self.left - 1
        over = self.left == 0
        games = [Game(int(i), float(self.score[i]), int(self.age[i])) for i in np.flatnonzero(over)]
        for i in np.flatnonzero(over):
            self.left[i] = next(self.lengths[i])
        self.score, self.age = np.where(over, 0, self.score), np.where(over, 0, self.age)
        done = over | (self.n_steps in self.lost_lives)
        reward = reward.astype(np.float32)
        none = np.zeros_like(over)
        return Step(self.look(), actions, none, reward, done, over, none, None, games)


def score_of(*scores, length=10):
    return Score.of([Game(0, score, length) for score in scores])
