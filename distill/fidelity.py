"""Fidelity: how near a student's answers are to its teacher's, on states of its training or not.

A student is nearer on states that it was trained on. Both are told, as their difference says what
more of them would bring.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill import losses
from distill.types import ByteArray, Envs, IntArray, Network, Step

STEPS_APART = 8  # of all games, between two that are compared


class Fidelity(NamedTuple):
    """A comparison of two policies."""

    kl: float  # mean KL(teacher || student), nats, at temperature 1
    agreement: float  # share of states on which both have the same best action
    n_states: int


def compare(teacher_logits: Tensor, student_logits: Tensor) -> Fidelity:
    """Compare both policies' answers (B, A) to B states."""
    kl = losses.divergence("kl", teacher_logits, student_logits).mean()
    same = teacher_logits.argmax(1) == student_logits.argmax(1)
    return Fidelity(float(kl), float(same.float().mean()), len(same))


class ComparedGames:
    """Games in which a student is held against its teacher on an eighth of the states it comes to.

    They are played, and end, as without it; implements the Envs protocol. What was compared before
    `reset` no longer counts: of greedy and then sampled games it is the sampled ones.

    Args:
        envs: the games.
        student: the network compared, whoever plays.
        teacher: the network it is compared with.
        device: where both are.
    """

    def __init__(
        self, envs: Envs, student: Network, teacher: Network, device: torch.device
    ) -> None:
        self.n_envs, self.n_actions = envs.n_envs, envs.n_actions
        self._envs, self._student, self._teacher, self._device = envs, student, teacher, device
        self._n_steps = 0
        self._seen: list[Fidelity] = []

    @property
    def fidelity(self) -> Fidelity:
        """Return the mean over all states that were compared, one at least."""
        kl, agreement, n_states = np.array(self._seen).T
        return Fidelity(float(kl.mean()), float(agreement.mean()), int(n_states.sum()))

    def reset(self) -> ByteArray:
        """Start new games, and compare anew."""
        self._n_steps, self._seen = 0, []
        return self._envs.reset()

    def step(self, actions: IntArray) -> Step:
        """Play one action in each game."""
        step = self._envs.step(actions)
        if self._n_steps % STEPS_APART == 0:
            self._compare(step.obs)
        self._n_steps += 1
        return step

    @torch.no_grad()  # only measured
    def _compare(self, obs: ByteArray) -> None:
        states = torch.from_numpy(obs).to(self._device)
        self._seen.append(compare(self._teacher.logits(states), self._student.logits(states)))
