"""The intrinsic reward: what a source of it is asked, and the scale that it is divided by."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Transitions(NamedTuple):
    """Steps of a rollout, as a source of intrinsic reward may look at them."""

    phi: Tensor  # (B, F) the student's features of the states
    next_phi: Tensor  # (B, F) of the states one step later
    action: Tensor  # (B,) int64, what was executed in between
    next_frame: Tensor  # (B, 1, 84, 84) uint8, the newest frame of the states one step later


class BonusSource(Protocol):
    """Anything that finds some transitions more worth seeing than others."""

    def intrinsic_reward(self, steps: Transitions) -> Tensor:
        """Return the rewards (B,), non-negative and without a graph, of a rollout just played."""
        ...


FORGETTING = 0.999  # the moments decay by this at each step of all games


class RewardScale:
    """Divides rewards by the running std of their discounted return (Burda et al. 2018).

    The return is never reset at a game's end: curiosity does not end with the game. Unlike in the
    paper old returns are forgotten, by half in 700 steps of all games: an untrained source errs so
    much that the std of all returns since would leave nothing of the reward.
    """

    def __init__(self, n_envs: int, gamma: float) -> None:
        self._gamma = gamma
        self._returns = torch.zeros(n_envs, dtype=torch.float64)
        self._moments = torch.zeros(3, dtype=torch.float64)  # weight, sum, sum of squares

    @property
    def std(self) -> float:
        """Standard deviation of the discounted returns of late; 1 before they differ."""
        count, total, squares = self._moments.tolist()
        variance = squares / max(count, 1) - (total / max(count, 1)) ** 2
        # Where all returns are equal, what is left is rounding error, of either sign.
        return variance**0.5 if variance * count > 1e-12 * squares else 1.0

    def __call__(self, reward: Tensor) -> Tensor:
        """Take in the rewards (T, N) of a rollout and return them scaled."""
        for row in reward.detach().cpu().double():
            self._returns = self._gamma * self._returns + row
            seen = torch.stack((torch.ones_like(row), self._returns, self._returns.square()))
            self._moments = FORGETTING * self._moments + seen.sum(1)
        return reward / self.std

    def state_dict(self) -> dict[str, Tensor]:
        """Return what `load_state_dict` needs to go on."""
        return {"returns": self._returns, "moments": self._moments}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state`, with as many games."""
        self._returns, self._moments = state["returns"].clone(), state["moments"].clone()
