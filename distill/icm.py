"""Intrinsic curiosity: an inverse and a forward model on given features (Pathak et al. 2017).

The module never sees pixels: features come from the student's own encoder, so the inverse loss can
shape it and the forward model's error says what the student has not understood yet.

Differs from the paper in:
1. the encoder is the policy's, not one of its own;
2. which of the two losses reaches it is a setting. In the authors' code both do; on a small shared
   encoder the forward loss then makes features collapse, since constant features are easily
   predicted;
3. the bonus is divided by the running std of its discounted return (Burda et al. 2018, section
   2.4).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ETA = 0.01  # scale of the bonus, the paper's eta


class ICMOutput(NamedTuple):
    """Losses and diagnostics, a number a sample."""

    inverse_loss: Tensor  # (B,) cross-entropy of the action given both states
    forward_loss: Tensor  # (B,) half the squared error, summed over features
    inverse_correct: Tensor  # (B,) bool: the inverse model's best guess was the action
    identity_error: Tensor  # (B,) what the forward loss would be of "nothing changes"


class ICM(nn.Module):
    """Inverse model (phi, phi') -> action and forward model (phi, action) -> phi'.

    Args:
        n_features: width F of the features.
        n_actions: A.
        n_hidden: width of the one hidden layer of either model.
    """

    def __init__(self, n_features: int, n_actions: int, n_hidden: int = 256) -> None:
        super().__init__()
        self.n_actions = n_actions
        self.inverse_model = nn.Sequential(
            nn.Linear(2 * n_features, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_actions)
        )
        self.forward_model = nn.Sequential(
            nn.Linear(n_features + n_actions, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_features)
        )

    def forward(self, phi: Tensor, next_phi: Tensor, action: Tensor, gradient: str) -> ICMOutput:
        """Evaluate both models.

        All cuts of the gradient are made here. `gradient` says which loss reaches the encoder
        through `phi` and `next_phi`: `inverse` (the forward model takes both as given), `both` (the
        authors' code), or `none`. The models themselves always learn from both losses.

        Args:
            phi: features (B, F).
            next_phi: features one step later (B, F).
            action: (B,) int64, what was executed in between.
            gradient: `inverse`, `both` or `none`.
        """
        fixed_phi, fixed_next_phi = phi.detach(), next_phi.detach()
        inverse_input = (fixed_phi, fixed_next_phi) if gradient == "none" else (phi, next_phi)
        forward_input = (phi, next_phi) if gradient == "both" else (fixed_phi, fixed_next_phi)
        guess = self.inverse_model(torch.cat(inverse_input, 1))  # (B, A)
        return ICMOutput(
            inverse_loss=F.cross_entropy(guess, action, reduction="none"),
            forward_loss=self._forward_error(*forward_input, action),
            inverse_correct=guess.detach().argmax(1) == action,
            identity_error=0.5 * (fixed_next_phi - fixed_phi).square().sum(1),
        )

    def _forward_error(self, phi: Tensor, next_phi: Tensor, action: Tensor) -> Tensor:
        one_hot = F.one_hot(action, self.n_actions).to(phi.dtype)
        predicted = self.forward_model(torch.cat((phi, one_hot), 1))  # (B, F)
        # The sum over features, not the mean: the bonus must not depend on the width.
        return 0.5 * (predicted - next_phi).square().sum(1)

    @torch.no_grad()  # a reward is a number, not something to differentiate
    def intrinsic_reward(self, phi: Tensor, next_phi: Tensor, action: Tensor) -> Tensor:
        """Return eta/2 |predicted phi' - phi'|^2 (B,): the paper's equation 7."""
        return ETA * self._forward_error(phi, next_phi, action)


class RewardScale:
    """Divides rewards by the running std of their discounted return (Burda et al. 2018).

    The return is never reset at a game's end: curiosity does not end with the game.
    """

    def __init__(self, n_envs: int, gamma: float) -> None:
        self._gamma = gamma
        self._returns = torch.zeros(n_envs, dtype=torch.float64)
        self._moments = torch.zeros(3, dtype=torch.float64)  # count, sum, sum of squares

    @property
    def std(self) -> float:
        """Standard deviation of all discounted returns so far; 1 before they differ."""
        count, total, squares = self._moments.tolist()
        variance = squares / max(count, 1) - (total / max(count, 1)) ** 2
        # Where all returns are equal, what is left is rounding error, of either sign.
        return variance**0.5 if variance * count > 1e-12 * squares else 1.0

    def __call__(self, reward: Tensor) -> Tensor:
        """Take in the rewards (T, N) of a rollout and return them scaled."""
        for row in reward.detach().cpu().double():
            self._returns = self._gamma * self._returns + row
            seen = torch.stack((torch.ones_like(row), self._returns, self._returns.square()))
            self._moments += seen.sum(1)
        return reward / self.std

    def state(self) -> dict[str, Tensor]:
        """Return what `load_state` needs to go on."""
        return {"returns": self._returns, "moments": self._moments}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state`, with as many games."""
        self._returns, self._moments = state["returns"].clone(), state["moments"].clone()
