"""Kickstarting: PPO that stays near a teacher for as long as it is told to."""

import torch
from torch import Tensor

from distill.losses import divergence
from distill.types import Teacher


class Kickstart:
    """KL(teacher || student) beside PPO's loss, its weight annealed (Schmitt et al. 2018).

    Their equation 2 (arXiv 1803.03835) adds the cross-entropy against the teacher's policy, which
    differs by the teacher's entropy, a constant. stable-baselines3's loss has room for one term
    more, -ent_coef times the mean of what a policy calls its entropy: `regularizer` takes its
    place, with ent_coef = 1.

    Attributes:
        w_kl: weight of the KL.
        w_entropy: weight of the entropy bonus.
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.w_kl = self.w_entropy = 0.0
        self._kls: list[Tensor] = []
        self._entropies: list[Tensor] = []

    def regularizer(self, entropy: Tensor, obs: Tensor, log_probs: Tensor) -> Tensor:
        """Return w_entropy H - w_kl KL, (B,).

        Args:
            entropy: (B,).
            obs: what is answered, raw or packed uint8.
            log_probs: the student's answer (B, A).
        """
        self._entropies.append(entropy.detach().mean())  # for the log alone
        if self.w_kl == 0:
            return self.w_entropy * entropy
        kl = divergence("kl", self._teacher.logits(obs), log_probs)
        self._kls.append(kl.detach().mean())  # likewise
        return self.w_entropy * entropy - self.w_kl * kl

    def pop_means(self) -> tuple[float | None, float | None]:
        """Return mean KL and entropy of the minibatches since the last call; None if none were.

        A KL of no weight is not computed.
        """
        kl, entropy = (
            float(torch.stack(seen).mean()) if seen else None
            for seen in (self._kls, self._entropies)
        )
        self._kls.clear()
        self._entropies.clear()
        return kl, entropy
