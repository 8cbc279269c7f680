"""How unsure a teacher is of a state: how far its answer moves when the picture changes a little.

A teacher that has learned what matters on the screen answers a slightly brighter, shifted or
blurred picture as it answers the picture itself; elsewhere it hangs on accidents of the pixels.

The measure is the Jensen-Shannon divergence between the two answers, not the cross-entropy, which
is KL plus the teacher's own entropy: a calm teacher that gives all actions the same probability,
and goes on doing so whatever happens to the picture, would look most uncertain of all. An answer's
divergence from itself is 0 whatever its entropy. It is also bounded, by ln 2, as KL is not (the
weights made of it are not), and symmetric, as neither picture is the true one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.augmentations import AUGMENTATIONS, apply, make_transform
from distill.types import IntArray, Teacher

# Those whose uncertainty rises with the teacher's error on Freeway and on Pong
# (scripts/probe_uncertainty.py). Where a picture is erased, turned or moved, Pong's teacher answers
# otherwise whether it was right or wrong, and by so much that the others would not count.
TELLING = ("jitter", "blur", "sharpness", "autocontrast")


class Uncertainty:
    """Measures per sample how inconsistent a teacher is under augmentations.

    Each draw changes each sample by one augmentation chosen at random and asks the teacher once
    more, so that a draw costs one forward pass. Augmentations differ in how much they move answers,
    by a factor of a hundred on Freeway: each answer is measured in units of what its augmentation
    has brought about on average so far, or the draw would count for more than the state.

    Args:
        teacher: whom to ask.
        augmentations: which of AUGMENTATIONS to choose from.
        n_draws: answers to average over, at least 1.
        seed: of its own stream of random numbers; no other stream is read or moved.

    Raises:
        ValueError: for an unknown augmentation, none at all, or no draws.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        augmentations: Sequence[str] = TELLING,
        n_draws: int = 1,
        seed: int,
    ) -> None:
        if not augmentations:
            raise ValueError(f"augmentations must name some of {', '.join(AUGMENTATIONS)}")
        if n_draws < 1:
            raise ValueError(f"n_draws must be at least 1, got {n_draws}")
        self._teacher, self._n_draws = teacher, n_draws
        self._transforms = [make_transform(name) for name in augmentations]
        self._rng = np.random.default_rng(seed)
        # Of all divergences so far, by augmentation: how many, and their sum.
        self._moments = np.zeros((2, len(self._transforms)))

    def __call__(self, obs: Tensor, logits: Tensor) -> Tensor:
        """Measure the uncertainty of a batch, in units of each augmentation's own mean.

        Args:
            obs: raw uint8 (B, S, 84, 84).
            logits: the teacher's answers to them (B, A).

        Returns:
            float32 (B,), 0 or more, 1 where the answer moves as far as it usually does; averaged
            over draws.
        """
        draws = [self._in_usual_units(*self._draw(obs, logits)) for _ in range(self._n_draws)]
        return torch.stack(draws).mean(0)

    def divergence(self, obs: Tensor, logits: Tensor) -> Tensor:
        """Measure a batch as `__call__` does, but in nats: float32 (B,), 0 to ln 2."""
        draws = [self._draw(obs, logits)[0] for _ in range(self._n_draws)]
        return torch.stack(draws).mean(0)

    @torch.no_grad()  # measures a fixed teacher; nothing here is trained
    def _draw(self, obs: Tensor, logits: Tensor) -> tuple[Tensor, IntArray]:
        """Return the Jensen-Shannon divergences (B,) and which augmentations (B,) they are of."""
        assert obs.dtype == torch.uint8, obs.dtype
        choice = self._rng.integers(len(self._transforms), size=len(obs))
        augmented = self._augment(obs, choice)
        return _jensen_shannon(logits, self._teacher.logits(augmented)), choice

    def _in_usual_units(self, divergence: Tensor, choice: IntArray) -> Tensor:
        """Divide divergences (B,) by the mean of their augmentation's so far."""
        found = divergence.cpu().double().numpy()
        n = len(self._transforms)
        self._moments += np.bincount(choice, minlength=n), np.bincount(choice, found, minlength=n)
        count, total = self._moments
        mean = torch.from_numpy((total / count.clip(1))[choice]).to(divergence)
        return divergence / mean.clamp_min(torch.finfo(mean.dtype).tiny)

    def _augment(self, obs: Tensor, choice: IntArray) -> Tensor:
        seeds = self._rng.integers(2**63, size=len(self._transforms))
        augmented = torch.empty_like(obs)
        for i, transform in enumerate(self._transforms):
            chosen = torch.from_numpy(np.flatnonzero(choice == i)).to(obs.device)
            if len(chosen):
                augmented[chosen] = apply(transform, obs[chosen], int(seeds[i]))
        return augmented

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the random stream and what was seen, as plain values."""
        return {"rng": dict(self._rng.bit_generator.state), "moments": self._moments.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from where `state_dict` was taken."""
        self._rng.bit_generator.state = state["rng"]
        self._moments = np.array(state["moments"])


def _jensen_shannon(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence (B,) of two policies in nats, precise for nearly equal ones."""
    p, q = logits_p.float().softmax(1), logits_q.float().softmax(1)  # (B, A)
    terms = _part_beside_mean(p, q) + _part_beside_mean(q, p)
    return 0.5 * terms.sum(1).clamp_min(0)


def _part_beside_mean(p: Tensor, q: Tensor) -> Tensor:
    """Compute p ln(p / m) of the mean m = (p + q) / 2, entry by entry.

    It is p ln(1 + d) with d = (p - q) / (p + q). Subtracting logarithms of p and m costs noise of
    1e-7, of either sign, which the weights, being relative to the batch's mean, would blow up where
    a teacher is consistent throughout. Where q is much larger than p, d rounds to -1: there the
    quotient itself serves.
    """
    total = (p + q).clamp_min(torch.finfo(p.dtype).tiny)
    d = (p - q) / total
    near = torch.special.xlog1py(p, d.clamp_min(-0.5))
    return torch.where(d > -0.5, near, torch.special.xlogy(p, 2 * p / total))


def distill_weights(uncertainty: Tensor) -> Tensor:
    """Weigh samples (B,) by trust, less where u is large: in proportion to 1 / (1 + u / mean u).

    Returns:
        (B,) of mean 1, so that the term's size stays as it was; all ones where all u are equal.
    """
    weights = 1 / (1 + _over_mean(uncertainty))
    return weights / weights.mean()


def bonus_weights(uncertainty: Tensor) -> Tensor:
    """Weigh samples (B,) by what there is to find out, more where u is large: (1 + u / mean u) / 2.

    Returns:
        (B,) of mean 1; all ones where all u are equal.
    """
    weights = 1 + _over_mean(uncertainty)
    return weights / weights.mean()  # the mean is 2, and 1 where all of u is 0


def _over_mean(uncertainty: Tensor) -> Tensor:
    mean = uncertainty.mean().clamp_min(torch.finfo(uncertainty.dtype).tiny)
    return uncertainty / mean
