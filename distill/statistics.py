"""Statistics of few seeds: interquartile means, bootstrap intervals, paired verdicts.

Scores come as a mapping from a game to the scores of its runs, one a seed; games may have different
numbers of them. They should be shares of the teacher's range, (score - floor) / (teacher - floor),
or games cannot be averaged. Aggregates and their bootstrap follow Agarwal et al. 2021, "Deep
reinforcement learning at the edge of the statistical precipice", section 4 (library rliable).

Differs in one thing: what decides between two arms is no bootstrap but Student's t. Of normal
differences in one game, the 95 % percentile bootstrap of the mean holds the truth in 74 % of
studies at 3 seeds and in 83 % at 5 (80 % and 88 % in two games), t in 95 % (96 %).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Scores = Mapping[str, npt.ArrayLike]  # game -> (n,), a run each
Aggregate = Callable[[Floats], Floats]  # (..., K) -> (...)
Verdict = Literal["helps", "hurts", "no effect within 2 %", "inconclusive"]

MARGIN = 0.02  # of the teacher's range: an effect smaller than that is taken for none
N_DRAWS = 10_000
Z_975 = 1.959963984540054


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """What paired differences, arm minus baseline, say about the arm."""

    mean: float  # of the games' means, in shares of the teacher's range
    low: float  # 95 % interval, infinite where a game has a single pair
    high: float
    n_pairs: int  # over all games
    verdict: Verdict
    n_needed: int | None  # seeds a game, for `inconclusive`; None where the spread is unknown


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

    Seeds are drawn with replacement within each game. With few of them it is too narrow; with one a
    game, which can be drawn in one way only, it is infinite.

    Raises:
        ValueError: if a game has no run or a score is not finite.
    """
    columns = _columns(scores)
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
    pairs = list(zip(_columns(arm), _columns({game: baseline[game] for game in arm}), strict=True))
    draws = [_wins(_resample(x, rng, n_draws), _resample(y, rng, n_draws)) for x, y in pairs]
    value = np.mean([_wins(x, y) for x, y in pairs])
    return _interval(value, np.mean(draws, 0), [x for pair in pairs for x in pair])


def paired_differences(
    arm: Mapping[str, Mapping[int, float]], baseline: Mapping[str, Mapping[int, float]]
) -> dict[str, Floats]:
    """Subtract scores, by game and seed, of the same game and seed; the others are left out."""
    shared = {game: sorted(arm[game].keys() & baseline.get(game, {}).keys()) for game in arm}
    return {
        game: np.array([arm[game][seed] - baseline[game][seed] for seed in seeds])
        for game, seeds in shared.items()
        if seeds
    }


def compare(differences: Scores) -> Comparison:
    """Decide from paired differences whether an arm helps.

    The mean is that of the m games' means. Games are given and only seeds are drawn, so that its
    variance is sum of s_g^2 / n_g, over m^2; that games differ is no noise. The 95 % interval is
    Student's t, with the degrees of freedom of Welch and Satterthwaite (1946).

    - `no effect within 2 %`: the interval lies inside +-MARGIN, even if it leaves out 0: two
      one-sided tests (Schuirmann 1987) at 2.5 % each, so that one interval tells all.
    - `helps`, `hurts`: otherwise, it lies above or below 0.
    - `inconclusive`: it does neither.

    Raises:
        ValueError: if a game has no pair or a difference is not finite.
    """
    columns = _columns(differences)
    counts = np.array([len(x) for x in columns])
    mean = float(np.mean([x.mean() for x in columns]))
    variances = np.array([x.var(ddof=1) for x in columns]) if counts.min() > 1 else None
    half = math.inf if variances is None else _half_width(variances, counts)
    verdict, n_needed = _verdict(mean - half, mean + half), None
    if verdict == "inconclusive" and variances is not None:
        n_needed = _n_needed(mean, variances)
    return Comparison(mean, mean - half, mean + half, int(counts.sum()), verdict, n_needed)


def describe(found: Comparison) -> str:
    """Write the verdict, and what would settle it where it is open."""
    if found.n_needed is not None:
        return f"inconclusive (n would have to be about {found.n_needed:,})"
    return "inconclusive (n unknown)" if found.verdict == "inconclusive" else found.verdict


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


def _columns(scores: Scores) -> list[Floats]:
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
    can_vary = any(len(column) > 1 for column in columns)
    low, high = np.quantile(draws, [0.025, 0.975]) if can_vary else (-math.inf, math.inf)
    return Interval(float(np.asarray(value)), float(low), float(high))


def _wins(arm: Floats, baseline: Floats) -> Floats:
    lead = arm[..., :, None] - baseline[..., None, :]  # (..., n, m)
    return ((lead > 0) + 0.5 * (lead == 0)).mean((-2, -1))


def _half_width(variances: Floats, counts: npt.NDArray[np.int64]) -> float:
    parts = variances / counts
    if not parts.any():
        return 0.0
    df = parts.sum() ** 2 / (parts**2 / (counts - 1)).sum()
    return t_quantile(df) * math.sqrt(parts.sum()) / len(parts)


def _verdict(low: float, high: float) -> Verdict:
    if low > -MARGIN and high < MARGIN:
        return "no effect within 2 %"
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "inconclusive"


def _n_needed(mean: float, variances: Floats) -> int:
    """Return the fewest seeds a game that would decide, were mean and variances what they are.

    An interval decides once its half width, t(df) sqrt(sum of s_g^2 / n) / m, is below |mean| or
    below MARGIN - |mean|: for a mean near 0, MARGIN itself. That is the least: were these the true
    ones, half of the studies of that size would decide (for a mean near 0 a sixth to a third), of
    those of twice that size more than two thirds.
    """
    m, enough = len(variances), max(abs(mean), MARGIN - abs(mean))
    # The normal distribution's n is too small by a few.
    n = max(2, math.floor((Z_975 / (m * enough)) ** 2 * variances.sum()))
    while _half_width(variances, np.full(m, n)) >= enough:
        n += 1
    return n
