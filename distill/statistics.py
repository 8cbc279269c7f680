"""Statistics of few seeds: interquartile means, bootstrap and Student intervals, ranks.

Scores come as a mapping from a game to the scores of its runs, one a seed; games may have different
numbers of them. They should be shares of the teacher's range, (score - floor) / (teacher - floor),
or games cannot be averaged. Aggregates and their bootstrap follow Agarwal et al. 2021, "Deep
reinforcement learning at the edge of the statistical precipice", section 4 (library rliable).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Scores = Mapping[str, npt.ArrayLike]  # game -> (n,), a run each
Aggregate = Callable[[Floats], Floats]  # (..., K) -> (...)

N_DRAWS = 10_000


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def iqm(scores: Floats) -> Floats:
    """Return the mean of the middle half of scores (..., K), over the last axis.

    As in rliable (`scipy.stats.trim_mean` with 0.25), K // 4 are left out at either end.
    """
    n_out = scores.shape[-1] // 4
    return np.sort(scores, -1)[..., n_out : scores.shape[-1] - n_out].mean(-1)


def bootstrap(
    scores: Scores, rng: np.random.Generator, aggregate: Aggregate = iqm, *, n_draws: int = N_DRAWS
) -> Interval:
    """Estimate an aggregate over all runs and games, with a stratified bootstrap interval.

    Seeds are drawn with replacement within each game. With few of them it is too narrow; where
    a game has a single one, which can be drawn in one way only, it is infinite.

    Raises:
        ValueError: if a game has no run or a score is not finite.
    """
    columns = columns_of(scores)
    draws = np.concatenate([_resample(x, rng, n_draws) for x in columns], 1)  # (R, K)
    return _interval(aggregate(np.concatenate(columns)), aggregate(draws), columns)


def probability_of_improvement(
    arm: Scores, baseline: Scores, rng: np.random.Generator, *, n_draws: int = N_DRAWS
) -> Interval:
    """Estimate how probably a run of the arm beats a run of the baseline, averaged over games.

    In a game that is the share of all pairs that the arm wins, ties counting a half: Mann-Whitney's
    U / (n m). Each arm's seeds are resampled on their own; infinite as in `bootstrap`.

    Raises:
        ValueError: as `bootstrap`, or if the games are not the same.
    """
    if arm.keys() != baseline.keys():
        raise ValueError(f"games differ: {sorted(arm)} and {sorted(baseline)}")
    pairs = list(
        zip(columns_of(arm), columns_of({game: baseline[game] for game in arm}), strict=True)
    )
    draws = [_wins(_resample(x, rng, n_draws), _resample(y, rng, n_draws)) for x, y in pairs]
    value = np.mean([_wins(x, y) for x, y in pairs])
    return _interval(value, np.mean(draws, 0), [x for pair in pairs for x in pair])


def t_interval(values: npt.ArrayLike) -> tuple[float, float] | None:
    """Return Student's 95 % interval of a mean of independent values; None for a single one."""
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return None
    half = t_quantile(len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found))
    return float(found.mean() - half), float(found.mean() + half)


def mean_interval(values: npt.ArrayLike) -> Interval:
    """Return the mean of independent values with Student's 95 % interval; infinite for one."""
    bounds = t_interval(values) or (-math.inf, math.inf)
    return Interval(float(np.asarray(values, np.float64).mean()), *bounds)


def rank_correlation(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return Spearman's rho, ties sharing their mean rank; 0 where either never varies."""
    ranks = np.stack([_ranks(np.asarray(values)) for values in (x, y)])
    deviation = ranks - ranks.mean(1, keepdims=True)
    scale = math.sqrt(deviation[0] @ deviation[0] * (deviation[1] @ deviation[1]))
    return float(deviation[0] @ deviation[1] / scale) if scale else 0.0


def t_quantile(df: float) -> float:
    """Return the 0.975 quantile of Student's t for any degrees of freedom from 1 on, to 2e-4."""
    # With t = sqrt(df) tan(angle), the angle's density is in proportion to cos(angle)^(df - 1).
    angle = np.linspace(0, min(math.pi / 2, 40 / math.sqrt(df)), 5_001)
    density = np.cos(angle) ** (df - 1)
    area = np.append(0, np.cumsum(density[1:] + density[:-1]))
    return math.sqrt(df) * math.tan(np.interp(0.95 * area[-1], area, angle))


def _ranks(values: npt.NDArray[np.generic]) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def columns_of(scores: Scores) -> list[Floats]:
    """Return the scores of each game (n,).

    Raises:
        ValueError: if a game has no run or a score is not finite, or if there is no game.
    """
    columns = {game: np.asarray(found, np.float64) for game, found in scores.items()}
    if not columns:
        raise ValueError("there must be one game or more, got none")
    for game, column in columns.items():
        if not column.size or not np.isfinite(column).all():
            raise ValueError(f"{game} must have one finite score or more, got {column.tolist()}")
    return list(columns.values())


def _resample(column: Floats, rng: np.random.Generator, n_draws: int) -> Floats:
    return column[rng.integers(len(column), size=(n_draws, len(column)))]  # (R, n)


def _interval(value: npt.ArrayLike, draws: Floats, columns: Sequence[Floats]) -> Interval:
    can_vary = all(len(column) > 1 for column in columns)
    low, high = np.quantile(draws, [0.025, 0.975]) if can_vary else (-math.inf, math.inf)
    return Interval(float(np.asarray(value)), float(low), float(high))


def _wins(arm: Floats, baseline: Floats) -> Floats:
    lead = arm[..., :, None] - baseline[..., None, :]  # (..., n, m)
    return ((lead > 0) + 0.5 * (lead == 0)).mean((-2, -1))
