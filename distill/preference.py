"""Prioritized sampling: which of the states drawn are kept, with which odds, and what undoes it.

Unlike in prioritized replay (Schaul et al. 2016) priorities choose among a few candidates that were
drawn uniformly, so that no tree of them is kept, and a state's is the KL when it was last seen.
"""

import numpy as np

from distill.types import FloatArray, IntArray

LEAST_ODDS = 1e-8  # so that everything can be drawn


def action_gap(logits: FloatArray) -> FloatArray:
    """Return how much more probable a policy (B, A) makes its best action than its second: (B,)."""
    odds = np.exp(logits - logits.max(1, keepdims=True))
    second, best = np.partition(odds, -2, 1)[:, -2:].T
    return (best - second) / odds.sum(1)


def keep(rng: np.random.Generator, odds: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
    """Keep `n` of m > n items without replacement, one after the other by their odds.

    The largest keys of log odds + Gumbel noise are such a draw (Gumbel top-k). Given the largest
    key that is left out, kappa, each item is among those kept with a probability of its own,
    q = 1 - exp(-odds / exp kappa); then the sum of f / q over those kept is an unbiased estimate of
    the sum of f over all (Kool, van Hoof & Welling 2019, "Stochastic beams and where to find them",
    section 4.2).

    Args:
        rng: source of randomness.
        odds: (m,); what is below 0, by rounding, counts as 0.
        n: how many to keep.

    Returns:
        Places (n,) among the items, in their order, so that any part of them, as RND learns from
        one, is as good as another; and q (n,).
    """
    log_odds = np.log(odds.clip(0) + LEAST_ODDS)
    keys = log_odds + rng.gumbel(size=len(odds))
    order = np.argpartition(-keys, n - 1)
    kept, kappa = np.sort(order[:n]), keys[order[n:]].max()
    return kept, -np.expm1(-np.exp(log_odds[kept] - kappa)).astype(np.float32)
