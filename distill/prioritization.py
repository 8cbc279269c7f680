"""Prioritized sampling: which of the states drawn are kept, and what undoes the preference.

Unlike in prioritized replay (Schaul et al. 2016) priorities choose among a few candidates that were
drawn uniformly, so that no tree of them is kept, and a state's is the KL when it was last seen.
"""

import numpy as np

from distill.types import FloatArray, IntArray

MIN_PRIORITY = 1e-8  # so that everything can be drawn


def action_gap(logits: FloatArray) -> FloatArray:
    """Return how much more probable a policy (B, A) makes its best action than its second: (B,)."""
    unnormalized = np.exp(logits - logits.max(1, keepdims=True))
    second, best = np.partition(unnormalized, -2, 1)[:, -2:].T
    return (best - second) / unnormalized.sum(1)


def gumbel_top_k(
    rng: np.random.Generator, priorities: FloatArray, n: int
) -> tuple[IntArray, FloatArray]:
    """Keep `n` of m > n items, one after the other, each drawn in proportion to its priority.

    The largest keys of log priority + Gumbel noise are such a draw without replacement. Given the
    largest key that is left out, kappa, each item is among those kept with a probability of its
    own, q = 1 - exp(-priority / exp kappa); then the sum of f / q over those kept is an unbiased
    estimate of the sum of f over all (Kool, van Hoof & Welling 2019, "Stochastic beams and where to
    find them", section 4.2).

    Args:
        rng: source of randomness.
        priorities: (m,); what is below 0, by rounding, counts as 0.
        n: how many to keep.

    Returns:
        Places (n,) among the items, in their order, so that any part of them, as RND learns from
        one, is as good as another; and q (n,).
    """
    log_priorities = np.log(priorities.clip(0) + MIN_PRIORITY)
    keys = log_priorities + rng.gumbel(size=len(priorities))
    order = np.argpartition(-keys, n - 1)
    kept, kappa = np.sort(order[:n]), keys[order[n:]].max()
    return kept, -np.expm1(-np.exp(log_priorities[kept] - kappa)).astype(np.float32)
