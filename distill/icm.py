"""Intrinsic curiosity: an inverse and a forward model on given features (Pathak et al. 2017).

The module never sees pixels: features come from the student's own encoder, so the inverse loss can
shape it and the forward model's error says what the student has not understood yet.

Differs from the paper in:
1. the encoder is the policy's, not one of its own;
2. which of the two losses reaches it is a setting. In the authors' code both do; on a small shared
   encoder the forward loss then makes features collapse, since constant features are easily
   predicted;
3. the forward model predicts how features change, and at first that they do not: it need not
   learn to copy them, and a surprise is a change that it did not foresee;
4. it learns from minibatches that favor states of a high KL while the teacher counts, so that its
   error stays higher where student and teacher agree;
5. the bonus is divided by the running std of its discounted return (Burda et al. 2018, section
   2.4), of late (distill.bonus).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.bonus import Transitions

ETA = 0.01  # the paper's eta; RewardScale divides it out again, so that it is no setting
# Features have collapsed when their std stays below this share of the largest logged, for so many
# rows. Not of the first: a fresh encoder's features hardly vary (net3 on Pong: 0.0003; a student of
# 98 % of the teacher's score: 0.19), nor for a row, as early ones differ by a factor of 100.
COLLAPSED_SHARE, COLLAPSED_ROWS = 0.05, 5


class ICMOutput(NamedTuple):
    """Losses and diagnostics, a number a sample."""

    inverse_loss: Tensor  # (B,) cross-entropy of the action given both states
    forward_loss: Tensor  # (B,) half the squared error, summed over features
    inverse_correct: Tensor  # (B,) bool: the inverse model's best guess was the action
    identity_error: Tensor  # (B,) what the forward loss would be of "nothing changes"
    phi: Tensor  # (B, F) the features of the first states, without a graph

    @property
    def inverse_accuracy(self) -> Tensor:
        """The share of samples whose action the inverse model names."""
        return self.inverse_correct.float().mean()

    @property
    def forward_skill(self) -> Tensor:
        """1 - the forward model's error / that of "nothing changes"; 0 where indeed nothing does.

        No feature may change at all where features are few and fresh.
        """
        error, change = self.forward_loss.detach().mean(), self.identity_error.mean()
        return torch.where(change > 0, 1 - error / change, 0.0)


class ICM(nn.Module):
    """Inverse model (phi, phi') -> action and forward model (phi, action) -> phi' - phi.

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
        for parameter in self.forward_model[2].parameters():
            nn.init.zeros_(parameter)

    def forward(self, phi: Tensor, next_phi: Tensor, action: Tensor, gradient: str) -> ICMOutput:
        """Evaluate both models.

        All cuts of the gradient are made here. `gradient` says which loss reaches the encoder
        through `phi` and `next_phi`: `inverse` (the forward model takes both as given), `both` (the
        authors' code), or `none`. Each model itself always learns from its own loss.

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
            phi=fixed_phi,
        )

    def _forward_error(self, phi: Tensor, next_phi: Tensor, action: Tensor) -> Tensor:
        one_hot = F.one_hot(action, self.n_actions).to(phi.dtype)
        predicted = phi + self.forward_model(torch.cat((phi, one_hot), 1))  # (B, F)
        # The sum over features, not the mean: the bonus must not depend on the width.
        return 0.5 * (predicted - next_phi).square().sum(1)

    @torch.no_grad()  # a reward is a number, not something to differentiate
    def intrinsic_reward(self, steps: Transitions) -> Tensor:
        """Return eta/2 |predicted phi' - phi'|^2 (B,): the paper's equation 6."""
        return ETA * self._forward_error(steps.phi, steps.next_phi, steps.action)


class CollapseWatch:
    """Tells once when features have lost nearly all of their variation, for good.

    Features that never change are the easiest to predict, so that the forward loss, where it
    reaches the encoder, may drive them there; the policy and the bonus then have nothing to see.
    """

    def __init__(self) -> None:
        self._largest, self._n_low = 0.0, 0

    def __call__(self, feature_std: float) -> bool:
        """Take in the next row's `icm/feature_std`; true when features are found collapsed."""
        if self._n_low >= COLLAPSED_ROWS:
            return False
        self._largest = max(self._largest, feature_std)
        is_low = feature_std <= COLLAPSED_SHARE * self._largest
        self._n_low = self._n_low + 1 if is_low else 0
        return self._n_low == COLLAPSED_ROWS

    def state_dict(self) -> dict[str, float]:
        """Return what `load_state_dict` needs to go on."""
        return {"largest": self._largest, "n_low": self._n_low}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from `state`."""
        self._largest, self._n_low = state["largest"], int(state["n_low"])
